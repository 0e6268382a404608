//! Faults of Redis lock no user out, however long they last, and allow no additional guess.
//!
//! An attempt that was counted and then not verified is released, at the latest with the next one.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::fault_injection::{Broken, Fault, operation, run_in_parallel};
use crate::support::harness::{DENIED, Harness, OK, THROTTLED, UNAVAILABLE};
use crate::support::servers::FakeStore;
use crate::support::{CODE, request_of, user};
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, real, sound};
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_toopher::store::{Admission, Records, RedisStore, Store, Throttle, UsedStep};
use tower_toopher::test_util::block_on;
use tower_toopher::test_util::conformance::{NOW, secs, time};

/// A throttle that locks after this number of failures, without a delay before.
fn locks_after(failures: u32) -> Throttle {
    Throttle::new(failures, secs(1), secs(1), failures).unwrap()
}

/// More often than an account has attempts, and under the strictest throttle: one attempt that remained counted would
/// lock the account.
#[test]
fn faults_lock_no_user_out_however_long_they_last() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (error, cut_after) = (Fault::Error("ERR something"), Fault::CutAfter(0));
    let mut cases: Vec<Vec<_>> =
        [error.clone(), Fault::CutBefore, cut_after.clone(), Fault::CutAfter(30), Fault::Junk("+OK\r\n")]
            .map(|fault| vec![("count_attempt", fault)])
            .into();
    cases.push(vec![("count_attempt", Fault::Silence)]);
    for record in [error.clone(), Fault::CutBefore, Fault::Silence] {
        for release in [error.clone(), Fault::CutBefore, cut_after.clone(), Fault::Silence] {
            cases.push(vec![("record_step", record.clone()), ("release_attempt", release)]);
        }
    }
    run_in_parallel(&cases, |at, faults| {
        let silent = faults.iter().any(|(_, fault)| matches!(fault, Fault::Silence));
        let way = Broken::way(&redis, faults);
        // Each of these takes until its deadline.
        let (deadline, rounds) = if silent { (500, 12) } else { (20_000, 120) };
        let store = way.fake.store(deadline).prefix(&format!("case-{at}")).unwrap();
        let harness = Harness::with_throttle(store, locks_after(1));
        let burns = faults.iter().any(|(operation, fault)| *operation == "record_step" && fault.done());
        for round in 0..rounds {
            // A used code is a replay when it is sent again, and that is a failure.
            harness.clock.advance(if burns { 60 } else { 0 });
            assert_eq!(harness.status_of("alice", &harness.code()), UNAVAILABLE, "{faults:?}, round {round}");
        }
        assert!(way.met() >= rounds, "{faults:?}");
        way.repair();
        harness.clock.advance(if burns { 60 } else { 0 });
        assert_eq!(harness.status_of("alice", &harness.code()), OK, "{faults:?}");
    });
}

/// Each process releases its own lost attempts, whatever the others count meanwhile.
#[test]
fn faults_lock_no_user_out_with_several_processes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let ways = [(); 3].map(|()| Broken::way(&redis, &[("count_attempt", Fault::CutAfter(0))]));
    // One more than the number of attempts that can be lost at the same time.
    let harnesses = ways.each_ref().map(|way| Harness::with_throttle(way.fake.store(20_000), locks_after(4)));
    for round in 0..120 {
        assert_eq!(harnesses[round % 3].status_of("alice", CODE), UNAVAILABLE, "{round}");
    }
    ways.iter().for_each(Broken::repair);
    for (at, harness) in harnesses.iter().enumerate() {
        assert_eq!(harness.status_of("alice", CODE), if at == 0 { OK } else { DENIED });
    }
}

