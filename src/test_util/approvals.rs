//! The suite of stores: approvals, and the list of all their tests.

pub use super::approval_operations::{begin, key, redeem, reference, set_id};
use super::approval_operations::{busy, end, find, id, new, new_for_other_request, reach_limit, request};
pub use super::clearing::*;
use super::operations::{NOW, admit, clear, ok, record, secs, time, user};
use super::races::in_parallel;
use super::runtime::block_on;
use crate::store::{
    Admission, ApprovalLimit, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome, Records, StepOutcome,
    Throttle,
};

pub fn an_approval_is_redeemed_once<S: ApprovalStore>(store: &S) {
    assert_eq!(redeem(store, "alice", 1, NOW), FindOutcome::Unknown);
    request(store, "alice", 1, NOW);
    assert_eq!(find(store, "alice", 1, NOW), FindOutcome::Found);
    for (name, number) in [("alice", 2), ("bob", 1), ("Alice", 1)] {
        assert_eq!(redeem(store, name, number, NOW), FindOutcome::Unknown);
    }
    // Neither for another request nor with another id of the verifier: an invented token redeems nothing.
    for other in [ApprovalRef::new(key(1), [8; 32], id("question")), ApprovalRef::new(key(1), [7; 32], id("another"))] {
        let (alice, throttle) = (user("alice"), Throttle::default());
        let found = ok(block_on(store.find_approval(&alice, &other, &throttle, time(NOW))));
        let redeemed = ok(block_on(store.redeem_approval(&alice, &other, &throttle, time(NOW))));
        assert_eq!((found, redeemed), (FindOutcome::Unknown, FindOutcome::Unknown));
    }
    assert_eq!(redeem(store, "alice", 1, NOW), FindOutcome::Found);
    assert_eq!(redeem(store, "alice", 1, NOW), FindOutcome::Unknown);
    assert_eq!(find(store, "alice", 1, NOW), FindOutcome::Unknown);
    // Another approval can begin, and the old key redeems nothing.
    request(store, "alice", 2, NOW);
    assert_eq!(redeem(store, "alice", 1, NOW), FindOutcome::Unknown);
}

pub fn an_approval_expires<S: ApprovalStore>(store: &S) {
    request(store, "alice", 1, NOW);
    assert_eq!(find(store, "alice", 1, NOW + 119), FindOutcome::Found);
    for late in [120, 121, 1_000_000] {
        assert_eq!(find(store, "alice", 1, NOW + late), FindOutcome::Unknown);
        assert_eq!(redeem(store, "alice", 1, NOW + late), FindOutcome::Unknown);
    }
    assert_eq!(begin(store, "alice", &new(2), NOW + 120), BeginOutcome::Begun);
    // Without an id it cannot be redeemed, and the key of the first one is unknown.
    assert_eq!(redeem(store, "alice", 2, NOW + 120), FindOutcome::Unknown);
    assert!(!set_id(store, "alice", 1, NOW + 240));
    assert_eq!(redeem(store, "alice", 1, NOW + 120), FindOutcome::Unknown);
    assert!(!set_id(store, "unknown", 1, NOW + 240));
}

pub fn one_approval_is_pending_at_a_time<S: ApprovalStore>(store: &S) {
    assert_eq!(begin(store, "alice", &new(1), NOW), BeginOutcome::Begun);
    assert_eq!(begin(store, "alice", &new(2), NOW), busy(30));
    assert!(set_id(store, "alice", 1, NOW + 120));
    let joined = BeginOutcome::Join { key: key(1), id: id("question"), until: time(NOW + 120) };
    assert_eq!(begin(store, "alice", &new(2), NOW + 1), joined);
    // An equal request without permission to join does not join.
    assert_eq!(begin(store, "alice", &new(2).with_joining(false), NOW + 20), busy(100));
    assert_eq!(begin(store, "alice", &new_for_other_request(2), NOW + 20), busy(100));
    assert_eq!(begin(store, "bob", &new_for_other_request(2), NOW + 20), BeginOutcome::Begun);
    end(store, "alice", 2, EndReason::Sent);
    assert_eq!(find(store, "alice", 1, NOW + 20), FindOutcome::Found);
    end(store, "alice", 1, EndReason::Sent);
    assert_eq!(redeem(store, "alice", 1, NOW + 20), FindOutcome::Unknown);
    assert_eq!(begin(store, "alice", &new_for_other_request(2), NOW + 20), BeginOutcome::Begun);
}

