//! `toopher-server` as a process, for tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use super::output;

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // Cargo has built the programs of a package before it runs its tests.
        if std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "toopher-server") {
            return super::built("toopher-server");
        }
        super::build("toopher-server")
    })
}

/// A folder of the test's own, empty.
pub fn scratch(name: &str) -> PathBuf {
    let folder = super::built("tmp").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(program());
    command.current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOOPHER_")) {
        command.env_remove(name);
    }
    command
}

pub fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = command(folder).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

pub struct Running {
    pub process: Child,
    pub address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the server and waits until it listens.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, arguments, |_| {})
    }

    /// The same, with more options.
    pub fn start_with(folder: &Path, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let mut command = command(folder);
        more(&mut command);
        Self::start_command(command, arguments)
    }

    /// The same with a limit of open files, set by options of the shell's `ulimit`.
    pub fn start_with_files(folder: &Path, ulimit: &str, arguments: &[&str]) -> Self {
        let server = command(folder);
        let mut shell = Command::new("sh");
        shell.current_dir(folder).args(["-c", &format!("ulimit {ulimit} && exec \"$0\" \"$@\"")]);
        shell.arg(server.get_program());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Self::start_command(shell, arguments)
    }

    fn start_command(mut command: Command, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let (mut address, log) = (String::new(), Arc::new(Mutex::new(String::new())));
        let mut line = String::new();
        while address.is_empty() {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the server ended before it listened");
            log.lock().unwrap().push_str(&line);
            if let Some((_, after)) = line.split_once("address=") {
                address = after.split_whitespace().next().unwrap().to_owned();
            }
        }
        // What is logged later must not fill the pipe.
        let written = log.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { process, address, log, reader: Some(reader) }
    }

    /// What it has logged until its end, which must have come.
    pub fn whole_log(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log contains a text.
    pub fn wait_for_log(&self, text: &str) {
        let start = std::time::Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "no {text:?} in {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        output("kill", &[&format!("-{name}"), &self.process.id().to_string()]);
    }

    /// SIGTERM, and whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        self.process.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A database with one requester: the options to serve it, its key and its secret.
pub fn requester(folder: &Path) -> (String, String) {
    let (made, key) = run(folder, &["key"]);
    assert!(made && key.trim().len() == 64);
    std::fs::write(folder.join("toopher.key"), key).unwrap();
    output("chmod", &["600", folder.join("toopher.key").to_str().unwrap()]);
    let (made, printed) = run(folder, &["requester", "create", "my site"]);
    assert!(made, "{printed}");
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap().to_owned()
    };
    (value("TOOPHER_CONSUMER_KEY"), value("TOOPHER_CONSUMER_SECRET"))
}

/// A certificate for 127.0.0.1 that signs itself: `tls.pem` and `tls.key`.
pub fn certificate(folder: &Path) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", &path("tls.key"), "-out", &path("tls.pem")])
        .output();
    assert!(made.unwrap().status.success());
}
