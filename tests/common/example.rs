//! An example as a process, for tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Builds the example `name`. Only these variables, and where programs are, are in its environment.
pub fn command(name: &str, environment: &[(&str, &str)]) -> Command {
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--all-features", "--example", name]).status();
    assert!(built.unwrap().success());
    let tests = std::env::current_exe().unwrap();
    let mut command = Command::new(tests.parent().unwrap().with_file_name("examples").join(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(environment.iter().copied());
    command
}

/// A running example; it ends with the test.
pub struct Example {
    process: Child,
    pub url: String,
    /// What it has printed up to the line that was waited for.
    pub printed: String,
}

impl Example {
    /// Builds it, starts it at ports that the system chooses, and waits until it listens.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[], "Listening on ")
    }

    /// With these variables, and until a line that begins so.
    pub fn start_with(name: &str, environment: &[(&str, &str)], last: &str) -> Self {
        let mut process = command(name, environment)
            .env("ADDR", "127.0.0.1:0")
            .env("APP_ADDR", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (mut url, mut printed) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "{name} ended before it said {last:?}");
            printed.push_str(&line);
            if let Some((_, listens)) = line.split_once("Listening on ") {
                url = listens.trim().to_owned();
            }
            if line.contains(last) {
                break;
            }
        }
        // What is printed later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { process, url, printed }
    }

    /// Where it listens, without the scheme.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
