//! The service while PostgreSQL is down or hangs, and afterwards: it responds with 503 within the deadline, accepts no
//! code twice, and needs no restart.
use std::time::{Duration, Instant};

use crate::support::harness::{self, DENIED, Harness, Mortal, OK, Races, UNAVAILABLE};
use crate::support::servers::PgDatabases;
use crate::support::{CODE, NEXT_CODE};
use test_support::postgres::{Hanging, Postgres};
use tower_toopher::UserId;
use tower_toopher::store::{InspectStore, PgStore, Records, StepOutcome, Store, UsedStep};
use tower_toopher::test_util::block_on;
use tower_toopher::time::UnixTime;

/// The longest duration of an operation: for a connection, and then for a response.
const CONNECTION: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(8);
/// The tolerance for a busy machine.
const SLACK: Duration = Duration::from_secs(4);

fn harness(postgres: &Postgres) -> Harness<PgStore> {
    Harness::new(block_on(PgStore::open(&postgres.database("postgres"))).unwrap())
}

/// Whatever happened to the server, its responses remain valid, and users who got 503 are not locked out.
fn passes_once_in_all_lives(harness: &Harness<PgStore>, races: Races) {
    for (name, harness::Race { passed, failed, .. }) in races {
        assert!(passed <= 1, "the code of {name} passed {passed} times");
        let again = harness.status_of(&name, CODE);
        if passed == 0 && failed > 0 && again == OK {
            assert_eq!(harness.status_of(&name, CODE), DENIED, "{name}");
        } else {
            assert_eq!(again, DENIED, "{name} passed {passed} times before");
        }
        // At most five attempts were counted without a response.
        harness.clock.advance(1);
        assert_eq!(harness.status_of(&name, NEXT_CODE), OK, "{name}");
        harness.clock.set(crate::support::T);
    }
}

#[test]
fn killed_under_load_and_started_again() {
    let Some(mut postgres) = Postgres::start(&[]) else { return };
    harness::killed_under_load(harness(&postgres), &mut postgres, 2, passes_once_in_all_lives);
}

/// The server is not killed, and does not respond.
struct Still<'a> {
    postgres: &'a Postgres,
    hanging: Option<Hanging>,
}

impl Mortal for Still<'_> {
    fn kill(&mut self) {
        self.hanging = Some(self.postgres.hang());
    }

    fn start_again(&mut self) {
        self.hanging = None;
    }
}

#[test]
fn hanging_under_load_and_going_on() {
    let Some(postgres) = Postgres::start(&[]) else { return };
    let mut still = Still { postgres: &postgres, hanging: None };
    harness::killed_under_load(harness(&postgres), &mut still, 1, passes_once_in_all_lives);
}

/// If no part of an attempt reached the server, it does not count, however often it is repeated.
#[test]
fn a_server_that_hangs_is_503_in_time_and_uses_up_nothing() {
    let Some(postgres) = Postgres::start(&[]) else { return };
    let harness = harness(&postgres);
    let names: Vec<_> = (0..30).map(|at| format!("user {at}")).collect();
    names.iter().for_each(|name| harness.enroll(name));
    // There are connections, and some are in use.
    std::thread::scope(|scope| {
        for name in &names[..12] {
            scope.spawn(|| assert_eq!(block_on(status_at(&harness, name)), OK));
        }
    });
    let hanging = postgres.hang();
    let in_time = |name: &str| {
        let begun = Instant::now();
        assert_eq!(block_on(status_at(&harness, name)), UNAVAILABLE, "{name}");
        // A connection that was just used is not checked.
        assert!(begun.elapsed() < CONNECTION + ANSWER + SLACK, "{name}: {:?}", begun.elapsed());
    };
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || in_time(name));
        }
    });
    for _ in 0..6 {
        in_time("alice");
    }
    let begun = Instant::now();
    assert!(block_on(PgStore::open(&postgres.database("postgres"))).is_err());
    assert!(begun.elapsed() < CONNECTION + ANSWER + SLACK, "{:?}", begun.elapsed());
    drop(hanging);
    for name in &names {
        let used_before = names[..12].contains(name);
        assert_eq!(harness.status_of(name, CODE), if used_before { DENIED } else { OK }, "{name}");
    }
    // None of the six was counted.
    for _ in 0..4 {
        assert_eq!(harness.status_of("alice", "000000"), DENIED);
    }
    assert_eq!(harness.status_of("alice", CODE), OK);
}

async fn status_at(harness: &Harness<PgStore>, name: &str) -> http::StatusCode {
    let request = crate::support::request_of(crate::support::user(name), Some(CODE));
    tower::ServiceExt::oneshot(harness.service.clone(), request).await.unwrap().status()
}

