//! The approvals that are waited for.

use std::time::Duration;

use data_encoding::HEXLOWER;
use redis::Value;

use super::call::{Call, admission, millis, only, text};
use super::{RedisError, RedisStore};
use crate::store::{
    AskedPush, BeginPush, FoundPush, NewPush, PushBudget, PushEnd, PushStore, StoreId, Throttle, Ticket,
};
use crate::{ApprovalId, UserId};

fn hex(ticket: Ticket) -> String {
    HEXLOWER.encode(ticket.as_bytes())
}

fn begun(word: &str, rest: &[Value]) -> Option<BeginPush> {
    Some(match (word, rest) {
        ("begun", []) => BeginPush::Begun,
        ("join", [ticket, id, until]) => BeginPush::Join {
            ticket: Ticket::from_bytes(HEXLOWER.decode(text(ticket)?.as_bytes()).ok()?.try_into().ok()?),
            id: ApprovalId::new(text(id)?).ok()?,
            until: millis(until)?,
        },
        ("already_pending", [wait]) => BeginPush::AlreadyPending { retry_after: millis(wait)? },
        ("budget_spent", []) => BeginPush::BudgetSpent,
        ("throttled", [wait]) => BeginPush::Throttled { retry_after: millis(wait)? },
        ("locked_out", []) => BeginPush::LockedOut,
        _ => return None,
    })
}

fn found(word: &str, rest: &[Value]) -> Option<FoundPush> {
    match (word, rest) {
        ("open", []) => Some(FoundPush::Open),
        ("unknown", []) => Some(FoundPush::Unknown),
        // It is told apart from an admission, which is not an answer here.
        ("admitted", _) => None,
        _ => admission(word, rest).map(FoundPush::from),
    }
}

impl RedisStore {
    fn looking(&self, verb: &'static str, user: &UserId, push: &AskedPush, throttle: &Throttle, now: Duration) -> Call {
        self.verb(verb, user)
            .throttle(throttle)
            .now(now)
            .text(hex(push.ticket))
            .text(HEXLOWER.encode(&push.about))
            .text(push.id.as_str())
            .until(PushBudget::LONGEST)
    }
}

impl PushStore for RedisStore {
    type Error = RedisError;

    async fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<BeginPush, RedisError> {
        let call = self
            .verb("begin", user)
            .throttle(throttle)
            .now(now)
            .text(hex(push.ticket))
            .text(HEXLOWER.encode(&push.about))
            .flag(push.joins)
            .number(push.budget.pushes())
            .until(push.budget.forget_after())
            .until(push.starting_for)
            .until(push.lifetime)
            .until(PushBudget::LONGEST.max(push.lifetime));
        self.run(call, begun).await
    }

    async fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> Result<bool, RedisError> {
        let call = self.verb("keep", user).text(hex(ticket)).text(id.as_str()).until(until).until(PushBudget::LONGEST);
        self.run(call, |word, rest| match (word, rest) {
            ("kept", []) => Some(true),
            ("gone", []) => Some(false),
            _ => None,
        })
        .await
    }

    async fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, RedisError> {
        self.run(self.looking("find", user, push, throttle, now), found).await
    }

    async fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, RedisError> {
        self.run(self.looking("redeem", user, push, throttle, now), found).await
    }

    async fn end_push(&self, user: &UserId, ticket: Ticket, end: PushEnd) -> Result<(), RedisError> {
        let how = match end {
            PushEnd::Asked => "asked",
            PushEnd::NotAsked => "not_asked",
            PushEnd::Uncertain => "uncertain",
        };
        let call = self.verb("ended", user).text(hex(ticket)).text(how).until(PushBudget::LONGEST);
        self.run(call, |word, rest| only("ended", word, rest)).await
    }

    async fn clear_pushes(&self, user: &UserId) -> Result<(), RedisError> {
        self.run(self.verb("clear_pushes", user), |word, rest| only("cleared", word, rest)).await
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        Some(&self.id)
    }
}
