//! What every store must keep.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::block_on as run;
use crate::UserId;
use crate::store::{Admission, Spend, Store, Throttle};

#[must_use]
pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

#[must_use]
pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The start of every test: well beyond 32 bits of seconds.
pub const NOW: u64 = 20_000_000_000;
/// Long enough for no test to outlive it.
const KEEP: u64 = 1000;

pub fn admit<S: Store>(store: &S, id: &str, now: u64) -> Admission {
    run(store.count_attempt(&user(id), &Throttle::default(), s(now))).map_err(Into::into).unwrap()
}

pub fn spend<S: Store>(store: &S, id: &str, device: &str, step: u64, now: u64) -> Spend {
    run(store.spend_step(&user(id), device, step, s(now + KEEP), s(now))).map_err(Into::into).unwrap()
}

fn clear<S: Store>(store: &S, id: &str) {
    run(store.clear_failures(&user(id))).map_err(Into::into).unwrap();
}

const ADMITTED: Admission = Admission::Admitted;

fn throttled(seconds: u64) -> Admission {
    Admission::Throttled { retry_after: s(seconds) }
}

/// Calls `work` from `n` threads at once.
pub(super) fn at_once<S: Store + Clone, T: Send + 'static>(store: &S, n: usize, work: fn(&S, usize) -> T) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(n));
    let threads: Vec<_> = (0..n)
        .map(|i| {
            let (store, barrier) = (store.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                work(&store, i)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub fn a_step_is_spent_once<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 666_666_666, NOW), Spend::Fresh);
    for later in [0, 1, KEEP - 1] {
        assert_eq!(spend(store, "alice", "", 666_666_666, NOW + later), Spend::Replayed);
    }
}

pub fn an_earlier_step_is_spent_with_a_later_one<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 9, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 11, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Replayed);
}

pub fn the_first_and_the_last_step_exist<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", i64::MAX as u64, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", u64::MAX, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", u64::MAX, NOW), Spend::Replayed);
}

pub fn a_clock_set_back_makes_nothing_fresh<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 10, NOW - 500), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 10, 0), Spend::Replayed);
}

pub fn names_are_told_apart<S: Store>(store: &S) {
    let names = [
        ("a", ""),
        ("a", "b"),
        ("ab", ""),
        ("a:b", ""),
        ("a", ":b"),
        ("a:", "b"),
        ("a\0", "b"),
        ("a", "\0b"),
        ("A", ""),
        (" a", ""),
        ("a ", ""),
        ("a{b}", ""),
        ("{a}b", ""),
        ("zo\u{eb}", ""),
        ("zoe\u{308}", ""),
        ("*", ""),
        ("%", ""),
        ("'", ""),
        ("a\nb", ""),
        ("a/b", ""),
        ("\u{ff41}", ""),
    ];
    for (id, device) in names {
        assert_eq!(spend(store, id, device, 10, NOW), Spend::Fresh, "{id:?} {device:?}");
    }
    for (id, device) in names {
        assert_eq!(spend(store, id, device, 10, NOW), Spend::Replayed, "{id:?} {device:?}");
    }
    let long = "x".repeat(511);
    for id in [format!("{long}1"), format!("{long}2")] {
        assert_eq!(spend(store, &id, &"y".repeat(5000), 10, NOW), Spend::Fresh);
    }
}

pub fn one_step_in_parallel_is_fresh_once<S: Store + Clone>(store: &S) {
    let spends = at_once(store, 50, |store, _| spend(store, "alice", "", 10, NOW));
    assert_eq!(spends.iter().filter(|&&s| s == Spend::Fresh).count(), 1);
}

pub fn many_steps_in_parallel_end_at_the_highest<S: Store + Clone>(store: &S) {
    at_once(store, 50, |store, i| spend(store, "alice", "", i as u64, NOW));
    assert_eq!(spend(store, "alice", "", 49, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 50, NOW), Spend::Fresh);
}

pub fn five_failures_are_free_and_waits_grow<S: Store>(store: &S) {
    for _ in 0..5 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(admit(store, "alice", NOW + 29), throttled(1));
    assert_eq!(admit(store, "bob", NOW), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + 30), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + 30), throttled(60));
    assert_eq!(admit(store, "alice", NOW + 90), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + 90), throttled(120));
}

pub fn what_is_not_admitted_is_not_counted<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    for _ in 0..200 {
        assert_eq!(admit(store, "alice", NOW + 10), throttled(20));
    }
    assert_eq!(admit(store, "alice", NOW + 30), ADMITTED);
}

pub fn after_a_hundred_failures_only_an_administrator_helps<S: Store>(store: &S) {
    let mut now = NOW;
    for _ in 0..100 {
        assert_eq!(admit(store, "alice", now), ADMITTED);
        now += 3600;
    }
    for wait in [0, 3600, 10 * 365 * 24 * 3600] {
        assert_eq!(admit(store, "alice", now + wait), Admission::LockedOut);
    }
    clear(store, "alice");
    assert_eq!(admit(store, "alice", now), ADMITTED);
}

