//! Sends messages with a program.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use toopher_server::Message;

use crate::error::Error;

/// How long the program may take.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs the program with the kind and the address as its arguments, without a shell, and the text as its input.
pub(crate) async fn send(program: PathBuf, message: Message) -> Result<(), Error> {
    let (kind, address, text) = match message {
        Message::Sms { number, text } => ("sms", number, text),
        Message::Mail { address, text } => ("mail", address, text),
        _ => return Err("this kind of message is not supported".into()),
    };
    let mut child = Command::new(&program)
        .args([kind, &address])
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let sent = timeout(MESSAGE_TIMEOUT, async {
        if let Some(mut input) = child.stdin.take() {
            // A program may succeed without reading its input.
            input.write_all(text.as_bytes()).await.ok();
        }
        child.wait().await
    });
    let status = sent.await.map_err(|_| "the message command timed out")??;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", program.display()).into()) }
}
