//! A `redis-server` of the test's own.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::process::scratch;

/// `REDIS_SERVER` may name another program, such as `valkey-server`.
pub fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

pub struct Redis {
    /// Ends the server when its standard input ends, which it does with the tests, whatever ends them.
    supervisor: Child,
    pub port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

/// One for all tests of a process that do nothing to it. It ends with the process.
pub fn shared() -> Option<&'static Redis> {
    static SHARED: OnceLock<Option<Redis>> = OnceLock::new();
    // Each skipped test prints a message.
    if !super::have(&[&program()]) {
        return None;
    }
    SHARED.get_or_init(|| Redis::start(&[])).as_ref()
}

impl Redis {
    /// One that keeps nothing on the disk, or nothing if the program is missing.
    pub fn start(options: &[&str]) -> Option<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        if !super::have(&[&program()]) {
            return None;
        }
        let name = format!("redis-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        // Another process or thread may take the free port before the server does. Then the folder is removed.
        (0..10)
            .find_map(|_| {
                let (folder, port) = (scratch(&name), free_port());
                let supervisor = supervise(port, &folder, &options);
                let mut redis = Self { supervisor, port, folder, options: options.clone() };
                redis.comes_up().then_some(redis)
            })
            .or_else(|| panic!("redis-server did not start as {name}"))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A prefix for keys that no other test of this process uses.
    pub fn new_prefix() -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        format!("test:{}", MADE.fetch_add(1, Ordering::Relaxed))
    }

    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        redis::cmd(command[0]).arg(&command[1..]).query(&mut self.connection()).unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().unwrap();
    }

    /// On the same port, with nothing in it.
    pub fn start_again(&mut self) {
        self.supervisor = supervise(self.port, &self.folder, &self.options);
        assert!(self.comes_up());
    }

    /// Whether this very server answers, and no other one at its port.
    fn comes_up(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && self.supervisor.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                let client = redis::Client::open(self.url()).unwrap();
                let dir = client.get_connection().and_then(|mut connection| {
                    redis::cmd("CONFIG").arg("GET").arg("dir").query::<Vec<String>>(&mut connection)
                });
                match dir {
                    Ok(dir) => return dir[1] == self.folder.to_str().unwrap(),
                    Err(error) => eprintln!("not yet: {error}"),
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.supervisor.stdin.is_some() {
            self.kill();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn supervise(port: u16, folder: &std::path::Path, options: &[String]) -> Child {
    // It ends with the server, and the server with its standard input.
    let script = r#"exec 3<&0
        "$@" 3<&- & server=$!
        { read -r nothing <&3; kill -9 $server; } & reader=$!
        wait $server 2>/dev/null; kill $reader 2>/dev/null"#;
    Command::new("sh")
        .args(["-c", script, "sh", &program()])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--dir", folder.to_str().unwrap(), "--logfile", folder.join("log").to_str().unwrap()])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
