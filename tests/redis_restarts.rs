//! What a Redis forgets when it is started again: everything without a log, and nothing with one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::house::{self, DENIED, House, OK, THROTTLED, UNAVAILABLE};
use common::phones::{self, Ask, Phones, Says};
use common::redis::Redis;
use common::resp::{Do, Fake, real, sound};
use common::trouble::verb;
use common::{CODE, Calls, T, k20, user};
use http::StatusCode;
use tower_toopher::store::Throttle;
use tower_toopher::test_util::conformance::s;
use tower_toopher::test_util::{ManualClock, block_on};
use tower_toopher::totp::Pairing;

/// What is written before each answer.
const LOG: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// What a request is answered with by a server that was just started: a connection that failed is not made anew at once.
fn served(says: impl Fn() -> StatusCode) -> StatusCode {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let said = says();
        if said != UNAVAILABLE {
            return said;
        }
        assert!(Instant::now() < end, "it does not serve any more");
    }
}

/// A code that was spent passes once more, and only while any code of its step does. Failures and lock-outs are gone, and
/// what is counted from then on counts.
#[test]
fn without_a_log_a_spent_code_passes_once_more_within_its_window_and_failures_start_from_zero() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let house = House::of(redis.store());
    let strict = House::with(redis.store(), Throttle::new(1, s(1), s(1), 1).unwrap());
    for name in ["at once", "late", "too late", "bob"] {
        house.users.insert(user(name), Pairing::confirmed(k20()));
    }
    for name in ["at once", "late", "too late"] {
        assert_eq!(house.says(name, CODE), OK);
        assert_eq!(house.says(name, CODE), DENIED);
    }
    for _ in 0..5 {
        assert_eq!(house.says("bob", "000000"), DENIED);
    }
    assert_eq!(house.says("bob", CODE), THROTTLED);
    assert_eq!(strict.says("alice", "000000"), DENIED);
    assert_eq!(strict.says("alice", CODE), THROTTLED);

    redis.kill();
    redis.start_again();
    // The last second of its step, the last one of its window, and the one after.
    for (name, now, said) in [("at once", T, OK), ("late", T + 30, OK), ("too late", T + 31, DENIED)] {
        house.clock.set(now);
        assert_eq!(served(|| house.says(name, CODE)), said, "{name}");
        assert_eq!(house.says(name, CODE), DENIED, "{name}");
    }
    house.clock.set(T);
    for _ in 0..5 {
        assert_eq!(house.says("bob", "000000"), DENIED);
    }
    assert_eq!(house.says("bob", CODE), THROTTLED);
    assert_eq!(served(|| strict.says("alice", CODE)), OK);
}

/// A question that was open is nobody's: a yes to it opens nothing, and the phone is asked anew.
#[test]
fn without_a_log_an_approval_is_asked_for_anew() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let (phones, clock, calls) = (Phones::default(), ManualClock::at(T), Calls::default());
    let gate = phones::gate(phones::approvals(&phones, redis.store(), &clock), &calls);
    let come_back = |challenge: &str| block_on(Ask::default().challenge(challenge).send(&gate)).status();
    let before = block_on(Ask::default().begin(&gate));
    redis.kill();
    redis.start_again();
    phones.answer(Says::Yes);
    assert_eq!(served(|| come_back(&before)), DENIED);
    let anew = block_on(Ask::default().begin(&gate));
    phones.answer(Says::Yes);
    assert_eq!(come_back(&before), DENIED);
    assert_eq!(come_back(&anew), OK);
    assert_eq!(calls.count(), 1);
}

/// A restart in the midst of an attempt: the code passes once, and none is burnt by it. What this process knows of its
/// attempts from before takes nothing back of what comes after.
#[test]
fn a_restart_between_any_two_verbs_of_an_attempt() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let empties = |redis: &Redis| {
        redis.ask::<()>(&["FLUSHALL"]);
        redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    };
    for (broken, done) in [("count", false), ("count", true), ("spend", false), ("spend", true)] {
        let house = House::of(redis.store());
        // The server knows the script.
        assert_eq!(house.says("nobody", CODE), DENIED);
        let breaks = Arc::new(AtomicBool::new(true));
        let fake = Fake::new(sound({
            let (redis, breaks) = (redis.clone(), breaks.clone());
            move |command| {
                if verb(command) != Some(broken) || !breaks.swap(false, Ordering::SeqCst) {
                    return Do::Say(real(&redis, command));
                }
                if done {
                    real(&redis, command);
                }
                empties(&redis);
                Do::SayAndCut(vec![])
            }
        }));
        let case = format!("{broken}, done: {done}");
        let house = House::of(fake.store(20_000));
        assert_eq!(house.says("alice", CODE), UNAVAILABLE, "{case}");
        for _ in 0..5 {
            assert_eq!(house.says("alice", "000000"), DENIED, "{case}");
        }
        assert_eq!(house.says("alice", CODE), THROTTLED, "{case}");
        house.clock.advance(30);
        assert_eq!(house.says("alice", CODE), OK, "{case}");
        assert_eq!(house.says("alice", CODE), DENIED, "{case}");
        empties(&redis);
    }
}

/// `kill -9` under load, and a server that is empty when it comes back.
#[test]
fn killed_under_load_and_started_again_empty() {
    killed_under_load(&[], false);
}

/// The same where the log is written before each answer.
#[test]
fn killed_under_load_and_started_again_with_all_that_it_told() {
    killed_under_load(&LOG, true);
}

fn killed_under_load(options: &[&str], remembers: bool) {
    let Some(mut redis) = Redis::start(options) else { return };
    let (store, deaths) = (redis.store(), 3);
    let house = House::of(store.clone().deadline(Duration::from_millis(500)));
    house::killed_under_load(house, &mut redis, deaths, |_, told| {
        let patient = House::of(store);
        for (name, race) in told {
            if remembers {
                assert!(race.passed <= 1 && race.passed + race.failed > 0, "{name}: {race:?}");
            }
            // Each code once more, of all who had passed before the last start and were not seen after it.
            if race.passed > 0 && race.last_life < deaths {
                patient.enrol(&name);
                assert_eq!(patient.says(&name, CODE), if remembers { DENIED } else { OK }, "{name}");
            }
        }
    });
}

/// What the documentation asks for: with the log written before each answer, a crash forgets nothing that was told.
#[test]
fn a_server_that_writes_before_it_answers_forgets_nothing_when_it_is_killed() {
    let Some(mut redis) = Redis::start(&LOG) else { return };
    let house = House::of(redis.store());
    for round in 0..5 {
        let name = format!("user {round}");
        house.users.insert(user(&name), Pairing::confirmed(k20()));
        assert_eq!(house.says(&name, CODE), OK);
        for _ in 0..5 {
            assert_eq!(house.says(&name, "000000"), DENIED);
        }
        redis.kill();
        redis.start_again();
        // Spent, and throttled, as before.
        assert_eq!(house.says(&name, CODE), StatusCode::TOO_MANY_REQUESTS);
        house.clock.advance(30);
        assert_eq!(house.says(&name, CODE), DENIED);
        house.clock.set(common::T);
    }
}