/// An attacker who causes faults between two guesses has no more guesses than others: five, and then a delay.
#[test]
fn no_fault_allows_an_additional_guess() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (error, cut_after) = (Fault::Error("ERR something"), Fault::CutAfter(0));
    let cases = [
        vec![("count_attempt", error.clone())],
        vec![("count_attempt", Fault::CutBefore)],
        vec![("count_attempt", cut_after.clone())],
        vec![("record_step", error.clone())],
        vec![("record_step", error.clone()), ("release_attempt", error.clone())],
        vec![("record_step", error.clone()), ("release_attempt", Fault::CutBefore)],
        vec![("record_step", error), ("release_attempt", cut_after)],
    ];
    run_in_parallel(&cases, |at, faults| {
        let way = Broken::way(&redis, faults);
        let harness = Harness::new(way.fake.store(20_000).prefix(&format!("case-{at}")).unwrap());
        for guess in 0..5 {
            for _ in 0..3 {
                way.break_again();
                // A right code, so that a step is recorded.
                assert_eq!(harness.status_of("alice", CODE), UNAVAILABLE, "{faults:?}, guess {guess}");
                way.repair();
            }
            assert_eq!(harness.status_of("alice", "000000"), DENIED, "{faults:?}, guess {guess}");
        }
        for _ in 0..3 {
            assert_eq!(harness.status_of("alice", "000000"), THROTTLED, "{faults:?}");
        }
        harness.clock.advance(30);
        assert_eq!(harness.status_of("alice", "000000"), DENIED, "{faults:?}");
        assert_eq!(harness.status_of("alice", "000000"), THROTTLED, "{faults:?}");
    });
}

/// An attempt in progress is not released by another request.
#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_among_concurrent_guesses_allow_no_additional_guess() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (counts, loses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let fake = Fake::new(sound({
        let (redis, counts, loses) = (redis.clone(), counts.clone(), loses.clone());
        move |command| {
            let nth = counts.fetch_add(usize::from(operation(command) == Some("count_attempt")), Ordering::SeqCst);
            let answer = real(&redis, command);
            // The reply to another call, which is invalid for this one.
            let lost = loses.load(Ordering::SeqCst) && nth % 2 == 0;
            Do::Reply(if lost { b"*2\r\n$1\r\n1\r\n$8\r\nadmitted\r\n".to_vec() } else { answer })
        }
    }));
    for round in 0..20 {
        loses.store(true, Ordering::SeqCst);
        let harness = Harness::new(fake.store(20_000).prefix(&format!("round-{round}")).unwrap());
        let barrier = Arc::new(Barrier::new(40));
        let guesses: Vec<_> = (0..40)
            .map(|_| {
                let (service, barrier) = (harness.service.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    service.oneshot(request_of(user("alice"), Some("000000"))).await.unwrap().status()
                })
            })
            .collect();
        let mut denied = 0;
        for response in futures_util::future::join_all(guesses).await {
            match response.unwrap() {
                DENIED => denied += 1,
                response => assert!(response == THROTTLED || response == UNAVAILABLE, "{response}"),
            }
        }
        // Only the attempts without a known result are released now.
        loses.store(false, Ordering::SeqCst);
        while denied <= 5 {
            let response =
                harness.service.clone().oneshot(request_of(user("alice"), Some("000000"))).await.unwrap().status();
            if response == THROTTLED {
                break;
            }
            assert_eq!(response, DENIED);
            denied += 1;
        }
        assert_eq!(denied, 5, "round {round}");
    }
}

