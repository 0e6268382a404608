//! Storage for the state between requests: failures, used time steps, and pending approvals.
//!
//! A [`Store`], and an [`ApprovalStore`], has one operation for each guarantee. Each operation is atomic, so concurrent
//! requests achieve nothing that the same requests in sequence would not. [`MemoryStore`] serves one process,
//! `SqliteStore` the processes on one machine, and `PgStore` and `RedisStore` the processes on several machines.
//! Processes that serve the same users must share one store. Otherwise each of them accepts the same code once.
//!
//! A custom store must persist each write before the operation returns. The conformance suites of the feature
//! `test-util` check the operations.

mod approval_limit;
mod approval_record;
mod approvals;
mod encoding;
mod failures;
mod memory;
mod operations;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
mod throttle;
mod traits;
mod used_step;

pub use self::approval_limit::ApprovalLimit;
pub use self::approval_record::ApprovalRecord;
pub use self::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, FindOutcome, NewApproval};
pub use self::failures::{Admission, Failures};
pub use self::memory::{MemoryStore, StoreFull};
#[cfg(feature = "redis")]
pub use self::redis::{RedisError, RedisErrorKind, RedisStore};
#[cfg(feature = "postgres")]
pub use self::sql::{PgDatabase, PgStore, Postgres};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::sql::{SqlError, SqlStore};
#[cfg(feature = "sqlite")]
pub use self::sql::{Sqlite, SqliteStore};
pub use self::throttle::Throttle;
pub use self::traits::{ApprovalStore, DynStore, InspectStore, Records, Store};
pub use self::used_step::{StepOutcome, UsedStep};
