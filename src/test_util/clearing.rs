//! The suite of stores: which operations clear approvals.

use super::approval_operations::{begin, end, find, new, redeem, request, set_id};
use super::operations::{ADMITTED, NOW, admit, clear, record, throttled};
use super::races::race_after;
use crate::store::{ApprovalStore, BeginOutcome, EndReason, FindOutcome, Records, StepOutcome};

/// Reaches the limit with a pending approval, so that a test can see whether the count or the approval was cleared.
fn request_last<S: ApprovalStore>(store: &S, name: &str) {
    for number in 0..4 {
        request(store, name, number, NOW);
        end(store, name, number, EndReason::Sent);
    }
    request(store, name, 4, NOW);
}

fn assert_not_cleared<S: ApprovalStore>(store: &S, name: &str) {
    assert_eq!(find(store, name, 4, NOW), FindOutcome::Found);
    end(store, name, 4, EndReason::Sent);
    assert_eq!(begin(store, name, &new(5), NOW), BeginOutcome::LimitReached);
}

fn assert_cleared<S: ApprovalStore>(store: &S, name: &str) {
    assert!(!set_id(store, name, 4, NOW + 120));
    assert_eq!(redeem(store, name, 4, NOW), FindOutcome::Unknown);
    request_last(store, name);
    assert_not_cleared(store, name);
}

pub fn a_fresh_step_clears_approvals_and_a_replay_does_not<S: ApprovalStore>(store: &S) {
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    for name in ["alice", "bob", "carol"] {
        request_last(store, name);
    }
    for step in [10, 9] {
        assert_eq!(record(store, "alice", "", step, NOW), StepOutcome::Replayed);
    }
    assert_not_cleared(store, "alice");
    // A step of any device.
    for (name, device) in [("alice", ""), ("bob", "phone")] {
        assert_eq!(record(store, name, device, 11, NOW), StepOutcome::Fresh);
        assert_cleared(store, name);
    }
    assert_not_cleared(store, "carol");
}

pub fn a_success_clears_failures_and_approvals<S: ApprovalStore>(store: &S) {
    for name in ["alice", "bob"] {
        request_last(store, name);
        for _ in 0..5 {
            assert_eq!(admit(store, name, NOW), ADMITTED);
        }
    }
    clear(store, "alice", Records::FailuresAndApprovals);
    assert_cleared(store, "alice");
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_eq!(admit(store, "bob", NOW), throttled(30));
    clear(store, "bob", Records::Failures);
    assert_not_cleared(store, "bob");
}

/// An administrator clears one kind of records, or both.
pub fn each_kind_of_records_is_cleared_alone<S: ApprovalStore>(store: &S) {
    request_last(store, "alice");
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    clear(store, "alice", Records::Failures);
    assert_eq!(admit(store, "alice", NOW), ADMITTED);
    assert_not_cleared(store, "alice");
    for _ in 0..4 {
        assert_eq!(admit(store, "alice", NOW), ADMITTED);
    }
    clear(store, "alice", Records::Approvals);
    assert_eq!(admit(store, "alice", NOW), throttled(30));
}

/// After a step was recorded, by this thread or by another one, the approvals are cleared.
pub fn a_concurrent_step_clears_all_approvals<S: ApprovalStore + Clone>(store: &S) {
    let work = |store: &S, name: &str| {
        set_id(store, name, 1, NOW + 120);
        let _ = record(store, name, "", 10, NOW);
        set_id(store, name, 1, NOW + 120)
    };
    let prepare = |name: &str| assert_eq!(begin(store, name, &new(1), NOW), BeginOutcome::Begun);
    race_after(store, prepare, work, |name, pending| {
        assert!(!pending.contains(&true), "{name}: {pending:?}");
        assert_eq!(redeem(store, name, 1, NOW), FindOutcome::Unknown, "{name}");
        assert_eq!(begin(store, name, &new(2), NOW), BeginOutcome::Begun, "{name}");
    });
}

pub fn clones_are_one_store<S: ApprovalStore + Clone>(store: &S) {
    let clone = store.clone();
    request(store, "alice", 1, NOW);
    assert_eq!(find(&clone, "alice", 1, NOW), FindOutcome::Found);
    assert_eq!(record(&clone, "alice", "", 10, NOW), StepOutcome::Fresh);
    assert_eq!(find(store, "alice", 1, NOW), FindOutcome::Unknown);
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Replayed);
}
