//! A PostgreSQL server for one test or one test process, on loopback.

use std::cell::RefCell;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const PASSWORD: &str = "for the tests alone";

/// Where Debian has the server's programs, which are not in the path.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .chain(std::env::split_paths(&std::env::var_os("PATH")?))
        .filter(|folder| ["initdb", "postgres", "psql", "pg_isready"].iter().all(|name| folder.join(name).exists()))
        .collect();
    found.sort();
    assert!(
        !found.is_empty() || std::env::var_os("REQUIRE_TOOLS").is_none(),
        "not installed: PostgreSQL's initdb, postgres, psql and pg_isready"
    );
    let programs = found.pop();
    if programs.is_none() {
        super::skipped("PostgreSQL is not installed");
    }
    programs
}

pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    options: Vec<String>,
    shared: bool,
    pub port: u16,
    /// Ends the server when its standard input ends, which it does with the tests, whatever ends them.
    supervisor: Option<Child>,
}

/// One for all tests of a process that do nothing to it.
pub fn shared() -> Option<&'static Postgres> {
    static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
    // Each skipped test prints a message.
    programs()?;
    // What is lost with the machine is no part of these tests.
    SHARED.get_or_init(|| Postgres::start_for(&["-c", "fsync=off", "-c", "max_connections=300"], true)).as_ref()
}

impl Postgres {
    /// One with these options, or nothing if the programs are missing.
    pub fn start(options: &[&str]) -> Option<Self> {
        Self::start_for(options, false)
    }

    /// What is `shared` is never dropped: it removes itself when the process ends.
    fn start_for(options: &[&str], shared: bool) -> Option<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let programs = programs()?;
        let name = format!("toopher-pg-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        // Not under the build, which the server's user may not see.
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let password = folder.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if is_root() {
            super::output("chown", &["-R", user(), folder.to_str().unwrap()]);
        }
        let made = command(&programs.join("initdb"))
            .args(["--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust"])
            .args(["--auth-host=scram-sha-256", &format!("--pwfile={}", password.display())])
            // The limits of the log are multiples of its segments: 64 MB instead of 1 GB.
            .arg("--wal-segsize=1")
            .arg(format!("--pgdata={}", folder.join("data").display()))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let options = options.iter().map(ToString::to_string).collect();
        let mut server = Self { programs, folder, options, shared, port: 0, supervisor: None };
        // Another process may take the free port before the server does.
        for _ in 0..10 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                return Some(server);
            }
        }
        panic!("PostgreSQL did not start: {}", std::fs::read_to_string(server.folder.join("log")).unwrap_or_default());
    }

    fn try_start(&mut self) -> bool {
        // It ends with the server, and the server with its standard input.
        let script = r#"exec 3<&0
            "$@" 3<&- >>log 2>&1 & server=$!
            { read -r nothing <&3; kill -QUIT $server 2>/dev/null; kill -CONT $server 2>/dev/null; } & reader=$!
            wait $server 2>/dev/null; kill $reader 2>/dev/null
            [ -z "$remove" ] || rm -rf "$remove""#;
        let mut supervisor = command(Path::new("sh"))
            .args(["-c", script, "sh", self.programs.join("postgres").to_str().unwrap()])
            .args(["-D", self.folder.join("data").to_str().unwrap()])
            .args(["-c", "listen_addresses=127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .args(&self.options)
            .env("remove", if self.shared { self.folder.as_os_str() } else { "".as_ref() })
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end && supervisor.try_wait().unwrap().is_none() {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", self.folder.to_str().unwrap(), "-p", &self.port.to_string()])
                .status();
            if ready.unwrap().success() {
                self.supervisor = Some(supervisor);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = supervisor.kill();
        let _ = supervisor.wait();
        false
    }

    /// `kill -9`, of the server and so of all that it does.
    pub fn kill(&mut self) {
        super::output("kill", &["-9", &self.pid()]);
        self.end();
    }

    /// Stops all of its processes (SIGSTOP) until the returned value is dropped. The server then accepts
    /// connections and does not respond.
    pub fn hang(&self) -> Hanging {
        let mut hanging = Hanging(vec![self.pid()]);
        // The one that starts the others comes first.
        super::output("kill", &["-STOP", &hanging.0[0]]);
        let others = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", hanging.0[0])).unwrap();
        for pid in others.split_whitespace() {
            super::output("kill", &["-STOP", pid]);
            hanging.0.push(pid.to_owned());
        }
        assert!(hanging.0.len() > 1, "a server without processes");
        hanging
    }

    fn pid(&self) -> String {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().to_owned()
    }

    /// On the same port, with what it had acknowledged.
    pub fn start_again(&mut self) {
        // Those that served connections may take a moment to see that they are alone, and keep it from starting.
        let end = Instant::now() + Duration::from_secs(60);
        while !self.try_start() {
            assert!(Instant::now() < end, "{}", std::fs::read_to_string(self.folder.join("log")).unwrap());
        }
    }

    /// Whether it only follows another server when it starts again.
    pub fn become_standby(&self, standby: bool) {
        let signal = self.folder.join("data/standby.signal");
        if standby {
            std::fs::write(signal, "").unwrap();
        } else {
            std::fs::remove_file(signal).unwrap();
        }
    }

    fn end(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            supervisor.wait().unwrap();
        }
    }

    /// An address without its password, which is [`PASSWORD`].
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The name of a new database. A database of the shared server is dropped with the thread of its test, because
    /// each takes 8 MB.
    pub fn new_database(&self) -> String {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        if self.shared {
            OWN_DATABASES.with_borrow_mut(|own| own.0.push(name.clone()));
        }
        name
    }

    /// An address through the server's socket, without a password: SCRAM is slow in a program that is not optimized.
    pub fn socket_url(&self, name: &str) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgres://postgres@localhost:{port}/{name}?host={folder}")
    }

    /// What `psql` prints, as plain as it can.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = self.psql(database, statement).output().unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn psql(&self, database: &str, statement: &str) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-d", database, "-c", statement]);
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

thread_local! {
    static OWN_DATABASES: RefCell<OwnDatabases> = const { RefCell::new(OwnDatabases(Vec::new())) };
}

/// The databases of the shared server that a thread has created.
struct OwnDatabases(Vec<String>);

impl Drop for OwnDatabases {
    fn drop(&mut self) {
        let Some(server) = shared() else { return };
        for name in &self.0 {
            // The last test may end with the process, and the server with it.
            let _ = server.psql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).output();
        }
    }
}

/// The processes of a server that stand still.
#[must_use]
pub struct Hanging(Vec<String>);

impl Drop for Hanging {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Some end as soon as the first one goes on.
            let _ = Command::new("kill").args(["-CONT", pid]).stderr(Stdio::null()).status();
        }
    }
}

/// The server refuses to run as root.
fn command(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user(), "--regid", &super::output("id", &["-g", user()]), "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    super::output("id", &["-u"]) == "0"
}

fn user() -> &'static str {
    let postgres = Command::new("id").arg("postgres").output();
    if postgres.is_ok_and(|output| output.status.success()) { "postgres" } else { "nobody" }
}
