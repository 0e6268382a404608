//! The records that Redis loses in a restart: all without a log, and none with one.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::fault_injection::operation;
use crate::support::harness::{self, DENIED, Harness, OK, THROTTLED, UNAVAILABLE};
use crate::support::phones::{self, Ask, Decision, Phones};
use crate::support::servers::{FakeStore, RedisStores};
use crate::support::{CODE, Calls, T, rfc_totp, user};
use http::StatusCode;
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, real, sound};
use tower_toopher::store::Throttle;
use tower_toopher::test_util::conformance::secs;
use tower_toopher::test_util::{ManualClock, block_on};
use tower_toopher::totp::Pairing;

/// Redis writes each command to the file before it replies.
const LOG: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The first status other than 503 after a restart: the store waits before it connects again.
fn served(send: impl Fn() -> StatusCode) -> StatusCode {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let response = send();
        if response != UNAVAILABLE {
            return response;
        }
        assert!(Instant::now() < end, "it does not respond any more");
    }
}

/// A used code is granted once more, and only while its step is in the window. Failures and lock-outs are lost, and new
/// failures count.
#[test]
fn without_a_log_a_used_code_passes_once_more_within_its_window_and_failures_start_at_zero() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let harness = Harness::new(redis.store());
    let strict = Harness::with_throttle(redis.store(), Throttle::new(1, secs(1), secs(1), 1).unwrap());
    for name in ["at once", "late", "too late", "bob"] {
        harness.users.insert(user(name), Pairing::confirmed(rfc_totp()));
    }
    for name in ["at once", "late", "too late"] {
        assert_eq!(harness.status_of(name, CODE), OK);
        assert_eq!(harness.status_of(name, CODE), DENIED);
    }
    for _ in 0..5 {
        assert_eq!(harness.status_of("bob", "000000"), DENIED);
    }
    assert_eq!(harness.status_of("bob", CODE), THROTTLED);
    assert_eq!(strict.status_of("alice", "000000"), DENIED);
    assert_eq!(strict.status_of("alice", CODE), THROTTLED);

    redis.kill();
    redis.start_again();
    // The last second of its step, the last one of its window, and the one after.
    for (name, now, response) in [("at once", T, OK), ("late", T + 30, OK), ("too late", T + 31, DENIED)] {
        harness.clock.set(now);
        assert_eq!(served(|| harness.status_of(name, CODE)), response, "{name}");
        assert_eq!(harness.status_of(name, CODE), DENIED, "{name}");
    }
    harness.clock.set(T);
    for _ in 0..5 {
        assert_eq!(harness.status_of("bob", "000000"), DENIED);
    }
    assert_eq!(harness.status_of("bob", CODE), THROTTLED);
    assert_eq!(served(|| strict.status_of("alice", CODE)), OK);
}

/// A pending approval is lost: the user's decision grants nothing, and a new push is sent.
#[test]
fn without_persistence_an_approval_is_requested_again() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let (phones, clock, calls) = (Phones::default(), ManualClock::from_secs(T), Calls::default());
    let service = phones::service(phones::approvals(&phones, redis.store(), &clock), &calls);
    let come_back = |token: &str| block_on(Ask::default().token(token).send(&service)).status();
    let before = block_on(Ask::default().begin(&service));
    redis.kill();
    redis.start_again();
    phones.decide(Decision::Allowed);
    assert_eq!(served(|| come_back(&before)), DENIED);
    let another = block_on(Ask::default().begin(&service));
    phones.decide(Decision::Allowed);
    assert_eq!(come_back(&before), DENIED);
    assert_eq!(come_back(&another), OK);
    assert_eq!(calls.count(), 1);
}

/// A restart between the operations of an attempt: the code is granted once, and is not used up without a grant. The
/// attempts that the process remembers from before the restart release no later attempt.
#[test]
fn a_restart_between_any_two_operations_of_an_attempt() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let empties = |redis: &Redis| {
        redis.ask::<()>(&["FLUSHALL"]);
        redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    };
    for (broken, done) in
        [("count_attempt", false), ("count_attempt", true), ("record_step", false), ("record_step", true)]
    {
        let harness = Harness::new(redis.store());
        // The server knows the script.
        assert_eq!(harness.status_of("unknown", CODE), DENIED);
        let breaks = Arc::new(AtomicBool::new(true));
        let fake = Fake::new(sound({
            let (redis, breaks) = (redis.clone(), breaks.clone());
            move |command| {
                if operation(command) != Some(broken) || !breaks.swap(false, Ordering::SeqCst) {
                    return Do::Reply(real(&redis, command));
                }
                if done {
                    real(&redis, command);
                }
                empties(&redis);
                Do::ReplyAndCut(vec![])
            }
        }));
        let case = format!("{broken}, done: {done}");
        let harness = Harness::new(fake.store(20_000));
        assert_eq!(harness.status_of("alice", CODE), UNAVAILABLE, "{case}");
        for _ in 0..5 {
            assert_eq!(harness.status_of("alice", "000000"), DENIED, "{case}");
        }
        assert_eq!(harness.status_of("alice", CODE), THROTTLED, "{case}");
        harness.clock.advance(30);
        assert_eq!(harness.status_of("alice", CODE), OK, "{case}");
        assert_eq!(harness.status_of("alice", CODE), DENIED, "{case}");
        empties(&redis);
    }
}

/// `kill -9` under load, and a server that is empty after the restart.
#[test]
fn killed_under_load_and_restarted_empty() {
    killed_under_load(&[], false);
}

/// As before, with a log that is written before each reply.
#[test]
fn killed_under_load_and_restarted_with_its_file() {
    killed_under_load(&LOG, true);
}

fn killed_under_load(options: &[&str], remembers: bool) {
    let Some(mut redis) = Redis::start(options) else { return };
    let (store, deaths) = (redis.store(), 3);
    let harness = Harness::new(store.clone().deadline(Duration::from_millis(500)));
    harness::killed_under_load(harness, &mut redis, deaths, |_, races| {
        let patient = Harness::new(store);
        for (name, race) in races {
            if remembers {
                assert!(race.passed <= 1 && race.passed + race.failed > 0, "{name}: {race:?}");
            }
            // Each code once more, of the users who were granted before the last start and had no request after it.
            if race.passed > 0 && race.last_life < deaths {
                patient.enroll(&name);
                assert_eq!(patient.status_of(&name, CODE), if remembers { DENIED } else { OK }, "{name}");
            }
        }
    });
}

/// The documented setting: with a file that is written before each reply, a crash loses no acknowledged write.
#[test]
fn a_server_that_writes_before_it_replies_loses_nothing_when_it_is_killed() {
    let Some(mut redis) = Redis::start(&LOG) else { return };
    let harness = Harness::new(redis.store());
    for round in 0..5 {
        let name = format!("user {round}");
        harness.users.insert(user(&name), Pairing::confirmed(rfc_totp()));
        assert_eq!(harness.status_of(&name, CODE), OK);
        for _ in 0..5 {
            assert_eq!(harness.status_of(&name, "000000"), DENIED);
        }
        redis.kill();
        redis.start_again();
        // Used and throttled, as before.
        assert_eq!(served(|| harness.status_of(&name, CODE)), StatusCode::TOO_MANY_REQUESTS);
        harness.clock.advance(30);
        assert_eq!(harness.status_of(&name, CODE), DENIED);
        harness.clock.set(T);
    }
}
