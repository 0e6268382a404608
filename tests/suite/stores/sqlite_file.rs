//! One SQLite file with other processes that race for a code, lock the file or are killed, a read-only file, and a full
//! disk. The error comes within the deadline, uses up no code, and locks no user out.
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::harness::{DENIED, Harness, OK, UNAVAILABLE};
use crate::support::stores::new_file;
use crate::support::{CODE, request_of, user};
use http::StatusCode;
use rusqlite::Connection;
use test_support::output;
use tower::ServiceExt;
use tower_toopher::UserId;
use tower_toopher::store::{Admission, Records, SqlError, SqliteStore, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::test_util::block_on;
use tower_toopher::time::UnixTime;

/// How long an operation waits for the lock of another process.
const BUSY: Duration = Duration::from_secs(5);
/// How long an operation waits for a connection.
const CONNECTION: Duration = Duration::from_secs(10);
/// The tolerance for a busy machine.
const SLACK: Duration = Duration::from_secs(4);

fn open(file: &Path) -> Harness<SqliteStore> {
    Harness::new(block_on(SqliteStore::open(file)).unwrap())
}

/// Another process with a service behind the layer: this test program, which runs the test `the_other_process`.
struct Other {
    process: Child,
    input: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

const FILE: &str = "FILE_OF_THE_OTHER_PROCESS";

impl Other {
    /// Starts it through the program `before`, which changes its permissions.
    fn start(before: &[&str], file: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let test = format!("{module}::the_other_process");
        let arguments = ["--exact", &test, "--ignored", "--nocapture", "--test-threads=1", "--quiet"];
        let mut command = match before {
            [] => Command::new(program),
            [first, others @ ..] => {
                let mut command = Command::new(first);
                command.args(others).arg(program);
                command
            }
        };
        command.args(arguments).env(FILE, file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, stdout) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, stdout }
    }

    /// Waits until its file is open.
    fn opened(mut self) -> Self {
        assert_eq!(self.read_line(), "open");
        self
    }

    /// Makes it send this code `times` times concurrently.
    fn send(&mut self, name: &str, code: &str, times: usize) {
        writeln!(self.input, "{name} {code} {times}").unwrap();
    }

    fn statuses(&mut self) -> Vec<StatusCode> {
        self.read_line().split(' ').map(|status| status.parse().unwrap()).collect()
    }

    fn status_of(&mut self, name: &str, code: &str) -> StatusCode {
        self.send(name, code, 1);
        self.statuses()[0]
    }

    /// The next line of the other process, without the output of the test harness.
    fn read_line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it has ended: {:?}", self.process.wait());
            if let Some((_, response)) = line.trim_end().split_once("output: ") {
                return response.to_owned();
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "it is a process of the other tests, which start it"]
fn the_other_process() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let store = match block_on(SqliteStore::open(PathBuf::from(file))) {
        Ok(store) => store,
        Err(error) => return println!("output: {error}"),
    };
    let harness = Harness::new(store);
    println!("output: open");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let [name, code, times] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        harness.enroll(name);
        let sending = (0..times.parse::<usize>().unwrap()).map(|_| {
            let request = request_of(user(name), Some(code));
            harness.service.clone().oneshot(request)
        });
        let responses = block_on(futures_util::future::join_all(sending)).into_iter();
        let statuses: Vec<_> = responses.map(|response| response.unwrap().status().as_str().to_owned()).collect();
        println!("output: {}", statuses.join(" "));
    }
}

/// One of them creates the tables.
#[test]
fn processes_that_start_at_once_on_a_new_file_all_start() {
    for _ in 0..5 {
        let file = new_file();
        let starting = [(); 4].map(|()| Other::start(&[], &file));
        let others = starting.map(Other::opened);
        let statuses = others.map(|mut other| other.status_of("alice", CODE));
        assert_eq!(statuses, [OK, DENIED, DENIED, DENIED]);
    }
}

