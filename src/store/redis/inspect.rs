//! Operations that change nothing.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

use super::connection::Connector;
use super::error::RedisError;
use super::script::{Call, parse_admission, parse_only};
use super::{RedisStore, spawn_detached};
use crate::store::failures::Admission;
use crate::store::throttle::Throttle;
use crate::store::traits::InspectStore;
use crate::time::UnixTime;
use crate::verify::UserId;

impl RedisStore {
    /// Checks whether the server responds, runs the script, accepts writes, and does not evict keys. It sets, reads and
    /// deletes a key of its own (`PREFIX:{}`), which a replica, a full server, a server without its replicas, and
    /// missing permissions refuse.
    ///
    /// It checks the current state, and not what is on the disk: see [`is_persistent`](Self::is_persistent).
    ///
    /// # Errors
    ///
    /// When one of these is not the case, or is not certain.
    pub async fn check(&self) -> Result<(), RedisError> {
        let (connector, deadline) = (Arc::clone(&self.connector), self.deadline);
        let key = self.prefix.check();
        let check = Call::new("check", key.clone(), key);
        spawn_detached(async move {
            connector.call(&check, deadline, |word, rest| parse_only("checked", word, rest)).await?;
            let memory = Info::read(&connector, "memory", deadline).await?;
            let policy = memory.value("maxmemory_policy")?;
            let limited = memory.value("maxmemory")? != "0";
            if limited && policy != "noeviction" { Err(RedisError::evicts(policy)) } else { Ok(()) }
        })
        .await
    }

    /// Whether the server writes its commands to a file (`appendonly yes`). Without it, a restart loses used codes and
    /// lock-outs. It does not report how soon the file is on the disk (`appendfsync`).
    ///
    /// Log a warning at the start if a restart must not lose records. It is not an error of [`check`](Self::check),
    /// because replicas can keep the records instead.
    ///
    /// # Errors
    ///
    /// When this is not certain.
    pub async fn is_persistent(&self) -> Result<bool, RedisError> {
        let (connector, deadline) = (Arc::clone(&self.connector), self.deadline);
        spawn_detached(async move {
            Ok(Info::read(&connector, "persistence", deadline).await?.value("aof_enabled")? == "1")
        })
        .await
    }

    /// Describes the location of the records, without address and credentials: stores of one server with the same
    /// location share their records. It contains no address, because each machine may use another one for the same
    /// server.
    #[must_use]
    pub fn location(&self) -> String {
        format!("Redis, under the prefix {}", self.prefix.as_str())
    }
}

impl InspectStore for RedisStore {
    async fn peek(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, RedisError> {
        self.run(self.operation("peek", user).throttle(throttle).time(now), parse_admission).await
    }

    async fn check(&self) -> Result<(), RedisError> {
        Self::check(self).await
    }
}

/// A section of the reply to `INFO`.
struct Info(String);

impl Info {
    async fn read(connector: &Connector, section: &str, deadline: Duration) -> Result<Self, RedisError> {
        match connector.send(cmd("INFO").arg(section), deadline).await? {
            Value::VerbatimString { text, .. } => Ok(Self(text)),
            Value::BulkString(bytes) => String::from_utf8(bytes).map(Self).map_err(|_| RedisError::invalid_reply()),
            _ => Err(RedisError::invalid_reply()),
        }
    }

    fn value(&self, name: &str) -> Result<&str, RedisError> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).ok_or_else(RedisError::invalid_reply)
    }
}