/// The attempt was counted, and its step is being recorded: the response comes in time, the code remains valid, and the
/// attempt is one of five.
#[test]
fn an_attempt_during_which_the_server_hangs_uses_up_no_code() {
    let Some(postgres) = Postgres::start(&[]) else { return };
    let harness = harness(&postgres);
    let until = |what: &str, query: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while postgres.sql("postgres", query) != "1" {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'toopher.used_steps'::regclass";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let hold = "BEGIN; LOCK TABLE toopher.used_steps; SELECT pg_sleep(4); COMMIT";
            postgres.sql("postgres", hold)
        });
        until("the lock is released", &format!("{LOCKS} AND granted AND mode = 'AccessExclusiveLock'"));
        let attempt = scope.spawn(|| harness.status_of("alice", CODE));
        until("no session waits for the lock", &format!("{LOCKS} AND NOT granted"));
        let hanging = postgres.hang();
        let begun = Instant::now();
        assert_eq!(attempt.join().unwrap(), UNAVAILABLE);
        // The release needs a new connection.
        assert!(begun.elapsed() < ANSWER + CONNECTION + SLACK, "{:?}", begun.elapsed());
        drop(hanging);
    });
    for _ in 0..3 {
        assert_eq!(harness.status_of("alice", "000000"), DENIED);
    }
    assert_eq!(harness.status_of("alice", CODE), OK);
    assert_eq!(harness.status_of("alice", CODE), DENIED);
}

/// Commits wait for a missing standby until this is dropped.
struct Waits<'a>(&'a Postgres);

impl<'a> Waits<'a> {
    fn begin(postgres: &'a Postgres) -> Self {
        let waits = Self(postgres);
        waits.wait_for("unknown");
        waits
    }

    fn wait_for(&self, standby: &str) {
        self.0.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"));
        self.0.sql("postgres", "SELECT pg_reload_conf()");
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.wait_for("");
    }
}

/// A commit that waits for a missing standby is executed without a response: the request is refused, its code stays
/// used, and all users are served once the server no longer waits for the standby.
#[test]
fn a_commit_without_a_response_uses_the_code_and_forwards_nothing() {
    let Some(postgres) = Postgres::start(&["-c", "fsync=off"]) else { return };
    let sql = |statement: &str| postgres.sql("postgres", statement);
    // Whatever the setting of the database is.
    sql("ALTER DATABASE postgres SET synchronous_commit = 'local'");
    let harness = harness(&postgres);
    harness.enroll("bob");
    let store = block_on(PgStore::open(&postgres.database("postgres"))).unwrap();
    let waiting = || sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0";
    sql("CREATE TABLE trials ()");
    let (alice, now) = (crate::support::alice(), harness.clock.now());
    let used = UsedStep::new("", now.as_secs() / 30, now + Duration::from_secs(1000));
    std::thread::scope(|scope| {
        let waits = Waits::begin(&postgres);
        // The server applies the new setting after some time.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let trial = scope.spawn(|| sql("SET synchronous_commit = 'on'; INSERT INTO trials DEFAULT VALUES"));
            while !trial.is_finished() && !waiting() {}
            if !trial.is_finished() {
                break;
            }
            assert!(Instant::now() < end, "no commit waits");
        }
        let begun = Instant::now();
        let used_before = store.record_step(&alice, &used, now);
        assert!(block_on(used_before).is_err());
        assert!(begun.elapsed() < ANSWER + SLACK, "{:?}", begun.elapsed());
        // Of the same user, and of another one.
        for name in ["alice", "bob"] {
            let begun = Instant::now();
            assert_eq!(harness.status_of(name, CODE), UNAVAILABLE, "{name}");
            assert!(begun.elapsed() < ANSWER + SLACK, "{:?}", begun.elapsed());
        }
        drop(waits);
    });
    // The transaction ended, and so did all the others.
    let again = store.record_step(&alice, &used, harness.clock.now());
    assert_eq!(block_on(again).unwrap(), StepOutcome::Replayed);
    harness.clock.advance(1);
    assert_eq!((harness.status_of("alice", NEXT_CODE), harness.status_of("bob", NEXT_CODE)), (OK, OK));
}

/// Clients can end their requests before the response, as often as they want. The others keep their connections, and
/// the operation is executed completely or not at all.
#[test]
fn dropped_futures_close_no_connection() {
    const SESSIONS: &str = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity
        WHERE application_name = 'tower-toopher'";
    let Some(postgres) = Postgres::start(&[]) else { return };
    let store = block_on(PgStore::open(&postgres.database("postgres").connections(1))).unwrap();
    let before = postgres.sql("postgres", SESSIONS);
    assert!(!before.is_empty() && !before.contains(' '), "{before}");
    let (alice, now) = (UserId::new("alice").unwrap(), UnixTime::from_secs(crate::support::T));
    let mut halfway = 0;
    for step in 1..100 {
        block_on(async {
            let used = UsedStep::new("", step, now + Duration::from_secs(1000));
            // One statement, a transaction, and reading.
            let mut dropped = Box::pin(store.record_step(&alice, &used, now));
            halfway += usize::from(futures_util::poll!(&mut dropped).is_pending());
            drop(dropped);
            let _ = store.record_step(&alice, &used, now).await.unwrap();
            assert_eq!(store.record_step(&alice, &used, now).await.unwrap(), StepOutcome::Replayed);
            let mut dropped = Box::pin(store.clear(&alice, Records::FailuresAndApprovals));
            halfway += usize::from(futures_util::poll!(&mut dropped).is_pending());
            drop(dropped);
            let mut dropped = Box::pin(store.check());
            halfway += usize::from(futures_util::poll!(&mut dropped).is_pending());
            drop(dropped);
        });
    }
    assert!(halfway > 200, "{halfway} of 297 were dropped before the response");
    block_on(store.check()).unwrap();
    assert_eq!(postgres.sql("postgres", SESSIONS), before);
}