#[test]
fn two_processes_race_for_one_code_a_hundred_times() {
    let file = new_file();
    let mut others = [Other::start(&[], &file), Other::start(&[], &file)].map(Other::opened);
    for round in 0..100 {
        let name = format!("user-{round}");
        others.iter_mut().for_each(|other| other.send(&name, CODE, 2));
        let mut statuses: Vec<_> = others.iter_mut().flat_map(Other::statuses).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [OK, DENIED, DENIED, DENIED], "{round}");
    }
    // A hundred wrong codes are five guesses, and after that the right code is refused too.
    others.iter_mut().for_each(|other| other.send("bob", "000000", 50));
    let statuses: Vec<_> = others.iter_mut().flat_map(Other::statuses).collect();
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(DENIED), count(StatusCode::TOO_MANY_REQUESTS)), (5, 95), "{statuses:?}");
    for other in &mut others {
        assert_eq!(other.status_of("bob", CODE), StatusCode::TOO_MANY_REQUESTS);
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_lock_and_loses_no_record() {
    let file = new_file();
    let harness = open(&file);
    for round in 0..5 {
        let mut other = Other::start(&[], &file).opened();
        let name = format!("user-{round}");
        harness.enroll(&name);
        assert_eq!(other.status_of(&name, CODE), OK);
        // While it sends requests.
        for at in 0..20 {
            other.send(&format!("load-{round}-{at}"), CODE, 4);
        }
        other.statuses();
        drop(other);
        let begun = Instant::now();
        assert_eq!(harness.status_of(&name, CODE), DENIED);
        harness.enroll(&format!("load-{round}-0"));
        assert_eq!(harness.status_of(&format!("load-{round}-0"), CODE), DENIED);
        assert!(begun.elapsed() < BUSY, "{:?}", begun.elapsed());
    }
}

/// Another program that writes and does not commit.
fn hold(file: &Path) -> Connection {
    let holding = Connection::open(file).unwrap();
    holding.execute_batch("BEGIN EXCLUSIVE").unwrap();
    holding
}

#[test]
fn a_file_that_another_process_locks() {
    let file = new_file();
    let harness = open(&file);
    harness.enroll("locked");
    for _ in 0..5 {
        assert_eq!(harness.status_of("locked", "000000"), DENIED);
    }
    let holding = hold(&file);
    let names: Vec<_> = (0..8).map(|at| format!("user {at}")).collect();
    names.iter().for_each(|name| harness.enroll(name));
    // More concurrent requests than connections.
    let in_time = |name: &str| {
        let begun = Instant::now();
        let response = block_on(harness.service.clone().oneshot(request_of(user(name), Some(CODE)))).unwrap().status();
        assert_eq!(response, UNAVAILABLE, "{name}");
        assert!(begun.elapsed() < CONNECTION + BUSY + SLACK, "{name}: {:?}", begun.elapsed());
    };
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || in_time(name));
        }
        // A throttled user is refused, because the file can be read.
        let begun = Instant::now();
        assert_eq!(harness.status_of("locked", CODE), StatusCode::TOO_MANY_REQUESTS);
        assert!(begun.elapsed() < CONNECTION + SLACK);
    });
    drop(holding);
    for name in &names {
        for _ in 0..4 {
            assert_eq!(harness.status_of(name, "000000"), DENIED, "{name}");
        }
        assert_eq!((harness.status_of(name, CODE), harness.status_of(name, CODE)), (OK, DENIED), "{name}");
    }
}

/// Another process locks the file just before a step is recorded.
#[derive(Clone)]
struct TakenBetween {
    store: SqliteStore,
    file: PathBuf,
    holding: Arc<Mutex<Option<Connection>>>,
}

impl Store for TakenBetween {
    type Error = SqlError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, SqlError> {
        self.store.count_attempt(user, throttle, now).await
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqlError> {
        self.store.release_attempt(user, throttle).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, SqlError> {
        let holding = hold(&self.file);
        *self.holding.lock().unwrap() = Some(holding);
        self.store.record_step(user, used, now).await
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), SqlError> {
        self.store.clear(user, records).await
    }
}

#[test]
fn a_file_that_is_locked_between_counting_and_recording() {
    let file = new_file();
    let after = open(&file);
    let store = block_on(SqliteStore::open(&file)).unwrap();
    let holding = Arc::default();
    let taken = Harness::new(TakenBetween { store, file, holding: Arc::clone(&holding) });
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(taken.status_of("alice", CODE), UNAVAILABLE);
        assert!(begun.elapsed() < 2 * BUSY + SLACK, "{:?}", begun.elapsed());
        assert!(holding.lock().unwrap().take().is_some());
    }
    // These two remain counted, because they could not be released.
    for _ in 0..2 {
        assert_eq!(after.status_of("alice", "000000"), DENIED);
    }
    assert_eq!((after.status_of("alice", CODE), after.status_of("alice", CODE)), (OK, DENIED));
}

/// A command that drops the permission of root to write to every file, because the tests may run as root.
fn with_limited_rights() -> &'static [&'static str] {
    const OTHERS: &[&str] = &[];
    const ROOT: &[&str] = &["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"];
    if output("id", &["-u"]) == "0" { ROOT } else { OTHERS }
}

fn mode(path: &Path, mode: &str) {
    output("chmod", &[mode, path.to_str().unwrap()]);
}

