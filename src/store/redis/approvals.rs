//! Pending approvals.

use data_encoding::HEXLOWER;
use redis::Value;

use super::RedisStore;
use super::error::RedisError;
use super::script::{Call, parse_admission, parse_duration, parse_only, parse_text, parse_time};
use crate::store::approval_limit::ApprovalLimit;
use crate::store::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, FindOutcome, NewApproval};
use crate::store::throttle::Throttle;
use crate::store::traits::ApprovalStore;
use crate::time::UnixTime;
use crate::verify::{ApprovalId, UserId};

/// How long a record is stored after its last change.
const EXPIRY: std::time::Duration = ApprovalLimit::MAX_RESET_AFTER;

fn hex(key: ApprovalKey) -> String {
    HEXLOWER.encode(key.as_bytes())
}

fn parse_begun(word: &str, rest: &[Value]) -> Option<BeginOutcome> {
    Some(match (word, rest) {
        ("begun", []) => BeginOutcome::Begun,
        ("join", [key, id, until]) => BeginOutcome::Join {
            key: ApprovalKey::from_bytes(HEXLOWER.decode(parse_text(key)?.as_bytes()).ok()?.try_into().ok()?),
            id: ApprovalId::new(parse_text(id)?).ok()?,
            until: parse_time(until)?,
        },
        ("already_pending", [wait]) => BeginOutcome::AlreadyPending { retry_after: parse_duration(wait)? },
        ("limit_reached", []) => BeginOutcome::LimitReached,
        ("throttled", [wait]) => BeginOutcome::Throttled { retry_after: parse_duration(wait)? },
        ("locked_out", []) => BeginOutcome::LockedOut,
        _ => return None,
    })
}

fn parse_found(word: &str, rest: &[Value]) -> Option<FindOutcome> {
    match (word, rest) {
        ("found", []) => Some(FindOutcome::Found),
        ("unknown", []) => Some(FindOutcome::Unknown),
        // An admission is not a reply to these operations.
        ("admitted", _) => None,
        _ => parse_admission(word, rest).map(FindOutcome::from),
    }
}

impl RedisStore {
    fn find_call(
        &self,
        operation: &'static str,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Call {
        self.operation(operation, user)
            .throttle(throttle)
            .time(now)
            .text(hex(approval.key()))
            .text(HEXLOWER.encode(approval.binding_hash()))
            .text(approval.id().as_str())
            .duration(EXPIRY)
    }
}

impl ApprovalStore for RedisStore {
    async fn begin_approval(
        &self,
        user: &UserId,
        approval: &NewApproval,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<BeginOutcome, RedisError> {
        let call = self
            .operation("begin_approval", user)
            .throttle(throttle)
            .time(now)
            .text(hex(approval.key()))
            .text(HEXLOWER.encode(approval.binding_hash()))
            .flag(approval.joins())
            .number(approval.limit().max())
            .duration(approval.limit().reset_after())
            .duration(approval.request_timeout())
            .duration(approval.lifetime())
            .duration(EXPIRY.max(approval.lifetime()));
        self.run(call, parse_begun).await
    }

    async fn set_approval_id(
        &self,
        user: &UserId,
        key: ApprovalKey,
        id: &ApprovalId,
        until: UnixTime,
    ) -> Result<bool, RedisError> {
        let call =
            self.operation("set_approval_id", user).text(hex(key)).text(id.as_str()).until(until).duration(EXPIRY);
        self.run(call, |word, rest| match (word, rest) {
            ("set", []) => Some(true),
            ("gone", []) => Some(false),
            _ => None,
        })
        .await
    }

    async fn find_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, RedisError> {
        self.run(self.find_call("find_approval", user, approval, throttle, now), parse_found).await
    }

    async fn redeem_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, RedisError> {
        self.run(self.find_call("redeem_approval", user, approval, throttle, now), parse_found).await
    }

    async fn end_approval(&self, user: &UserId, key: ApprovalKey, reason: EndReason) -> Result<(), RedisError> {
        let reason = match reason {
            EndReason::Sent => "sent",
            EndReason::NotSent => "not_sent",
            EndReason::Uncertain => "uncertain",
        };
        let call = self.operation("end_approval", user).text(hex(key)).text(reason).duration(EXPIRY);
        self.run(call, |word, rest| parse_only("ended", word, rest)).await
    }
}
