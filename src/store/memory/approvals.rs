//! Pending approvals.

use std::future::{Future, ready};

use super::MemoryStore;
use super::error::StoreFull;
use super::identity_hash::Map;
use super::table::Table;
use crate::store::approval_record::ApprovalRecord;
use crate::store::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, FindOutcome, NewApproval};
use crate::store::failures::{Admission, Failures};
use crate::store::throttle::Throttle;
use crate::store::traits::ApprovalStore;
use crate::time::UnixTime;
use crate::verify::{ApprovalId, UserId};

impl Table {
    fn begin_approval(
        &self,
        user: &UserId,
        approval: &NewApproval,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<BeginOutcome, StoreFull> {
        let (key, mut shard) = self.user(user);
        match shard.peek(&key, throttle, now) {
            Admission::Admitted => {}
            Admission::Throttled { retry_after } => return Ok(BeginOutcome::Throttled { retry_after }),
            Admission::LockedOut => return Ok(BeginOutcome::LockedOut),
        }
        if !shard.approvals.contains_key(&key) && shard.approvals.len() >= self.shard_capacity {
            make_room(&mut shard.approvals, now)?;
        }
        Ok(shard.approvals.entry(key).or_default().begin(approval, now))
    }

    fn find_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
        redeem: bool,
    ) -> FindOutcome {
        let (key, mut shard) = self.user(user);
        if !shard.approvals.get(&key).is_some_and(|record| record.is_pending(approval, now)) {
            return FindOutcome::Unknown;
        }
        let admission = shard.peek(&key, throttle, now);
        if redeem && admission == Admission::Admitted {
            shard.succeed(&key, Failures::succeed_uncounted);
        }
        admission.into()
    }
}

/// Deletes expired records. A count of approvals is never deleted early: a flood of users would reset it, and the
/// client that reached a limit could send pushes again.
fn make_room(approvals: &mut Map<ApprovalRecord>, now: UnixTime) -> Result<(), StoreFull> {
    let before = approvals.len();
    approvals.retain(|_, record| !record.is_expired(now));
    if approvals.len() < before { Ok(()) } else { Err(StoreFull) }
}

impl ApprovalStore for MemoryStore {
    fn begin_approval(
        &self,
        user: &UserId,
        approval: &NewApproval,
        throttle: &Throttle,
        now: UnixTime,
    ) -> impl Future<Output = Result<BeginOutcome, StoreFull>> + Send {
        ready(self.table.begin_approval(user, approval, throttle, now))
    }

    fn set_approval_id(
        &self,
        user: &UserId,
        key: ApprovalKey,
        id: &ApprovalId,
        until: UnixTime,
    ) -> impl Future<Output = Result<bool, StoreFull>> + Send {
        let (user_key, mut shard) = self.table.user(user);
        ready(Ok(shard.approvals.get_mut(&user_key).is_some_and(|record| record.set_id(key, id, until))))
    }

    fn find_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> impl Future<Output = Result<FindOutcome, StoreFull>> + Send {
        ready(Ok(self.table.find_approval(user, approval, throttle, now, false)))
    }

    fn redeem_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> impl Future<Output = Result<FindOutcome, StoreFull>> + Send {
        ready(Ok(self.table.find_approval(user, approval, throttle, now, true)))
    }

    fn end_approval(
        &self,
        user: &UserId,
        key: ApprovalKey,
        reason: EndReason,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (user_key, mut shard) = self.table.user(user);
        if let Some(record) = shard.approvals.get_mut(&user_key) {
            record.end(key, reason);
            if *record == ApprovalRecord::default() {
                shard.approvals.remove(&user_key);
            }
        }
        ready(Ok(()))
    }
}
