//! One SQLite file and what can come between: other processes that race for a code, hold the file or die with it, a file
//! that may only be read, a disk that takes no more. An error in time, no code that is burnt by it, and nobody kept out.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::house::{DENIED, House, OK, UNAVAILABLE};
use common::stores::new_file;
use common::{CODE, output, request_of, user};
use http::StatusCode;
use sqlx::{Connection, SqliteConnection};
use tower::ServiceExt;
use tower_toopher::UserId;
use tower_toopher::store::{Admission, Spend, SqliteError, SqliteStore, Store, Throttle};
use tower_toopher::test_util::block_on;

/// How long a verb waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);
/// How long it waits for a connection.
const CONNECTION: Duration = Duration::from_secs(10);
/// How late a busy machine may be.
const SLACK: Duration = Duration::from_secs(4);

fn open(file: &Path) -> House<SqliteStore> {
    House::of(block_on(SqliteStore::open(file)).unwrap())
}

/// A process with a gate, which this very program becomes where it is started for that.
struct Other {
    process: Child,
    input: ChildStdin,
    said: BufReader<ChildStdout>,
}

const FILE: &str = "FILE_OF_THE_OTHER_PROCESS";

impl Other {
    /// With a program before it that changes what it may do.
    fn start(before: &[&str], file: &Path) -> Self {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", "the_other_process", "--ignored", "--nocapture", "--test-threads=1", "--quiet"];
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
        let (input, said) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, said }
    }

    /// When its file is open.
    fn opened(mut self) -> Self {
        assert_eq!(self.hear(), "open");
        self
    }

    /// Has it send this code so many times at once.
    fn send(&mut self, name: &str, code: &str, times: usize) {
        writeln!(self.input, "{name} {code} {times}").unwrap();
    }

    fn statuses(&mut self) -> Vec<StatusCode> {
        self.hear().split(' ').map(|status| status.parse().unwrap()).collect()
    }

    fn says(&mut self, name: &str, code: &str) -> StatusCode {
        self.send(name, code, 1);
        self.statuses()[0]
    }

    /// What it says, and nothing of what the frame of tests does.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it has ended: {:?}", self.process.wait());
            if let Some((_, said)) = line.trim_end().split_once("the other says ") {
                return said.to_owned();
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
        Err(error) => return println!("the other says {error}"),
    };
    let house = House::of(store);
    println!("the other says open");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let [name, code, times] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        house.enrol(name);
        let sending = (0..times.parse::<usize>().unwrap()).map(|_| {
            let request = request_of(user(name), Some(code));
            house.gate.clone().oneshot(request)
        });
        let said = block_on(futures_util::future::join_all(sending));
        let said: Vec<_> = said.into_iter().map(|said| said.unwrap().status().as_str().to_owned()).collect();
        println!("the other says {}", said.join(" "));
    }
}

/// One of them makes the tables.
#[test]
fn processes_that_start_at_once_on_a_new_file_all_start() {
    for _ in 0..5 {
        let file = new_file();
        let starting = [(); 4].map(|()| Other::start(&[], &file));
        let others = starting.map(Other::opened);
        let statuses = others.map(|mut other| other.says("alice", CODE));
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
        let mut said: Vec<_> = others.iter_mut().flat_map(Other::statuses).collect();
        said.sort_unstable();
        assert_eq!(said, [OK, DENIED, DENIED, DENIED], "{round}");
    }
    // A hundred wrong ones are no more than five tries, and after that not even the right one is.
    others.iter_mut().for_each(|other| other.send("bob", "000000", 50));
    let said: Vec<_> = others.iter_mut().flat_map(Other::statuses).collect();
    let count = |status| said.iter().filter(|said| **said == status).count();
    assert_eq!((count(DENIED), count(StatusCode::TOO_MANY_REQUESTS)), (5, 95), "{said:?}");
    for other in &mut others {
        assert_eq!(other.says("bob", CODE), StatusCode::TOO_MANY_REQUESTS);
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_lock_and_takes_nothing_back() {
    let file = new_file();
    let house = open(&file);
    for round in 0..5 {
        let mut other = Other::start(&[], &file).opened();
        let name = format!("user-{round}");
        house.enrol(&name);
        assert_eq!(other.says(&name, CODE), OK);
        // In the midst of it.
        for at in 0..20 {
            other.send(&format!("load-{round}-{at}"), CODE, 4);
        }
        other.statuses();
        drop(other);
        let begun = Instant::now();
        assert_eq!(house.says(&name, CODE), DENIED);
        house.enrol(&format!("load-{round}-0"));
        assert_eq!(house.says(&format!("load-{round}-0"), CODE), DENIED);
        assert!(begun.elapsed() < BUSY, "{:?}", begun.elapsed());
    }
}

/// Another program, that writes and does not come to an end.
async fn hold(file: &Path) -> SqliteConnection {
    let mut holding = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut holding).await.unwrap();
    holding
}

#[test]
fn a_file_that_somebody_else_holds() {
    let file = new_file();
    let house = open(&file);
    house.enrol("locked");
    for _ in 0..5 {
        assert_eq!(house.says("locked", "000000"), DENIED);
    }
    let holding = block_on(hold(&file));
    let names: Vec<_> = (0..8).map(|at| format!("user {at}")).collect();
    names.iter().for_each(|name| house.enrol(name));
    // More at once than there are connections.
    let in_time = |name: &str| {
        let begun = Instant::now();
        let said = block_on(house.gate.clone().oneshot(request_of(user(name), Some(CODE)))).unwrap().status();
        assert_eq!(said, UNAVAILABLE, "{name}");
        assert!(begun.elapsed() < CONNECTION + BUSY + SLACK, "{name}: {:?}", begun.elapsed());
    };
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || in_time(name));
        }
        // Whoever is to wait is told so by what can be read.
        let begun = Instant::now();
        assert_eq!(house.says("locked", CODE), StatusCode::TOO_MANY_REQUESTS);
        assert!(begun.elapsed() < CONNECTION + SLACK);
    });
    drop(holding);
    for name in &names {
        for _ in 0..4 {
            assert_eq!(house.says(name, "000000"), DENIED, "{name}");
        }
        assert_eq!((house.says(name, CODE), house.says(name, CODE)), (OK, DENIED), "{name}");
    }
}

