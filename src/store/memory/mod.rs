//! The store in the memory of one process.

mod approvals;
mod error;
mod identity_hash;
mod table;

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;

pub use self::error::StoreFull;
use self::table::Table;
use super::failures::Admission;
use super::throttle::Throttle;
use super::traits::{InspectStore, Records, Store};
use super::used_step::{StepOutcome, UsedStep};
use crate::time::UnixTime;
use crate::verify::UserId;

const DEFAULT_CAPACITY: usize = 1_000_000;

/// Stores failures, used time steps and approvals in the memory of one process.
///
/// Clones share the memory. The entries are lost when the process ends: a code that was used in the last minute is then
/// accepted again, failures restart at zero, and a pending approval is unknown, so it grants no request. Two processes
/// share nothing. Where this matters, use a store outside the process.
///
/// The store contains at most [`with_capacity`](Self::with_capacity) entries of each kind, and deletes expired entries.
/// Under a flood of users it deletes entries with few failures first. It never deletes active delays and lock-outs, and
/// never a used step before its time. If it can delete no entry, the operations fail with [`StoreFull`].
///
/// Names are stored as keyed hashes of 128 bits, so the size of an entry does not depend on them. No lock is held
/// across an await.
#[derive(Clone)]
pub struct MemoryStore {
    table: Arc<Table>,
}

impl MemoryStore {
    /// A store for at most 1,000,000 users with failures, and as many devices with used steps.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }

    /// A store for at most `capacity` users with failures, `capacity` devices with used steps, and `capacity` users
    /// with approvals (at least one of each).
    ///
    /// A used step is stored for 42 periods (21 minutes at 30 seconds), so the capacity limits how many users can log
    /// in within that time. A count of approvals is stored for 30 days unless there is a success. If the capacity is
    /// reached, approvals of further users fail.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { table: Arc::new(Table::new(capacity)) }
    }

    /// The number of users with stored failures.
    #[must_use]
    pub fn failure_count(&self) -> usize {
        self.table.sum(|shard| shard.failures.len())
    }

    /// The number of devices with a stored step, including expired entries that are not deleted yet.
    #[must_use]
    pub fn used_step_count(&self) -> usize {
        self.table.sum(|shard| shard.steps.len())
    }
}

impl Store for MemoryStore {
    type Error = StoreFull;

    fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: UnixTime,
    ) -> impl Future<Output = Result<Admission, StoreFull>> + Send {
        ready(self.table.count_attempt(user, throttle, now))
    }

    fn release_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        if let Some(failures) = shard.failures.get_mut(&key) {
            failures.release(throttle);
        }
        ready(Ok(()))
    }

    fn record_step(
        &self,
        user: &UserId,
        used: &UsedStep,
        now: UnixTime,
    ) -> impl Future<Output = Result<StepOutcome, StoreFull>> + Send {
        ready(self.table.record_step(user, used, now))
    }

    fn clear(&self, user: &UserId, records: Records) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        shard.clear(&key, records);
        ready(Ok(()))
    }
}

impl InspectStore for MemoryStore {
    fn peek(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: UnixTime,
    ) -> impl Future<Output = Result<Admission, StoreFull>> + Send {
        let (key, shard) = self.table.user(user);
        ready(Ok(shard.peek(&key, throttle, now)))
    }

    /// Always succeeds.
    fn check(&self) -> impl Future<Output = Result<(), StoreFull>> + Send {
        ready(Ok(()))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("shards", &self.table.shard_count())
            .field("shard_capacity", &self.table.shard_capacity)
            .finish_non_exhaustive()
    }
}
