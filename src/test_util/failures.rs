//! The suite of stores: failures.

use super::operations::{ADMITTED, NOW, admit, admit_under, clear, release, secs, throttled, time};
use crate::store::{Admission, Records, Store, Throttle};

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
    // After the clock is right again, the delay is not longer than the longest one.
    assert_eq!(admit(store, "alice", NOW), throttled(3600));
    assert_eq!(admit(store, "alice", NOW + 3600), ADMITTED);
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
