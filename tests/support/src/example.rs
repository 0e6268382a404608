//! An example as a process, for tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Builds the example `name`. Its environment contains these variables and `PATH`, and nothing else.
pub fn command(name: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(super::build(&format!("example-{name}")));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).envs(environment.iter().copied());
    command
}

/// A running example. It ends with the test.
pub struct Example {
    process: Child,
    pub url: String,
    /// What the example printed, up to the last line that the test asked for.
    pub printed: String,
}

impl Example {
    /// Builds the example, starts it at ports that the system chooses, and waits until it listens.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &[], "Listening on ")
    }

    /// The same with these variables. Waits for a line that contains `last`.
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
            assert!(output.read_line(&mut line).unwrap() > 0, "{name} ended before it printed {last:?}");
            printed.push_str(&line);
            if let Some((_, listens)) = line.split_once("Listening on ") {
                url = listens.trim().to_owned();
            }
            if line.contains(last) {
                break;
            }
        }
        // Reads the rest of the output, so that the pipe cannot fill.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { process, url, printed }
    }

    /// Sends SIGTERM, waits for the end of the process, and returns whether it ended with success.
    pub fn stop(&mut self) -> bool {
        super::output("kill", &["-TERM", &self.process.id().to_string()]);
        self.process.wait().unwrap().success()
    }

    /// The address of the example, without the scheme.
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