/// Somebody takes the file just as a code is spent.
#[derive(Clone)]
struct TakenBetween {
    store: SqliteStore,
    file: PathBuf,
    holding: Arc<Mutex<Option<SqliteConnection>>>,
}

impl Store for TakenBetween {
    type Error = SqliteError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqliteError> {
        self.store.count_attempt(user, throttle, now).await
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqliteError> {
        self.store.take_back_attempt(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, SqliteError> {
        let holding = hold(&self.file).await;
        *self.holding.lock().unwrap() = Some(holding);
        self.store.spend_step(user, device, step, keep_until, now).await
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), SqliteError> {
        self.store.clear_failures(user).await
    }
}

#[test]
fn a_file_that_is_taken_between_counting_and_spending() {
    let file = new_file();
    let after = open(&file);
    let store = block_on(SqliteStore::open(&file)).unwrap();
    let holding = Arc::default();
    let taken = House::of(TakenBetween { store, file, holding: Arc::clone(&holding) });
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(taken.says("alice", CODE), UNAVAILABLE);
        assert!(begun.elapsed() < 2 * BUSY + SLACK, "{:?}", begun.elapsed());
        assert!(holding.lock().unwrap().take().is_some());
    }
    // Those two stay counted, since that could not be taken back.
    for _ in 0..2 {
        assert_eq!(after.says("alice", "000000"), DENIED);
    }
    assert_eq!((after.says("alice", CODE), after.says("alice", CODE)), (OK, DENIED));
}

/// So that a file may not be written to whose mode says so, although it is root who runs the tests.
fn within_its_rights() -> &'static [&'static str] {
    const ANYBODY: &[&str] = &[];
    const ROOT: &[&str] = &["setpriv", "--bounding-set=-dac_override", "--inh-caps=-all"];
    if output("id", &["-u"]) == "0" { ROOT } else { ANYBODY }
}

fn mode(path: &Path, mode: &str) {
    output("chmod", &[mode, path.to_str().unwrap()]);
}

#[test]
fn a_file_that_may_only_be_read() {
    if !common::have(&["setpriv"]) {
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
    let mut other = Other::start(within_its_rights(), &file).opened();
    for at in 0..6 {
        let begun = Instant::now();
        assert_eq!(other.says("alice", CODE), UNAVAILABLE, "{at}");
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    all("644", "755");
    // Connections from before may only read.
    let end = Instant::now() + Duration::from_secs(20);
    let said = std::iter::repeat_with(|| other.says("alice", CODE));
    let said = { said }.inspect(|_| std::thread::sleep(Duration::from_millis(20)));
    let said = { said }.find(|said| *said != UNAVAILABLE || Instant::now() > end);
    assert_eq!((said, other.says("alice", CODE)), (Some(OK), DENIED));
}

/// What the process writes to files at most, from now on. SQLite is told so at each write, as it is by a full disk.
fn room(other: &Other, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    output("prlimit", &["--pid", &other.process.id().to_string(), &limit]);
}

#[test]
fn a_disk_that_takes_no_more() {
    if !common::have(&["prlimit"]) {
        return;
    }
    let file = new_file();
    // Without the signal that would end it.
    let shell = ["sh", "-c", r#"trap "" XFSZ; exec "$@""#, "sh"];
    let mut other = Other::start(&shell, &file).opened();
    assert_eq!(other.says("alice", CODE), OK);
    room(&other, "0");
    for at in 0..12 {
        let begun = Instant::now();
        // Neither is counted, nor burnt.
        assert_eq!(other.says("bob", CODE), UNAVAILABLE, "{at}");
        // What is known stays known.
        assert_eq!(other.says("alice", CODE), UNAVAILABLE, "{at}");
        assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    }
    room(&other, "unlimited");
    for _ in 0..4 {
        assert_eq!(other.says("bob", "000000"), DENIED);
    }
    assert_eq!((other.says("bob", CODE), other.says("bob", CODE)), (OK, DENIED));
    assert_eq!(other.says("alice", CODE), DENIED);
    // Nor is the file any the worse for it.
    let mut looking = block_on(SqliteConnection::connect(&format!("sqlite://{}", file.display()))).unwrap();
    let said: String = block_on(sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut looking)).unwrap();
    assert_eq!(said, "ok");
}
