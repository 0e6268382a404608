//! The operations of a store of approvals, as the suite calls them.

use super::operations::{ok, secs, time, user};
use super::runtime::block_on;
use crate::store::{
    ApprovalKey, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome, NewApproval, Throttle,
};
use crate::verify::ApprovalId;

#[must_use]
pub fn key(number: u8) -> ApprovalKey {
    ApprovalKey::from_bytes([number; 16])
}

pub(super) fn new(number: u8) -> NewApproval {
    NewApproval::new(key(number), [7; 32])
}

/// An approval for another request.
pub(super) fn new_for_other_request(number: u8) -> NewApproval {
    NewApproval::new(key(number), [8; 32])
}

pub(super) fn id(text: &str) -> ApprovalId {
    ApprovalId::new(text).unwrap()
}

/// The approval of [`key`], after [`set_id`].
#[must_use]
pub fn reference(number: u8) -> ApprovalRef {
    ApprovalRef::new(key(number), [7; 32], id("question"))
}

pub fn begin<S: ApprovalStore>(store: &S, name: &str, approval: &NewApproval, now: u64) -> BeginOutcome {
    ok(block_on(store.begin_approval(&user(name), approval, &Throttle::default(), time(now))))
}

pub fn set_id<S: ApprovalStore>(store: &S, name: &str, number: u8, until: u64) -> bool {
    ok(block_on(store.set_approval_id(&user(name), key(number), &id("question"), time(until))))
}

pub(super) fn find<S: ApprovalStore>(store: &S, name: &str, number: u8, now: u64) -> FindOutcome {
    ok(block_on(store.find_approval(&user(name), &reference(number), &Throttle::default(), time(now))))
}

pub fn redeem<S: ApprovalStore>(store: &S, name: &str, number: u8, now: u64) -> FindOutcome {
    ok(block_on(store.redeem_approval(&user(name), &reference(number), &Throttle::default(), time(now))))
}

pub(super) fn end<S: ApprovalStore>(store: &S, name: &str, number: u8, reason: EndReason) {
    ok(block_on(store.end_approval(&user(name), key(number), reason)));
}

pub(super) fn busy(seconds: u64) -> BeginOutcome {
    BeginOutcome::AlreadyPending { retry_after: secs(seconds) }
}

/// Begins an approval and sets its id. It is pending until two minutes after `now`.
pub(super) fn request<S: ApprovalStore>(store: &S, name: &str, number: u8, now: u64) {
    assert_eq!(begin(store, name, &new(number), now), BeginOutcome::Begun);
    assert!(set_id(store, name, number, now + 120));
}

/// Requests and ends as many approvals as the limit allows.
pub(super) fn reach_limit<S: ApprovalStore>(store: &S, name: &str, first: u8, now: u64) {
    for number in first..first + 5 {
        request(store, name, number, now);
        end(store, name, number, EndReason::Sent);
    }
    assert_eq!(begin(store, name, &new(100), now), BeginOutcome::LimitReached);
}
