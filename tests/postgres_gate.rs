//! The gate while PostgreSQL is gone, or hangs, and afterwards: 503 in time for as long as it lasts, no code that passes
//! twice, and nothing to be started anew on this side.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::house::{self, DENIED, House, Mortal, OK, Told, UNAVAILABLE};
use common::postgres::{Hanging, Postgres};
use common::{CODE, NEXT_CODE};
use tower_toopher::store::{PgStore, Store};
use tower_toopher::test_util::block_on;

/// What is waited for at the most: a connection, and then an answer.
const CONNECTION: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(8);
/// How late a busy machine may be.
const SLACK: Duration = Duration::from_secs(4);

fn house(postgres: &Postgres) -> House<PgStore> {
    House::of(block_on(PgStore::open(&postgres.database("postgres"))).unwrap())
}

/// Whatever befell the server, what was answered stands, and who was told 503 is not kept out.
fn passes_once_in_all_lives(house: &House<PgStore>, told: Told) {
    for (name, house::Race { passed, failed, .. }) in told {
        assert!(passed <= 1, "the code of {name} passed {passed} times");
        let again = house.says(&name, CODE);
        if passed == 0 && failed > 0 && again == OK {
            assert_eq!(house.says(&name, CODE), DENIED, "{name}");
        } else {
            assert_eq!(again, DENIED, "{name} passed {passed} times before");
        }
        // Those that were counted and not answered are among five at the most.
        house.clock.advance(1);
        assert_eq!(house.says(&name, NEXT_CODE), OK, "{name}");
        house.clock.set(common::T);
    }
}

#[test]
fn killed_under_load_and_started_again() {
    let Some(mut postgres) = Postgres::start(&[]) else { return };
    house::killed_under_load(house(&postgres), &mut postgres, 2, passes_once_in_all_lives);
}

/// Not killed, but without a sign of life.
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
    house::killed_under_load(house(&postgres), &mut still, 1, passes_once_in_all_lives);
}

/// Nothing of an attempt has reached the server: it counts for nothing, however often it is made.
#[test]
fn one_that_hangs_is_503_in_time_and_costs_nobody_anything() {
    let Some(postgres) = Postgres::start(&[]) else { return };
    let house = house(&postgres);
    let names: Vec<_> = (0..30).map(|at| format!("user {at}")).collect();
    names.iter().for_each(|name| house.enrol(name));
    // There are connections, and some are in use.
    std::thread::scope(|scope| {
        for name in &names[..12] {
            scope.spawn(|| assert_eq!(block_on(gate_says(&house, name)), OK));
        }
    });
    let hanging = postgres.hang();
    let in_time = |name: &str| {
        let begun = Instant::now();
        assert_eq!(block_on(gate_says(&house, name)), UNAVAILABLE, "{name}");
        assert!(begun.elapsed() < CONNECTION + SLACK, "{name}: {:?}", begun.elapsed());
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
        let spent = names[..12].contains(name);
        assert_eq!(house.says(name, CODE), if spent { DENIED } else { OK }, "{name}");
    }
    // None of the six was counted.
    for _ in 0..4 {
        assert_eq!(house.says("alice", "000000"), DENIED);
    }
    assert_eq!(house.says("alice", CODE), OK);
}

async fn gate_says(house: &House<PgStore>, name: &str) -> http::StatusCode {
    let request = common::request_of(common::user(name), Some(CODE));
    tower::ServiceExt::oneshot(house.gate.clone(), request).await.unwrap().status()
}

/// It was counted, and its code is just being spent: it is answered in time, the code is as good as before, and the attempt
/// is one of five.
#[test]
fn an_attempt_that_is_under_way_when_the_server_hangs_burns_no_code() {
    let Some(postgres) = Postgres::start(&[]) else { return };
    let house = house(&postgres);
    let until = |what: &str, query: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while postgres.sql("postgres", query) != "1" {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'toopher.spent_steps'::regclass";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let hold = "BEGIN; LOCK TABLE toopher.spent_steps; SELECT pg_sleep(4); COMMIT";
            postgres.sql("postgres", hold)
        });
        until("nobody holds it", &format!("{LOCKS} AND granted AND mode = 'AccessExclusiveLock'"));
        let attempt = scope.spawn(|| house.says("alice", CODE));
        until("nobody waits for it", &format!("{LOCKS} AND NOT granted"));
        let hanging = postgres.hang();
        let begun = Instant::now();
        assert_eq!(attempt.join().unwrap(), UNAVAILABLE);
        // To take it back it needs a connection anew.
        assert!(begun.elapsed() < ANSWER + CONNECTION + SLACK, "{:?}", begun.elapsed());
        drop(hanging);
    });
    for _ in 0..3 {
        assert_eq!(house.says("alice", "000000"), DENIED);
    }
    assert_eq!(house.says("alice", CODE), OK);
    assert_eq!(house.says("alice", CODE), DENIED);
}

/// Commits wait for a standby that is not there, until this is dropped.
struct Waits<'a>(&'a Postgres);

impl<'a> Waits<'a> {
    fn begin(postgres: &'a Postgres) -> Self {
        let waits = Self(postgres);
        waits.wait_for("nobody");
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

/// A commit that waits for a standby which is not there is not answered, and done all the same: nobody passes by it, nobody
/// passes by its code later, and when the standby is not waited for any more everybody is served.
#[test]
fn a_commit_that_is_not_answered_spends_its_code_and_lets_nobody_pass() {
    let Some(postgres) = Postgres::start(&["-c", "fsync=off"]) else { return };
    let sql = |statement: &str| postgres.sql("postgres", statement);
    // Whatever the database is content with.
    sql("ALTER DATABASE postgres SET synchronous_commit = 'local'");
    let house = house(&postgres);
    house.enrol("bob");
    let store = block_on(PgStore::open(&postgres.database("postgres"))).unwrap();
    let waiting = || sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0";
    sql("CREATE TABLE trials ()");
    std::thread::scope(|scope| {
        let waits = Waits::begin(&postgres);
        // It is some time before the server does as it was told.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let trial = scope.spawn(|| sql("SET synchronous_commit = 'on'; INSERT INTO trials DEFAULT VALUES"));
            while !trial.is_finished() && !waiting() {}
            if !trial.is_finished() {
                break;
            }
            assert!(Instant::now() < end, "no commit waits");
        }
        let (alice, now) = (common::alice(), house.clock.now());
        let begun = Instant::now();
        let spent = store.spend_step(&alice, "", now.as_secs() / 30, now + Duration::from_secs(1000), now);
        assert!(block_on(spent).is_err());
        assert!(begun.elapsed() < ANSWER + SLACK, "{:?}", begun.elapsed());
        // Behind it, and beside it.
        for name in ["alice", "bob"] {
            let begun = Instant::now();
            assert_eq!(house.says(name, CODE), UNAVAILABLE, "{name}");
            assert!(begun.elapsed() < ANSWER + SLACK, "{:?}", begun.elapsed());
        }
        drop(waits);
    });
    // The trial has come to its end, and so have all the others.
    assert_eq!(house.says("alice", CODE), DENIED);
    house.clock.advance(1);
    assert_eq!((house.says("alice", NEXT_CODE), house.says("bob", NEXT_CODE)), (OK, OK));
}
