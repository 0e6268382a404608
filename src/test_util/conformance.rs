//! What every store must keep.

use std::time::Duration;

use super::block_on as run;
pub use super::failures::*;
pub use super::races::*;
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

pub(super) fn clear<S: Store>(store: &S, id: &str) {
    run(store.clear_failures(&user(id))).map_err(Into::into).unwrap();
}

pub(super) const ADMITTED: Admission = Admission::Admitted;

pub(super) fn throttled(seconds: u64) -> Admission {
    Admission::Throttled { retry_after: s(seconds) }
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

/// No wait, and no record, is over before its last part of a second.
pub fn times_are_finer_than_seconds<S: Store>(store: &S) {
    let at = |millis| s(NOW) + Duration::from_millis(millis);
    let admit_at = |millis| {
        run(store.count_attempt(&user("alice"), &Throttle::default(), at(millis))).map_err(Into::into).unwrap()
    };
    for _ in 0..5 {
        assert_eq!(admit_at(900), ADMITTED);
    }
    match admit_at(30_500) {
        Admission::Throttled { retry_after } if retry_after >= Duration::from_millis(400) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(admit_at(31_900), ADMITTED);
    let spend_at =
        |millis| run(store.spend_step(&user("alice"), "", 10, at(10_900), at(millis))).map_err(Into::into).unwrap();
    assert_eq!(spend_at(900), Spend::Fresh);
    assert_eq!(spend_at(10_500), Spend::Replayed);
}

pub fn a_record_is_never_shortened<S: Store>(store: &S) {
    let spend_until = |step, keep_until, now| {
        run(store.spend_step(&user("alice"), "", step, s(keep_until), s(now))).map_err(Into::into).unwrap()
    };
    assert_eq!(spend_until(10, NOW + 1000, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 10, NOW), Spend::Fresh);
    assert_eq!(spend_until(11, NOW + 1000, NOW + 500), Spend::Replayed);
}

/// Tries whether a [`Store`](crate::store::Store) keeps what the trait says: `store_conformance!(name, make)` is a module
/// `name` of tests, each with a store of its own that `make()` gives.
///
/// `make()` may give an `Option` of one, and none has the test pass unseen: where a server is not installed, say.
///
/// The stores of one run may share a database if they share no user. Their clones are used from many threads at once.
/// `make()` is called, and each verb is awaited, in the runtime of [`block_on`](crate::test_util::block_on).
///
/// Races are tried in many rounds, for two seconds each at the most. A store that loses one only now and then may pass
/// now and then. What the suite cannot see: whether records outlive a restart, and whether the store ends them by a
/// clock of its own before their time; the times that it is called with are far in the future, and a test does not wait.
///
/// Minor releases may add tests: one that fails then shows what the store has never kept.
///
/// ```test_harness
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
            failures_are_forgotten_after_a_year_and_not_before, few_failures_are_forgotten_after_a_month_and_not_before,
            a_lock_out_is_taken_back_with_its_attempt, times_are_finer_than_seconds,
            of_spends_at_once_none_is_fresh_twice, of_counts_at_once_none_is_lost, of_what_is_taken_back_at_once_none_is_lost,
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
