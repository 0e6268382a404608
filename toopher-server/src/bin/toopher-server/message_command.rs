//! Sends messages with a program.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use toopher_server::Message;

use crate::error::Error;

/// How long the program may take, including the wait for others that run.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum number of programs that run at once.
const MAX_RUNNING: usize = 16;
/// The variables of the environment that the program receives. The others may contain secrets of the server.
const ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];

static RUNNING: Semaphore = Semaphore::const_new(MAX_RUNNING);

/// Runs the program with the kind and the address as its arguments, without a shell, and the text as its input. Its
/// output is discarded, because it may contain the text, which has a secret link.
pub(crate) async fn send(program: PathBuf, message: Message) -> Result<(), Error> {
    let (kind, address, text) = match message {
        // Without the punctuation in which people write numbers.
        Message::Sms { number, text } => {
            ("sms", number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect(), text)
        }
        Message::Mail { address, text } => ("mail", address, text),
        _ => return Err("this kind of message is not supported".into()),
    };
    let sent = timeout(MESSAGE_TIMEOUT, async {
        let _permit = RUNNING.acquire().await?;
        let mut running = Group(start(&program, kind, &address)?);
        if let Some(mut input) = running.0.stdin.take() {
            // A program may succeed without reading its input.
            input.write_all(text.as_bytes()).await.ok();
        }
        Ok::<_, Error>(running.0.wait().await?)
    });
    let status = sent.await.map_err(|_| "the message command timed out")??;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", program.display()).into()) }
}

fn start(program: &PathBuf, kind: &str, address: &str) -> Result<Child, Error> {
    let mut command = Command::new(program);
    command.args([kind, address]).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // A signal of the terminal, such as Ctrl-C, does not reach the program.
    #[cfg(unix)]
    command.process_group(0);
    command.kill_on_drop(true).spawn().map_err(|error| format!("{}: {error}", program.display()).into())
}

/// A program and all processes that it started. They end when it is dropped while the program runs.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // The id is `None` after the program has ended: the system may have given it to another process.
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}
