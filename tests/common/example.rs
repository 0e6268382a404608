//! An example as a process, for tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running example; it ends with the test.
pub struct Example {
    process: Child,
    pub url: String,
    /// What it has printed up to the line that says so.
    pub printed: String,
}

impl Example {
    /// Builds it, starts it at ports that the system chooses, and waits until it listens.
    pub fn start(name: &str) -> Self {
        let built =
            Command::new(env!("CARGO")).args(["build", "--quiet", "--all-features", "--example", name]).status();
        assert!(built.unwrap().success());
        let tests = std::env::current_exe().unwrap();
        let binary = tests.parent().unwrap().with_file_name("examples").join(name);
        let mut process = Command::new(binary)
            .env("ADDR", "127.0.0.1:0")
            .env("APP_ADDR", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        let mut this = Self { process, url: String::new(), printed: String::new() };
        let mut line = String::new();
        while this.url.is_empty() {
            line.clear();
            assert!(printed.read_line(&mut line).unwrap() > 0, "{name} ended before it listened");
            this.printed.push_str(&line);
            if let Some((_, url)) = line.split_once("Listening on ") {
                this.url = url.trim().to_owned();
            }
        }
        // What is printed later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut printed, &mut std::io::sink()));
        this
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