pub fn a_fresh_step_forgets_failures_and_a_replay_does_not<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Replayed);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(spend(store, "bob", "", 11, NOW), Spend::Fresh);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(spend(store, "alice", "", 11, NOW), Spend::Fresh);
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
}

pub fn clearing_failures_spares_spent_steps<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    clear(store, "alice");
    clear(store, "nobody");
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Replayed);
}

pub fn a_burst_is_admitted_no_more_than_a_queue<S: Store + Clone>(store: &S) {
    let admissions = at_once(store, 100, |store, _| admit(store, "alice", NOW));
    assert_eq!(admissions.iter().filter(|&&a| a == ADMITTED).count(), 5);
    assert_eq!(admissions.iter().filter(|&&a| a == throttled(30)).count(), 95);
}

pub fn a_clock_that_jumped_does_not_lock_for_ever<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW + 1_000_000_000);
    }
    // Back in the present, the wait is no longer than any wait is.
    assert_eq!(admit(store, "alice", NOW), throttled(3600));
    assert_eq!(admit(store, "alice", NOW + 3600), ADMITTED);
}

pub fn what_could_not_be_verified_is_taken_back<S: Store>(store: &S) {
    let take_back = || run(store.take_back_attempt(&user("alice"), &Throttle::default())).map_err(Into::into).unwrap();
    take_back();
    for _ in 0..200 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
        take_back();
    }
    for _ in 0..4 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
    }
    // The fifth brings a wait, which goes with it.
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    take_back();
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
}

pub fn a_record_is_never_shortened<S: Store>(store: &S) {
    let spend_until = |step, keep_until, now| {
        run(store.spend_step(&user("alice"), "", step, s(keep_until), s(now))).map_err(Into::into).unwrap()
    };
    assert_eq!(spend_until(10, NOW + 1000, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 10, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 1000, NOW + 500), Spend::Replayed);
}

pub fn another_throttle_lifts_no_lock_out<S: Store>(store: &S) {
    let strict = Throttle::new(3, s(1), s(1), 3).unwrap();
    let admit_strictly = || run(store.count_attempt(&user("alice"), &strict, s(NOW))).map_err(Into::into).unwrap();
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
    assert_eq!(admit_strictly(), Admission::LockedOut);
}

pub fn a_free_failure_brings_no_wait_even_to_a_clock_set_back<S: Store>(store: &S) {
    for back in 0..5 {
        assert_eq!(admit(store, "alice", NOW - back * 10), ADMITTED);
    }
}

pub fn failures_are_forgotten_after_a_year_and_not_before<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    let year = 365 * 24 * 3600;
    assert_eq!(admit(store, "alice", NOW + year), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + year), throttled(60));
    for _ in 0..5 {
        assert_eq!(admit(store, "alice", NOW + 3 * year), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW + 3 * year), throttled(30));
}

/// Tries whether a [`Store`](crate::store::Store) keeps what the trait says: `store_conformance!(name, make)` is a module
/// `name` of tests, each with a store of its own that `make()` gives.
///
/// `make()` may give an `Option` of one, and none has the test pass unseen: where a server is not installed, say.
///
/// The stores of one run may share a database if they share no user. Their clones are used from many threads at once.
/// `make()` is called, and each verb is awaited, in the runtime of [`block_on`](crate::test_util::block_on).
///
/// ```
/// use tower_toopher::store::MemoryStore;
/// use tower_toopher::test_util::{push_store_conformance, store_conformance};
///
/// store_conformance!(of_mine, MemoryStore::new);
/// push_store_conformance!(of_mine_with_pushes, || MemoryStore::bounded(100));
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! __store_conformance {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__store_conformance!(@tests $name, conformance, $make;
            a_step_is_spent_once, an_earlier_step_is_spent_with_a_later_one, the_first_and_the_last_step_exist,
            a_clock_set_back_makes_nothing_fresh, names_are_told_apart, one_step_in_parallel_is_fresh_once,
            many_steps_in_parallel_end_at_the_highest, five_failures_are_free_and_waits_grow,
            what_is_not_admitted_is_not_counted, after_a_hundred_failures_only_an_administrator_helps,
            a_fresh_step_forgets_failures_and_a_replay_does_not, clearing_failures_spares_spent_steps,
            a_burst_is_admitted_no_more_than_a_queue, a_clock_that_jumped_does_not_lock_for_ever,
            what_could_not_be_verified_is_taken_back, a_record_is_never_shortened,
            another_throttle_lifts_no_lock_out, a_free_failure_brings_no_wait_even_to_a_clock_set_back,
            failures_are_forgotten_after_a_year_and_not_before,
        );
    };
    (@tests $name:ident, $suite:ident, $make:expr; $($test:ident),* $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[test]
                fn $test() {
                    if let Some(store) = $crate::test_util::made($make) {
                        $crate::test_util::$suite::$test(&store);
                    }
                }
            )*
        }
    };
}
