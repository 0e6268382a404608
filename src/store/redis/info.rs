//! What the server says of itself.

use std::time::Duration;

use redis::{Value, cmd};

use super::RedisError;
use super::link::Link;

/// A section of `INFO`.
pub(super) struct Info(String);

impl Info {
    pub(super) async fn of(link: &Link, section: &str, deadline: Duration) -> Result<Self, RedisError> {
        match link.ask(cmd("INFO").arg(section), deadline).await? {
            Value::VerbatimString { text, .. } => Ok(Self(text)),
            Value::BulkString(bytes) => String::from_utf8(bytes).map(Self).map_err(|_| RedisError::answer()),
            _ => Err(RedisError::answer()),
        }
    }

    pub(super) fn value(&self, name: &str) -> Result<&str, RedisError> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).ok_or_else(RedisError::answer)
    }
}