/// Commands that are delayed on the network and arrive after their deadline.
#[test]
fn a_late_command_is_executed_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (holds, held) = (Arc::new(Mutex::new("")), Arc::new(Mutex::new(vec![])));
    let fake = Fake::new(sound({
        let (redis, holds, held) = (redis.clone(), holds.clone(), held.clone());
        move |command| {
            if operation(command) == Some(*holds.lock().unwrap()) {
                held.lock().unwrap().push(command.to_vec());
                return Do::Hang;
            }
            Do::Reply(real(&redis, command))
        }
    }));
    let store = fake.store(300);
    let (alice, throttle) = (user("alice"), Throttle::new(50, secs(1), secs(1), 100).unwrap());
    let count = || block_on(store.count_attempt(&alice, &throttle, time(NOW))).is_ok();
    let release = || block_on(store.release_attempt(&alice, &throttle)).is_ok();
    let failures = || -> String {
        let keys: Vec<String> = redis.ask(&["KEYS", "*:f"]);
        redis.ask::<String>(&["GET", &keys[0]]).split(' ').next().unwrap().into()
    };
    let arrives = || held.lock().unwrap().drain(..).for_each(|command| drop(real(&redis, &command)));
    let hold = |operation| *holds.lock().unwrap() = operation;
    (0..4).for_each(|_| assert!(count()));
    hold("release_attempt");
    assert!(!release());
    assert_eq!(failures(), "4");
    // The next attempt releases it, and then the old command arrives.
    hold("");
    assert!(count());
    assert_eq!(failures(), "4");
    arrives();
    assert_eq!(failures(), "4");
    // An attempt that is counted late stays counted until the next one.
    hold("count_attempt");
    assert!(!count());
    hold("");
    assert!(count());
    assert_eq!(failures(), "5");
    arrives();
    assert_eq!(failures(), "6");
    assert!(count());
    assert_eq!(failures(), "6");
    // After a success there is nothing to release.
    hold("release_attempt");
    assert!(!release());
    hold("");
    let _ = block_on(store.record_step(&alice, &UsedStep::new("", 10, time(NOW + 1000)), time(NOW))).unwrap();
    (0..2).for_each(|_| assert!(count()));
    arrives();
    assert_eq!(failures(), "2");
}

/// Such an attempt may have been verified and wrong.
#[test]
fn attempts_of_another_process_are_not_released() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [counts, takes_back] = [(); 2].map(|()| RedisStore::new(&redis.url()).unwrap().deadline(secs(30)));
    let (alice, throttle) = (user("alice"), locks_after(100));
    let count = || block_on(counts.count_attempt(&alice, &throttle, time(NOW))).unwrap();
    let record = || {
        let keys: Vec<String> = redis.ask(&["KEYS", "*:f"]);
        let record: String = redis.ask(&["GET", &keys[0]]);
        (record.split(' ').next().unwrap().to_owned(), record.split(' ').count() - 6, keys[0].clone())
    };
    assert_eq!(count(), Admission::Admitted);
    block_on(takes_back.release_attempt(&alice, &throttle)).unwrap();
    assert_eq!((&*record().0, record().1), ("1", 1));
    block_on(counts.release_attempt(&alice, &throttle)).unwrap();
    assert_eq!((&*record().0, record().1), ("0", 0));
    // The size of the largest possible record.
    (0..100).for_each(|_| assert_eq!(count(), Admission::Admitted));
    assert_eq!(count(), Admission::LockedOut);
    let (failures, numbers, key) = record();
    assert_eq!((&*failures, numbers), ("100", 100));
    let bytes: u64 = redis.ask(&["MEMORY", "USAGE", &key]);
    assert!(bytes < 3000, "{bytes}");
}

/// Only the process that lost an attempt can release it: an attempt that is lost just before the process ends stays
/// counted. As many process ends as failures lock the user out, until an administrator unlocks.
#[test]
fn unreleased_attempts_of_a_process_end_with_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let way = Broken::way(&redis, &[("count_attempt", Fault::CutAfter(0))]);
    let process = || Harness::with_throttle(way.fake.store(20_000), locks_after(3));
    for _ in 0..3 {
        assert_eq!(process().status_of("alice", CODE), UNAVAILABLE);
    }
    way.repair();
    let harness = process();
    harness.clock.advance(Duration::from_secs(100 * 24 * 3600).as_secs());
    assert_eq!(harness.status_of("alice", &harness.code()), THROTTLED);
    block_on(way.fake.store(20_000).clear(&user("alice"), Records::Failures)).unwrap();
    assert_eq!(harness.status_of("alice", &harness.code()), OK);
}
