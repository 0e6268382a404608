//! Failures and spent steps.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, admission, only};
use super::{RedisError, RedisStore, in_the_background};
use crate::UserId;
use crate::store::{Admission, Spend, Store, StoreId, Throttle};

impl Store for RedisStore {
    type Error = RedisError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, RedisError> {
        let (link, attempts, deadline) = (Arc::clone(&self.link), Arc::clone(&self.attempts), self.deadline);
        let call = self.verb("count", user).throttle(throttle).now(now);
        in_the_background(async move {
            let failures = call.failures().to_owned();
            let call = attempts.owed(&failures).into_iter().fold(call, Call::number);
            let number = link.number();
            let counted = link.call_as(number, &call, deadline, admission).await;
            match &counted {
                Ok(Admission::Admitted) => attempts.admitted(&failures, number),
                // It may be counted, now or later, and nobody will verify it; unless the server says that it did nothing.
                Err(error) if error.code().is_none() => attempts.owe(&failures, number),
                Ok(_) | Err(_) => {}
            }
            counted
        })
        .await
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), RedisError> {
        let (link, attempts, deadline) = (Arc::clone(&self.link), Arc::clone(&self.attempts), self.deadline);
        let call = self.verb("take_back", user).throttle(throttle);
        in_the_background(async move {
            let failures = call.failures().to_owned();
            // Where it is not known which one it is, none is: it might be one that was verified, and was wrong.
            let Some(number) = attempts.last_admitted(&failures) else { return Ok(()) };
            let taken_back =
                link.call(&call.number(number), deadline, |word, rest| only("taken_back", word, rest)).await;
            if taken_back.is_err() {
                attempts.owe(&failures, number);
            }
            taken_back
        })
        .await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, RedisError> {
        let call = self.verb("spend", user).key(self.prefix.step(user, device));
        let call = call.text(format!("{step:020}")).until(keep_until).now(now);
        let failures = call.failures().to_owned();
        let spent = self.run(call, |word, rest| match (word, rest) {
            ("fresh", []) => Some(Spend::Fresh),
            ("replayed", []) => Some(Spend::Replayed),
            _ => None,
        });
        let spent = spent.await?;
        if spent == Spend::Fresh {
            self.attempts.forget(&failures);
        }
        Ok(spent)
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), RedisError> {
        let call = self.verb("clear_failures", user);
        let failures = call.failures().to_owned();
        self.run(call, |word, rest| only("cleared", word, rest)).await?;
        self.attempts.forget(&failures);
        Ok(())
    }

    fn spends_in(&self) -> Option<&StoreId> {
        Some(&self.id)
    }
}
