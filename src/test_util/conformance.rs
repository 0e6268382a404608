//! The suite of stores: used time steps, and the list of all tests.

use std::time::Duration;

pub use super::failures::*;
use super::operations::{ADMITTED, KEEP, admit_under, clear, record_until, throttled};
pub use super::operations::{NOW, admit, record, secs, time, user};
pub use super::races::*;
use crate::store::{Admission, Records, StepOutcome, Store, Throttle};

pub fn a_step_is_fresh_once<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 666_666_666, NOW), StepOutcome::Fresh);
    for later in [0, 1, KEEP - 1] {
        assert_eq!(record(store, "alice", "", 666_666_666, NOW + later), StepOutcome::Replayed);
    }
}

pub fn an_earlier_step_is_a_replay_of_a_later_one<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", 9, NOW), StepOutcome::Replayed);
    assert_eq!(record(store, "alice", "", 0, NOW), StepOutcome::Replayed);
    assert_eq!(record(store, "alice", "", 11, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Replayed);
}

pub fn the_first_and_the_last_step_are_valid<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 0, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", 0, NOW), StepOutcome::Replayed);
    assert_eq!(record(store, "alice", "", i64::MAX as u64, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", u64::MAX, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", u64::MAX, NOW), StepOutcome::Replayed);
}

pub fn a_clock_that_is_set_back_makes_no_step_fresh<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    assert_eq!(record(store, "alice", "", 10, NOW - 500), StepOutcome::Replayed);
    assert_eq!(record(store, "alice", "", 10, 0), StepOutcome::Replayed);
}

pub fn different_names_have_different_records<S: Store>(store: &S) {
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
        assert_eq!(record(store, id, device, 10, NOW), StepOutcome::Fresh, "{id:?} {device:?}");
    }
    for (id, device) in names {
        assert_eq!(record(store, id, device, 10, NOW), StepOutcome::Replayed, "{id:?} {device:?}");
    }
    let long = "x".repeat(511);
    for id in [format!("{long}1"), format!("{long}2")] {
        assert_eq!(record(store, &id, &"y".repeat(5000), 10, NOW), StepOutcome::Fresh);
    }
}

pub fn a_fresh_step_clears_failures_and_a_replay_does_not<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Replayed);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(record(store, "bob", "", 11, NOW), StepOutcome::Fresh);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(record(store, "alice", "", 11, NOW), StepOutcome::Fresh);
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
}

pub fn clearing_keeps_used_steps<S: Store>(store: &S) {
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    for records in [Records::Failures, Records::Approvals, Records::FailuresAndApprovals] {
        clear(store, "alice", records);
        clear(store, "unknown", records);
        assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Replayed);
    }
}

pub fn a_success_clears_failures<S: Store>(store: &S) {
    for id in ["alice", "bob"] {
        for _ in 0..5 {
            assert_eq!(admit(store, id, NOW), ADMITTED);
        }
        assert_eq!(admit(store, id, NOW), throttled(30));
    }
    clear(store, "alice", Records::FailuresAndApprovals);
    clear(store, "bob", Records::Approvals);
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "bob", NOW), throttled(30));
}

/// No delay and no record ends before the last part of its second.
pub fn times_are_finer_than_seconds<S: Store>(store: &S) {
    let millis = |millis| time(NOW) + Duration::from_millis(millis);
    let admit_at = |time| admit_under(store, "alice", &Throttle::default(), millis(time));
    for _ in 0..5 {
        assert_eq!(admit_at(900), ADMITTED);
    }
    let admission = admit_at(30_500);
    let rest = Duration::from_millis(400);
    assert!(matches!(admission, Admission::Throttled { retry_after } if retry_after >= rest), "{admission:?}");
    assert_eq!(admit_at(31_900), ADMITTED);
    let record_at = |time| record_until(store, "alice", "", 10, millis(10_900), millis(time));
    assert_eq!(record_at(900), StepOutcome::Fresh);
    assert_eq!(record_at(10_500), StepOutcome::Replayed);
}

pub fn a_record_is_never_shortened<S: Store>(store: &S) {
    let record = |step, keep_until, now| record_until(store, "alice", "", step, time(keep_until), time(now));
    assert_eq!(record(10, NOW + 1000, NOW), StepOutcome::Fresh);
    assert_eq!(record(11, NOW + 10, NOW), StepOutcome::Fresh);
    assert_eq!(record(11, NOW + 1000, NOW + 500), StepOutcome::Replayed);
}

/// Tests whether a [`Store`](crate::store::Store) fulfills the trait: `store_conformance!(name, make)` is a module
/// `name` of tests, each with a store that `make()` returns.
///
/// `make()` may return an `Option` of a store. With `None`, for example if a server is not installed, the test passes.
///
/// The stores of one run may share a database if they share no user. The tests use clones of a store from many threads.
/// `make()` is called, and each operation is awaited, in the runtime of [`block_on`](crate::test_util::block_on).
///
/// Races are tested in many rounds, for at most two seconds each. A store that rarely loses a race may pass in some
/// runs. The suite cannot test whether records survive a restart, and whether the store expires them early by a clock
/// of its own: the times in the tests are far in the future, and a test does not wait.
///
/// Minor releases may add tests. A failure of a new test shows a defect that the store had before.
///
/// ```test_harness
/// use tower_toopher::store::MemoryStore;
/// use tower_toopher::test_util::{approval_store_conformance, store_conformance};
///
/// store_conformance!(my_store, MemoryStore::new);
/// approval_store_conformance!(approvals_of_my_store, || MemoryStore::with_capacity(100));
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! __store_conformance {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__store_conformance!(@tests $name, conformance, $make;
            a_step_is_fresh_once, an_earlier_step_is_a_replay_of_a_later_one, the_first_and_the_last_step_are_valid,
            a_clock_that_is_set_back_makes_no_step_fresh, different_names_have_different_records,
            one_step_in_parallel_is_fresh_once, many_steps_in_parallel_end_at_the_highest,
            five_failures_are_free_and_delays_grow, refused_attempts_are_not_counted,
            a_hundred_failures_lock_the_account, a_fresh_step_clears_failures_and_a_replay_does_not,
            clearing_keeps_used_steps, a_success_clears_failures, a_burst_is_limited_like_a_sequence,
            a_clock_that_jumped_does_not_lock_forever, unverified_attempts_are_released, a_record_is_never_shortened,
            another_throttle_keeps_a_lock_out, a_free_failure_causes_no_delay_after_a_clock_is_set_back,
            failures_expire_after_a_year_and_not_before, small_counts_expire_after_a_month_and_not_before,
            a_lock_out_is_released_with_its_attempt, times_are_finer_than_seconds,
            concurrent_steps_are_fresh_once, concurrent_attempts_are_all_counted,
            concurrent_releases_are_all_applied, recent_failures_outlast_successes,
            recent_failures_outlast_a_recovery_code, a_release_after_a_success_changes_nothing,
        );
    };
    (@tests $name:ident, $suite:ident, $make:expr; $($test:ident),* $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[test]
                fn $test() {
                    if let Some(store) = $crate::test_util::make_store($make) {
                        $crate::test_util::$suite::$test(&store);
                    }
                }
            )*
        }
    };
}