pub fn the_limit_applies_since_the_last_success<S: ApprovalStore>(store: &S) {
    reach_limit(store, "alice", 0, NOW);
    // An administrator resets the count, and so do an OTP and an approval.
    clear(store, "alice", Records::Approvals);
    reach_limit(store, "alice", 10, NOW);
    let day = 24 * 3600;
    assert_eq!(begin(store, "alice", &new(100), NOW + day), BeginOutcome::LimitReached);
    request(store, "alice", 20, NOW + day + 1);
    assert_eq!(redeem(store, "alice", 20, NOW + day + 1), FindOutcome::Found);
    reach_limit(store, "alice", 30, NOW + day + 1);
    // An approval without a push does not count.
    clear(store, "alice", Records::Approvals);
    for number in 40..140 {
        assert_eq!(begin(store, "alice", &new(number), NOW), BeginOutcome::Begun);
        end(store, "alice", number, EndReason::NotSent);
    }
    // An uncertain one counts a quarter, and remains pending for a while.
    clear(store, "alice", Records::Approvals);
    for number in 140..160 {
        let now = NOW + u64::from(number) * 30;
        assert_eq!(begin(store, "alice", &new(number), now), BeginOutcome::Begun);
        end(store, "alice", number, EndReason::Uncertain);
        assert_eq!(begin(store, "alice", &new(200), now), busy(30));
        if number == 150 {
            // One without a push does not change that count.
            assert_eq!(begin(store, "alice", &new(200), now + 30), BeginOutcome::Begun);
            end(store, "alice", 200, EndReason::NotSent);
        }
    }
    assert_eq!(begin(store, "alice", &new(200), NOW + 160 * 30), BeginOutcome::LimitReached);
}

pub fn a_clock_that_jumped_does_not_exhaust_the_limit_forever<S: ApprovalStore>(store: &S) {
    let ahead = NOW + 1_000_000_000;
    for number in 0..5 {
        request(store, "alice", number, ahead);
        end(store, "alice", number, EndReason::Sent);
    }
    assert_eq!(begin(store, "alice", &new(10), NOW), BeginOutcome::LimitReached);
    let day = 24 * 3600;
    assert_eq!(begin(store, "alice", &new(10), NOW + day), BeginOutcome::LimitReached);
    assert_eq!(begin(store, "alice", &new(10), NOW + day + 1), BeginOutcome::Begun);
}

/// After the clock is right again, an approval that began while it was ahead expires no later than any other.
pub fn a_clock_that_jumped_does_not_keep_an_approval_pending_forever<S: ApprovalStore>(store: &S) {
    for (name, approval) in [("alice", &new(9)), ("bob", &new_for_other_request(9))] {
        request(store, name, 1, NOW + 1_000_000_000);
        let joined = BeginOutcome::Join { key: key(1), id: id("question"), until: time(NOW + 120) };
        let expected = if name == "alice" { joined } else { busy(120) };
        assert_eq!(begin(store, name, approval, NOW), expected, "{name}");
        assert_eq!(find(store, name, 1, NOW + 119), FindOutcome::Found);
        assert_eq!(find(store, name, 1, NOW + 120), FindOutcome::Unknown);
        assert_eq!(redeem(store, name, 1, NOW + 120), FindOutcome::Unknown);
        assert_eq!(begin(store, name, approval, NOW + 120), BeginOutcome::Begun);
    }
}

pub fn another_limit<S: ApprovalStore>(store: &S) {
    let approval = new(1).with_limit(ApprovalLimit::new(1, secs(60)).unwrap());
    assert_eq!(begin(store, "alice", &approval, NOW), BeginOutcome::Begun);
    end(store, "alice", 1, EndReason::Sent);
    assert_eq!(begin(store, "alice", &approval, NOW + 60), BeginOutcome::LimitReached);
    assert_eq!(begin(store, "alice", &approval, NOW + 61), BeginOutcome::Begun);
}

