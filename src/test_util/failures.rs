//! What every store must keep of failures.

use super::block_on as run;
use super::conformance::{ADMITTED, NOW, admit, clear, s, throttled, user};
use crate::store::{Admission, Store, Throttle};

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

pub fn a_lock_out_is_taken_back_with_its_attempt<S: Store>(store: &S) {
    let strict = Throttle::new(3, s(1), s(1), 3).unwrap();
    let admit_strictly = || run(store.count_attempt(&user("alice"), &strict, s(NOW))).map_err(Into::into).unwrap();
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit_strictly(), Admission::LockedOut);
    run(store.take_back_attempt(&user("alice"), &strict)).map_err(Into::into).unwrap();
    assert_eq!(admit_strictly(), ADMITTED);
    assert_eq!(admit_strictly(), Admission::LockedOut);
}

pub fn another_throttle_lifts_no_lock_out<S: Store>(store: &S) {
    let strict = Throttle::new(3, s(1), s(1), 3).unwrap();
    let admit_strictly = || run(store.count_attempt(&user("alice"), &strict, s(NOW))).map_err(Into::into).unwrap();
    for _ in 0..3 {
        assert_eq!(admit_strictly(), ADMITTED);
    }
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
    assert_eq!(admit_strictly(), Admission::LockedOut);
    // Nor does an attempt that is taken back under it.
    run(store.take_back_attempt(&user("alice"), &Throttle::default())).map_err(Into::into).unwrap();
    assert_eq!(admit(store, "alice", NOW + 1000), Admission::LockedOut);
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

pub fn few_failures_are_forgotten_after_a_month_and_not_before<S: Store>(store: &S) {
    let few = Throttle::FORGET_FEW_AFTER.as_secs();
    for id in ["alice", "bob"] {
        for _ in 0..4 {
            assert_eq!(admit(store, id, NOW), ADMITTED);
        }
    }
    assert_eq!(admit(store, "alice", NOW + few), ADMITTED);
    assert_eq!(admit(store, "alice", NOW + few), throttled(30));
    for _ in 0..5 {
        assert_eq!(admit(store, "bob", NOW + few + 1), ADMITTED);
    }
    assert_eq!(admit(store, "bob", NOW + few + 1), throttled(30));
    // Five are not few, even where more are free.
    let lenient = Throttle::new(6, s(30), s(30), 100).unwrap();
    let admit_leniently = |now| run(store.count_attempt(&user("carol"), &lenient, s(now))).map_err(Into::into).unwrap();
    for _ in 0..5 {
        assert_eq!(admit_leniently(NOW), ADMITTED);
    }
    assert_eq!(admit_leniently(NOW + few + 1), ADMITTED);
    assert_eq!(admit_leniently(NOW + few + 1), throttled(30));
}
