//! Faults of Redis lock nobody out, however long they last, and give nobody a guess for free.
//!
//! An attempt that was counted and then not verified is taken back: with the next one, if not at once.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::house::{DENIED, House, OK, THROTTLED, UNAVAILABLE};
use common::redis::Redis;
use common::resp::{Do, Fake, real, sound};
use common::trouble::{Broken, Trouble, side_by_side, verb};
use common::{CODE, request_of, user};
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_toopher::store::{Admission, RedisStore, Store, Throttle};
use tower_toopher::test_util::block_on;
use tower_toopher::test_util::conformance::{NOW, s};

/// Under which so many failures lock out, and none of them brings a wait before.
fn locks_after(failures: u32) -> Throttle {
    Throttle::new(failures, s(1), s(1), failures).unwrap()
}

/// More often than an account has attempts, and under the strictest throttle that there is: one attempt that stayed
/// counted would be the last one.
#[test]
fn faults_lock_nobody_out_however_long_they_last() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (error, cut_after) = (Trouble::Error("ERR something"), Trouble::CutAfter(0));
    let mut cases: Vec<Vec<_>> =
        [error.clone(), Trouble::CutBefore, cut_after.clone(), Trouble::CutAfter(30), Trouble::Junk("+OK\r\n")]
            .map(|trouble| vec![("count", trouble)])
            .into();
    cases.push(vec![("count", Trouble::Silence)]);
    for spend in [error.clone(), Trouble::CutBefore, Trouble::Silence] {
        for take_back in [error.clone(), Trouble::CutBefore, cut_after.clone(), Trouble::Silence] {
            cases.push(vec![("spend", spend.clone()), ("take_back", take_back)]);
        }
    }
    side_by_side(&cases, |at, troubles| {
        let silent = troubles.iter().any(|(_, trouble)| matches!(trouble, Trouble::Silence));
        let way = Broken::way(&redis, troubles);
        // Each of those takes its deadline.
        let (deadline, rounds) = if silent { (500, 12) } else { (20_000, 120) };
        let store = way.fake.store(deadline).prefix(&format!("case-{at}")).unwrap();
        let house = House::with(store, locks_after(1));
        let burns = troubles.iter().any(|(verb, trouble)| *verb == "spend" && trouble.done());
        for round in 0..rounds {
            // What is spent is told as a replay when it is sent again, and that is a failure.
            house.clock.advance(if burns { 60 } else { 0 });
            assert_eq!(house.says("alice", &house.code()), UNAVAILABLE, "{troubles:?}, round {round}");
        }
        assert!(way.met() >= rounds, "{troubles:?}");
        way.is_mended();
        house.clock.advance(if burns { 60 } else { 0 });
        assert_eq!(house.says("alice", &house.code()), OK, "{troubles:?}");
    });
}

/// Each process takes back what it has lost itself, whatever the others count meanwhile.
#[test]
fn nor_where_there_are_several_processes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let ways = [(); 3].map(|()| Broken::way(&redis, &[("count", Trouble::CutAfter(0))]));
    // One more than can be lost at a time.
    let houses = ways.each_ref().map(|way| House::with(way.fake.store(20_000), locks_after(4)));
    for round in 0..120 {
        assert_eq!(houses[round % 3].says("alice", CODE), UNAVAILABLE, "{round}");
    }
    ways.iter().for_each(Broken::is_mended);
    for (at, house) in houses.iter().enumerate() {
        assert_eq!(house.says("alice", CODE), if at == 0 { OK } else { DENIED });
    }
}