pub fn failures_block_approvals<S: ApprovalStore>(store: &S) {
    request(store, "alice", 1, NOW);
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    let throttled = FindOutcome::Throttled { retry_after: secs(30) };
    assert_eq!((find(store, "alice", 1, NOW), redeem(store, "alice", 1, NOW)), (throttled, throttled));
    assert_eq!(begin(store, "alice", &new(2), NOW), BeginOutcome::Throttled { retry_after: secs(30) });
    // These calls are not attempts, and the approval remains pending.
    assert_eq!(redeem(store, "alice", 1, NOW + 30), FindOutcome::Found);
    // A success clears the failures.
    for _ in 0..5 {
        assert_eq!(admit(store, "alice", NOW), Admission::Admitted);
    }
    request(store, "alice", 3, NOW + 100);
    let mut now = NOW + 100;
    for _ in 0..95 {
        now += 3600;
        let _ = admit(store, "alice", now);
    }
    assert_eq!(begin(store, "alice", &new(4), now), BeginOutcome::LockedOut);
    request(store, "bob", 1, now);
}

/// The limit of guesses does not apply to a factor that cannot be guessed, which returns no guess either.
pub fn recent_failures_do_not_block_approvals<S: ApprovalStore>(store: &S) {
    for step in 1..=100 {
        assert_eq!(admit(store, "alice", NOW), Admission::Admitted, "{step}");
        if step < 100 {
            assert_eq!(admit(store, "alice", NOW), Admission::Admitted, "{step}");
            assert_eq!(record(store, "alice", "", step, NOW), StepOutcome::Fresh);
        }
    }
    let throttled = Admission::Throttled { retry_after: Throttle::default().recent_interval() };
    assert_eq!(admit(store, "alice", NOW), throttled);
    request(store, "alice", 1, NOW);
    assert_eq!(find(store, "alice", 1, NOW), FindOutcome::Found);
    assert_eq!(redeem(store, "alice", 1, NOW), FindOutcome::Found);
    assert_eq!(admit(store, "alice", NOW), throttled);
}

pub fn one_of_many_in_parallel_begins_and_redeems<S: ApprovalStore + Clone>(store: &S) {
    let count = |work: fn(&S, usize) -> bool| in_parallel(store, 20, work).into_iter().filter(|won| *won).count();
    assert_eq!(count(|store, i| begin(store, "alice", &new(i as u8), NOW) == BeginOutcome::Begun), 1);
    clear(store, "alice", Records::Approvals);
    for _ in 0..5 {
        request(store, "alice", 50, NOW);
        assert_eq!(count(|store, _| redeem(store, "alice", 50, NOW) == FindOutcome::Found), 1);
    }
}

pub fn names_and_ids_of_any_text_are_exact<S: ApprovalStore>(store: &S) {
    for name in ["a", "a\0", "\0a", "a'; DROP TABLE approvals; --", "\u{e9}", "e\u{301}"] {
        request(store, name, 1, NOW);
    }
    let longest = id(&"\u{20ac}".repeat(85));
    assert_eq!(begin(store, "a", &new(9), NOW + 120), BeginOutcome::Begun);
    assert!(ok(block_on(store.set_approval_id(&user("a"), key(9), &longest, time(NOW + 240)))));
    let joined = BeginOutcome::Join { key: key(9), id: longest, until: time(NOW + 240) };
    assert_eq!(begin(store, "a", &new(10), NOW + 130), joined);
}

/// Tests whether an [`ApprovalStore`](crate::store::ApprovalStore) fulfills the trait, in the same way as
/// [`store_conformance`](crate::test_util::store_conformance).
#[macro_export]
#[doc(hidden)]
macro_rules! __approval_store_conformance {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__store_conformance!(@tests $name, approvals, $make;
            an_approval_is_redeemed_once, an_approval_expires, one_approval_is_pending_at_a_time,
            the_limit_applies_since_the_last_success, a_clock_that_jumped_does_not_exhaust_the_limit_forever,
            a_clock_that_jumped_does_not_keep_an_approval_pending_forever, another_limit, failures_block_approvals,
            recent_failures_do_not_block_approvals, one_of_many_in_parallel_begins_and_redeems,
            names_and_ids_of_any_text_are_exact,
            a_fresh_step_clears_approvals_and_a_replay_does_not, a_success_clears_failures_and_approvals,
            each_kind_of_records_is_cleared_alone, a_concurrent_step_clears_all_approvals, clones_are_one_store,
        );
    };
}
