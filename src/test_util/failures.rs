//! The suite of stores: failures.

use super::operations::{ADMITTED, NOW, admit, admit_under, clear, record, release, secs, throttled, time};
use crate::store::{Admission, Records, StepOutcome, Store, Throttle};

pub fn five_failures_are_free_and_delays_grow<S: Store>(store: &S) {
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

pub fn refused_attempts_are_not_counted<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    for _ in 0..200 {
        assert_eq!(admit(store, "alice", NOW + 10), throttled(20));
    }
    assert_eq!(admit(store, "alice", NOW + 30), ADMITTED);
}

pub fn a_hundred_failures_lock_the_account<S: Store>(store: &S) {
    let mut now = NOW;
    for _ in 0..100 {
        assert_eq!(admit(store, "alice", now), ADMITTED);
        now += 3600;
    }
    for wait in [0, 3600, 10 * 365 * 24 * 3600] {
        assert_eq!(admit(store, "alice", now + wait), Admission::LockedOut);
    }
    clear(store, "alice", Records::Failures);
    assert_eq!(admit(store, "alice", now), ADMITTED);
}

pub fn a_clock_that_jumped_does_not_lock_forever<S: Store>(store: &S) {
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW + 1_000_000_000);
    }
    // After the clock is right again, the delay is that of five failures, not the longest one.
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    assert_eq!(admit(store, "alice", NOW + 29), throttled(1));
    assert_eq!(admit(store, "alice", NOW + 30), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + 30), throttled(60));
    // A day is longer than every delay.
    for _ in 0..5 {
        let _ = admit(store, "bob", NOW + DAY);
    }
    assert_eq!(admit(store, "bob", NOW), throttled(30));
    assert_eq!(admit(store, "bob", NOW + 30), ADMITTED);
}

pub fn unverified_attempts_are_released<S: Store>(store: &S) {
    let release = || release(store, "alice", &Throttle::default());
    release();
    for _ in 0..200 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
        release();
    }
    for _ in 0..4 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
    }
    // The fifth causes a delay, which ends when the attempt is released.
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
    release();
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
}

fn strict() -> Throttle {
    Throttle::new(3, secs(1), secs(1), 3).unwrap()
}

pub fn a_lock_out_is_released_with_its_attempt<S: Store>(store: &S) {
    let admit_strictly = || admit_under(store, "alice", &strict(), time(NOW));
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit_strictly(), Admission::LockedOut);
    release(store, "alice", &strict());
    assert_eq!(admit_strictly(), ADMITTED);
    assert_eq!(admit_strictly(), Admission::LockedOut);
}

pub fn another_throttle_keeps_a_lock_out<S: Store>(store: &S) {
    let admit_strictly = || admit_under(store, "alice", &strict(), time(NOW));
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
    assert_eq!(admit_strictly(), Admission::LockedOut);
    // Neither does the release of an attempt under the other throttle.
    release(store, "alice", &Throttle::default());
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
}

pub fn a_free_failure_causes_no_delay_after_a_clock_is_set_back<S: Store>(store: &S) {
    for back in 0..5 {
        assert_eq!(admit(store, "alice", NOW - back * 10), ADMITTED);
    }
}

pub fn failures_expire_after_a_year_and_not_before<S: Store>(store: &S) {
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

pub fn small_counts_expire_after_a_month_and_not_before<S: Store>(store: &S) {
    let month = Throttle::SMALL_COUNT_TTL.as_secs();
    for id in ["alice", "bob"] {
        for _ in 0..4 {
            assert_eq!(admit(store, id, NOW), ADMITTED);
        }
    }
    assert_eq!(admit(store, "alice", NOW + month), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + month), throttled(30));
    for _ in 0..5 {
        assert_eq!(admit(store, "bob", NOW + month + 1), ADMITTED);
    }
    assert_eq!(admit(store, "bob", NOW + month + 1), throttled(30));
    // Five is not a small count, even if more failures are free.
    let lenient = Throttle::new(6, secs(30), secs(30), 100).unwrap();
    let admit_leniently = |now| admit_under(store, "carol", &lenient, time(now));
    for _ in 0..5 {
        assert_eq!(admit_leniently(NOW), ADMITTED);
    }
    assert_eq!(admit_leniently(NOW + month + 1), ADMITTED);
    assert_eq!(admit_leniently(NOW + month + 1), throttled(30));
}

