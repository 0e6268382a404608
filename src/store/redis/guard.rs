//! What `toopher-server` asks of the store beside the verbs of every store.

use std::time::Duration;

use super::call::admission;
use super::{RedisError, RedisStore};
use crate::UserId;
use crate::store::{Admission, Throttle};

impl RedisStore {
    /// What an attempt would be told now. Nothing is counted.
    pub(crate) async fn peek(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<Admission, RedisError> {
        self.run(self.verb("peek", user).throttle(throttle).now(now), admission).await
    }

    /// What tells it from others, for servers that must have the same. Its address does not: each machine may know it by
    /// another one.
    pub(crate) fn place(&self) -> String {
        format!("Redis, under the prefix {}", self.prefix.as_str())
    }
}
