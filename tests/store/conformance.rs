//! What every store must keep, as a macro: `conformance!(name, make)`, where `make()` gives a fresh, shared store;
//! and with `where there is one`, an `Option` of one.

use std::sync::{Arc, Barrier, LazyLock};
use std::time::Duration;

use tower_toopher::UserId;
use tower_toopher::store::{Admission, Spend, Store, Throttle};

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The start of every test: well beyond 32 bits of seconds.
pub(crate) const NOW: u64 = 20_000_000_000;
/// Long enough for no test to outlive it.
const KEEP: u64 = 1000;

/// One for all tests, so that the connections of a store outlive the verb that made them.
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// What `make` gives: a store, or none where there cannot be one.
pub(crate) fn made<S>(make: impl FnOnce() -> Option<S>) -> Option<S> {
    let _entered = RUNTIME.enter();
    make()
}

pub(crate) fn admit<S: Store>(store: &S, id: &str, now: u64) -> Admission {
    run(store.count_attempt(&user(id), &Throttle::default(), s(now))).map_err(Into::into).unwrap()
}

pub(crate) fn spend<S: Store>(store: &S, id: &str, device: &str, step: u64, now: u64) -> Spend {
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
fn at_once<S: Store + Clone, T: Send + 'static>(store: &S, n: usize, work: fn(&S, usize) -> T) -> Vec<T> {
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

pub(crate) fn a_step_is_spent_once<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 666_666_666, NOW), Spend::Fresh);
    for later in [0, 1, KEEP - 1] {
        assert_eq!(spend(store, "alice", "", 666_666_666, NOW + later), Spend::Replayed);
    }
}

pub(crate) fn an_earlier_step_is_spent_with_a_later_one<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 9, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 11, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Replayed);
}

pub(crate) fn the_first_and_the_last_step_exist<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 0, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", i64::MAX as u64, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", u64::MAX, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", u64::MAX, NOW), Spend::Replayed);
}

pub(crate) fn a_clock_set_back_makes_nothing_fresh<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    assert_eq!(spend(store, "alice", "", 10, NOW - 500), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 10, 0), Spend::Replayed);
}

pub(crate) fn names_are_told_apart<S: Store>(store: &S) {
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

pub(crate) fn one_step_in_parallel_is_fresh_once<S: Store + Clone>(store: &S) {
    let spends = at_once(store, 50, |store, _| spend(store, "alice", "", 10, NOW));
    assert_eq!(spends.iter().filter(|&&s| s == Spend::Fresh).count(), 1);
}

pub(crate) fn many_steps_in_parallel_end_at_the_highest<S: Store + Clone>(store: &S) {
    at_once(store, 50, |store, i| spend(store, "alice", "", i as u64, NOW));
    assert_eq!(spend(store, "alice", "", 49, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 50, NOW), Spend::Fresh);
}

pub(crate) fn five_failures_are_free_and_waits_grow<S: Store>(store: &S) {
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

pub(crate) fn what_is_not_admitted_is_not_counted<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    for _ in 0..200 {
        assert_eq!(admit(store, "alice", NOW + 10), throttled(20));
    }
    assert_eq!(admit(store, "alice", NOW + 30), ADMITTED);
}

pub(crate) fn after_a_hundred_failures_only_an_administrator_helps<S: Store>(store: &S) {
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

pub(crate) fn a_fresh_step_forgets_failures_and_a_replay_does_not<S: Store>(store: &S) {
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

pub(crate) fn clearing_failures_spares_spent_steps<S: Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    clear(store, "alice");
    clear(store, "nobody");
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Replayed);
}

pub(crate) fn a_burst_is_admitted_no_more_than_a_queue<S: Store + Clone>(store: &S) {
    let admissions = at_once(store, 100, |store, _| admit(store, "alice", NOW));
    assert_eq!(admissions.iter().filter(|&&a| a == ADMITTED).count(), 5);
    assert_eq!(admissions.iter().filter(|&&a| a == throttled(30)).count(), 95);
}

pub(crate) fn a_clock_that_jumped_does_not_lock_for_ever<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW + 1_000_000_000);
    }
    // Back in the present, the wait is no longer than any wait is.
    assert_eq!(admit(store, "alice", NOW), throttled(3600));
    assert_eq!(admit(store, "alice", NOW + 3600), ADMITTED);
}

pub(crate) fn what_could_not_be_verified_is_taken_back<S: Store>(store: &S) {
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

pub(crate) fn a_record_is_never_shortened<S: Store>(store: &S) {
    let spend_until = |step, keep_until, now| {
        run(store.spend_step(&user("alice"), "", step, s(keep_until), s(now))).map_err(Into::into).unwrap()
    };
    assert_eq!(spend_until(10, NOW + 1000, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 10, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 1000, NOW + 500), Spend::Replayed);
}

pub(crate) fn another_throttle_lifts_no_lock_out<S: Store>(store: &S) {
    let strict = Throttle::new(3, s(1), s(1), 3).unwrap();
    let admit_strictly = || run(store.count_attempt(&user("alice"), &strict, s(NOW))).map_err(Into::into).unwrap();
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
    assert_eq!(admit_strictly(), Admission::LockedOut);
}

pub(crate) fn a_free_failure_brings_no_wait_even_to_a_clock_set_back<S: Store>(store: &S) {
    for back in 0..5 {
        assert_eq!(admit(store, "alice", NOW - back * 10), ADMITTED);
    }
}

pub(crate) fn failures_are_forgotten_after_a_year_and_not_before<S: Store>(store: &S) {
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

macro_rules! conformance {
    ($name:ident, $make:expr) => {
        conformance!($name, || Some($make()), where there is one);
    };
    ($name:ident, $make:expr, where there is one) => {
        mod $name {
            use super::*;

            conformance!(@tests $make;
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
        }
    };
    (@tests $make:expr; $($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            let Some(store) = conformance::made($make) else { return };
            conformance::$test(&store);
        }
    )*};
}