/// Whoever can provoke faults between two guesses has no more guesses than anybody: five, and then a wait.
#[test]
fn no_fault_gives_a_guess_for_free() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (error, cut_after) = (Trouble::Error("ERR something"), Trouble::CutAfter(0));
    let cases = [
        vec![("count", error.clone())],
        vec![("count", Trouble::CutBefore)],
        vec![("count", cut_after.clone())],
        vec![("spend", error.clone())],
        vec![("spend", error.clone()), ("take_back", error.clone())],
        vec![("spend", error.clone()), ("take_back", Trouble::CutBefore)],
        vec![("spend", error), ("take_back", cut_after)],
    ];
    side_by_side(&cases, |at, troubles| {
        let way = Broken::way(&redis, troubles);
        let house = House::of(way.fake.store(20_000).prefix(&format!("case-{at}")).unwrap());
        for guess in 0..5 {
            for _ in 0..3 {
                way.breaks_again();
                // Right, so that there is something to spend.
                assert_eq!(house.says("alice", CODE), UNAVAILABLE, "{troubles:?}, guess {guess}");
                way.is_mended();
            }
            assert_eq!(house.says("alice", "000000"), DENIED, "{troubles:?}, guess {guess}");
        }
        for _ in 0..3 {
            assert_eq!(house.says("alice", "000000"), THROTTLED, "{troubles:?}");
        }
        house.clock.advance(30);
        assert_eq!(house.says("alice", "000000"), DENIED, "{troubles:?}");
        assert_eq!(house.says("alice", "000000"), THROTTLED, "{troubles:?}");
    });
}

/// What is under way in one request is not lost, and no other one takes it back.
#[tokio::test(flavor = "multi_thread")]
async fn nor_where_answers_are_lost_among_many_guesses_at_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (counts, loses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let fake = Fake::new(sound({
        let (redis, counts, loses) = (redis.clone(), counts.clone(), loses.clone());
        move |command| {
            let nth = counts.fetch_add(usize::from(verb(command) == Some("count")), Ordering::SeqCst);
            let answer = real(&redis, command);
            // The answer to another call, which is none to this one.
            let lost = loses.load(Ordering::SeqCst) && nth % 2 == 0;
            Do::Say(if lost { b"*2\r\n$1\r\n1\r\n$8\r\nadmitted\r\n".to_vec() } else { answer })
        }
    }));
    for round in 0..20 {
        loses.store(true, Ordering::SeqCst);
        let house = House::of(fake.store(20_000).prefix(&format!("round-{round}")).unwrap());
        let barrier = Arc::new(Barrier::new(40));
        let guesses: Vec<_> = (0..40)
            .map(|_| {
                let (gate, barrier) = (house.gate.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    gate.oneshot(request_of(user("alice"), Some("000000"))).await.unwrap().status()
                })
            })
            .collect();
        let mut denied = 0;
        for said in futures_util::future::join_all(guesses).await {
            match said.unwrap() {
                DENIED => denied += 1,
                said => assert!(said == THROTTLED || said == UNAVAILABLE, "{said}"),
            }
        }
        // Those of which nobody knows are taken back now, and no others.
        loses.store(false, Ordering::SeqCst);
        while denied <= 5 {
            let said = house.gate.clone().oneshot(request_of(user("alice"), Some("000000"))).await.unwrap().status();
            if said == THROTTLED {
                break;
            }
            assert_eq!(said, DENIED);
            denied += 1;
        }
        assert_eq!(denied, 5, "round {round}");
    }
}