#[test]
fn a_read_only_file() {
    if !test_support::have(&["setpriv"]) {
        return;
    }
    let file = new_file();
    let folder = file.parent().unwrap();
    drop(Other::start(&[], &file).opened());
    let all = |files: &str, its_folder: &str| {
        for name in std::fs::read_dir(folder).unwrap() {
            mode(&name.unwrap().path(), files);
        }
        mode(folder, its_folder);
    };
    all("444", "555");
    let mut other = Other::start(with_limited_rights(), &file).opened();
    for at in 0..6 {
        let begun = Instant::now();
        assert_eq!(other.status_of("alice", CODE), UNAVAILABLE, "{at}");
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    all("644", "755");
    // The connections that were opened before can only read.
    let end = Instant::now() + Duration::from_secs(20);
    let response = std::iter::repeat_with(|| other.status_of("alice", CODE));
    let response = { response }.inspect(|_| std::thread::sleep(Duration::from_millis(20)));
    let response = { response }.find(|response| *response != UNAVAILABLE || Instant::now() > end);
    assert_eq!((response, other.status_of("alice", CODE)), (Some(OK), DENIED));
}

/// A file that could only be read is opened again for each operation. Nothing else takes its place.
#[test]
fn a_read_only_file_that_is_removed() {
    if !test_support::have(&["setpriv"]) {
        return;
    }
    let file = new_file();
    let folder = file.parent().unwrap();
    let away = folder.join("away");
    drop(Other::start(&[], &file).opened());
    let all = |files: &str| {
        for name in std::fs::read_dir(folder).unwrap() {
            mode(&name.unwrap().path(), files);
        }
    };
    all("444");
    let mut other = Other::start(with_limited_rights(), &file).opened();
    assert_eq!(other.status_of("alice", CODE), UNAVAILABLE);
    std::fs::rename(&file, &away).unwrap();
    for at in 0..4 {
        assert_eq!(other.status_of("alice", CODE), UNAVAILABLE, "{at}");
    }
    std::fs::rename(&away, &file).unwrap();
    all("644");
    assert_eq!((other.status_of("alice", CODE), other.status_of("alice", CODE)), (OK, DENIED));
    // From now on it is checked as any other file.
    std::fs::rename(&file, &away).unwrap();
    for at in 0..4 {
        assert_eq!(other.status_of("bob", CODE), UNAVAILABLE, "{at}");
    }
    // The next operation after its return checks it again, and does not get an earlier error.
    std::fs::rename(&away, &file).unwrap();
    assert_eq!((other.status_of("alice", CODE), other.status_of("bob", CODE)), (DENIED, OK));
}

/// Limits the size of files that the process writes from now on. SQLite gets an error at each write, as with a full
/// disk.
fn room(other: &Other, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    output("prlimit", &["--pid", &other.process.id().to_string(), &limit]);
}

/// While it exists, each attempt of the process to write to the disk fails.
struct FailingDisk(Child);

impl FailingDisk {
    fn of(other: &Other) -> Self {
        let pid = other.process.id().to_string();
        let arguments = ["-f", "-o", "/dev/null", "-p", &pid, "-e", "inject=fdatasync,fsync:error=EIO"];
        let mut strace = Command::new("strace").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(strace.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Self(strace)
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // It detaches from the process.
        output("kill", &[&self.0.id().to_string()]);
        let _ = self.0.wait();
    }
}

#[test]
fn a_disk_that_fails() {
    if !test_support::have(&["strace"]) {
        return;
    }
    let file = new_file();
    let mut other = Other::start(&[], &file).opened();
    assert_eq!(other.status_of("alice", CODE), OK);
    let failing = FailingDisk::of(&other);
    for at in 0..12 {
        // No attempt is counted, and no code is used up. These share a transaction.
        other.send("bob", CODE, 8);
        assert!(other.statuses().iter().all(|status| *status == UNAVAILABLE), "{at}");
    }
    drop(failing);
    for _ in 0..4 {
        assert_eq!(other.status_of("bob", "000000"), DENIED);
    }
    assert_eq!((other.status_of("bob", CODE), other.status_of("bob", CODE)), (OK, DENIED));
    assert_eq!(other.status_of("alice", CODE), DENIED);
}

#[test]
fn a_full_disk() {
    if !test_support::have(&["prlimit"]) {
        return;
    }
    let file = new_file();
    // Ignores the signal that would end the process.
    let shell = ["sh", "-c", r#"trap "" XFSZ; exec "$@""#, "sh"];
    let mut other = Other::start(&shell, &file).opened();
    assert_eq!(other.status_of("alice", CODE), OK);
    room(&other, "0");
    for at in 0..12 {
        let begun = Instant::now();
        // No attempt is counted, and no code is used up.
        assert_eq!(other.status_of("bob", CODE), UNAVAILABLE, "{at}");
        // Existing records remain.
        assert_eq!(other.status_of("alice", CODE), UNAVAILABLE, "{at}");
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    room(&other, "unlimited");
    for _ in 0..4 {
        assert_eq!(other.status_of("bob", "000000"), DENIED);
    }
    assert_eq!((other.status_of("bob", CODE), other.status_of("bob", CODE)), (OK, DENIED));
    assert_eq!(other.status_of("alice", CODE), DENIED);
    // The file is intact.
    let looking = Connection::open(&file).unwrap();
    let integrity: String = looking.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
}
