//! Failures and used time steps.

use std::sync::Arc;

use super::error::RedisError;
use super::script::{Call, parse_admission, parse_only};
use super::{RedisStore, spawn_detached};
use crate::store::failures::Admission;
use crate::store::throttle::Throttle;
use crate::store::traits::{Records, Store};
use crate::store::used_step::{StepOutcome, UsedStep};
use crate::time::UnixTime;
use crate::verify::UserId;

impl Store for RedisStore {
    type Error = RedisError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, RedisError> {
        let (connector, ledger, deadline) = (Arc::clone(&self.connector), Arc::clone(&self.ledger), self.deadline);
        let call = self.operation("count_attempt", user).throttle(throttle).time(now);
        spawn_detached(async move {
            let key = call.failures_key().to_owned();
            let call = ledger.orphaned(&key).into_iter().fold(call, Call::number);
            let number = connector.next_number();
            let counted = connector.call_with_number(number, &call, deadline, parse_admission).await;
            match &counted {
                Ok(Admission::Admitted) => ledger.add_admitted(&key, number),
                // The attempt may be counted, now or later, and is never verified; unless the server reported an error,
                // in which case it did nothing.
                Err(error) if error.code().is_none() => ledger.mark_orphaned(&key, number),
                Ok(_) | Err(_) => {}
            }
            counted
        })
        .await
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), RedisError> {
        let (connector, ledger, deadline) = (Arc::clone(&self.connector), Arc::clone(&self.ledger), self.deadline);
        let call = self.operation("release_attempt", user).throttle(throttle);
        spawn_detached(async move {
            let key = call.failures_key().to_owned();
            // Without a known number no attempt is released: it might be one that was verified and was wrong.
            let Some(number) = ledger.take_last_admitted(&key) else { return Ok(()) };
            let call = call.number(number);
            let released = connector.call(&call, deadline, |word, rest| parse_only("released", word, rest)).await;
            if released.is_err() {
                ledger.mark_orphaned(&key, number);
            }
            released
        })
        .await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, RedisError> {
        let call = self.operation("record_step", user).key(self.prefix.step(user, used.device()));
        let call = call.text(format!("{:020}", used.step())).until(used.keep_until()).time(now);
        let key = call.failures_key().to_owned();
        let outcome = self.run(call, |word, rest| match (word, rest) {
            ("fresh", []) => Some(StepOutcome::Fresh),
            ("replayed", []) => Some(StepOutcome::Replayed),
            _ => None,
        });
        let outcome = outcome.await?;
        if outcome == StepOutcome::Fresh {
            self.ledger.clear(&key);
        }
        Ok(outcome)
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), RedisError> {
        let call = self.operation("clear", user).flag(records.include_failures()).flag(records.include_approvals());
        let key = call.failures_key().to_owned();
        self.run(call, |word, rest| parse_only("cleared", word, rest)).await?;
        if records.include_failures() {
            self.ledger.clear(&key);
        }
        Ok(())
    }
}