/// Calls that hang on the way and arrive when nobody waits for them any more.
#[test]
fn what_arrives_late_is_done_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let (holds, held) = (Arc::new(Mutex::new("")), Arc::new(Mutex::new(vec![])));
    let fake = Fake::new(sound({
        let (redis, holds, held) = (redis.clone(), holds.clone(), held.clone());
        move |command| {
            if verb(command) == Some(*holds.lock().unwrap()) {
                held.lock().unwrap().push(command.to_vec());
                return Do::Hang;
            }
            Do::Say(real(&redis, command))
        }
    }));
    let store = fake.store(300);
    let (alice, throttle) = (user("alice"), Throttle::new(50, s(1), s(1), 100).unwrap());
    let count = || block_on(store.count_attempt(&alice, &throttle, s(NOW))).is_ok();
    let take_back = || block_on(store.take_back_attempt(&alice, &throttle)).is_ok();
    let failures = || -> String {
        let keys: Vec<String> = redis.ask(&["KEYS", "*:f"]);
        redis.ask::<String>(&["GET", &keys[0]]).split(' ').next().unwrap().into()
    };
    let arrives = || held.lock().unwrap().drain(..).for_each(|command| drop(real(&redis, &command)));
    let hold = |verb| *holds.lock().unwrap() = verb;
    (0..4).for_each(|_| assert!(count()));
    hold("take_back");
    assert!(!take_back());
    assert_eq!(failures(), "4");
    // The next one has it taken back, and then it arrives.
    hold("");
    assert!(count());
    assert_eq!(failures(), "4");
    arrives();
    assert_eq!(failures(), "4");
    // One that is counted late stays so until the next one.
    hold("count");
    assert!(!count());
    hold("");
    assert!(count());
    assert_eq!(failures(), "5");
    arrives();
    assert_eq!(failures(), "6");
    assert!(count());
    assert_eq!(failures(), "6");
    // After a success there is nothing left to take back.
    hold("take_back");
    assert!(!take_back());
    hold("");
    let _ = block_on(store.spend_step(&alice, "", 10, s(NOW + 1000), s(NOW))).unwrap();
    (0..2).for_each(|_| assert!(count()));
    arrives();
    assert_eq!(failures(), "2");
}

/// It might be one that was verified, and was wrong.
#[test]
fn what_another_process_has_counted_is_not_taken_back() {
    let Some(redis) = Redis::start(&[]) else { return };
    let [counts, takes_back] = [(); 2].map(|()| RedisStore::new(&redis.url()).unwrap().deadline(s(30)));
    let (alice, throttle) = (user("alice"), locks_after(100));
    let count = || block_on(counts.count_attempt(&alice, &throttle, s(NOW))).unwrap();
    let record = || {
        let keys: Vec<String> = redis.ask(&["KEYS", "*:f"]);
        let record: String = redis.ask(&["GET", &keys[0]]);
        (record.split(' ').next().unwrap().to_owned(), record.split(' ').count() - 4, keys[0].clone())
    };
    assert_eq!(count(), Admission::Admitted);
    block_on(takes_back.take_back_attempt(&alice, &throttle)).unwrap();
    assert_eq!((&*record().0, record().1), ("1", 1));
    block_on(counts.take_back_attempt(&alice, &throttle)).unwrap();
    assert_eq!((&*record().0, record().1), ("0", 0));
    // Of as many failures as there can be, this is how much there is.
    (0..100).for_each(|_| assert_eq!(count(), Admission::Admitted));
    assert_eq!(count(), Admission::LockedOut);
    let (failures, numbers, key) = record();
    assert_eq!((&*failures, numbers), ("100", 100));
    let bytes: u64 = redis.ask(&["MEMORY", "USAGE", &key]);
    assert!(bytes < 3000, "{bytes}");
}

/// What is owed is known to the process that lost it, and to nobody else: an attempt that is lost just before it ends
/// stays counted. It takes as many ends as failures to lock out, and then it takes an administrator.
#[test]
fn what_a_process_owes_ends_with_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let way = Broken::way(&redis, &[("count", Trouble::CutAfter(0))]);
    let process = || House::with(way.fake.store(20_000), locks_after(3));
    for _ in 0..3 {
        assert_eq!(process().says("alice", CODE), UNAVAILABLE);
    }
    way.is_mended();
    let house = process();
    house.clock.advance(Duration::from_secs(100 * 24 * 3600).as_secs());
    assert_eq!(house.says("alice", &house.code()), THROTTLED);
    block_on(way.fake.store(20_000).clear_failures(&user("alice"))).unwrap();
    assert_eq!(house.says("alice", &house.code()), OK);
}