/// No failure causes a delay, and at most one a day is admitted over a long time, 30 at once.
fn one_a_day() -> Throttle {
    Throttle::new(100, secs(1), secs(1), 100).unwrap().per_day(1).unwrap()
}

const DAY: u64 = 24 * 3600;

pub fn recent_failures_outlast_successes<S: Store>(store: &S) {
    let admit = |now| admit_under(store, "alice", &one_a_day(), time(now));
    for step in 1..=30 {
        // A wrong code of an attacker, then the right one of the user.
        assert_eq!(admit(NOW), ADMITTED, "{step}");
        if step < 30 {
            assert_eq!(admit(NOW), ADMITTED, "{step}");
            assert_eq!(record(store, "alice", "", step, NOW), StepOutcome::Fresh);
        }
    }
    assert_eq!(admit(NOW), throttled(DAY));
    assert_eq!(admit(NOW + DAY - 1), throttled(1));
    // If the clock was set back, the wait is not longer.
    assert_eq!(admit(NOW - DAY), throttled(DAY));
    assert_eq!(admit(NOW), ADMITTED);
    assert_eq!(admit(NOW), throttled(DAY));
    // One expires each day.
    for _ in 0..2 {
        assert_eq!(admit(NOW + 2 * DAY), ADMITTED);
    }
    assert_eq!(admit(NOW + 2 * DAY), throttled(DAY));
    // The attempt of a success is not a failure, and was counted once, whatever the number of devices.
    for (device, step) in [("", 40), ("a", 40), ("b", 40)] {
        assert_eq!(record(store, "alice", device, step, NOW + 2 * DAY), StepOutcome::Fresh);
    }
    clear(store, "alice", Records::FailuresAndApprovals);
    assert_eq!(admit(NOW + 2 * DAY), ADMITTED);
    assert_eq!(admit(NOW + 2 * DAY), throttled(DAY));
    // An attempt that could not be verified is not a failure either.
    release(store, "alice", &one_a_day());
    assert_eq!(admit(NOW + 2 * DAY), ADMITTED);
    assert_eq!(admit(NOW + 2 * DAY), throttled(DAY));
    // An administrator's unlock deletes all of them.
    clear(store, "alice", Records::Failures);
    for _ in 0..30 {
        assert_eq!(admit(NOW + 2 * DAY), ADMITTED);
    }
    assert_eq!(admit(NOW + 2 * DAY), throttled(DAY));
}

/// The store reports an error after it committed the step, so the verifier releases an attempt that the step released.
pub fn a_release_after_a_success_changes_nothing<S: Store>(store: &S) {
    let admit = || admit_under(store, "alice", &one_a_day(), time(NOW));
    for step in 1..30 {
        // A wrong code of an attacker, then the right one of the user.
        assert_eq!(admit(), ADMITTED, "{step}");
        assert_eq!(admit(), ADMITTED, "{step}");
        assert_eq!(record(store, "alice", "", step, NOW), StepOutcome::Fresh);
        release(store, "alice", &one_a_day());
    }
    // The 29 failures of the attacker remain.
    assert_eq!(admit(), ADMITTED);
    assert_eq!(admit(), throttled(DAY));
}

pub fn recent_failures_outlast_a_recovery_code<S: Store>(store: &S) {
    let admit = || admit_under(store, "alice", &one_a_day(), time(NOW));
    for _ in 0..30 {
        assert_eq!(admit(), ADMITTED);
    }
    clear(store, "alice", Records::FailuresAndApprovals);
    assert_eq!(admit(), ADMITTED);
    assert_eq!(admit(), throttled(DAY));
}
