//! What must be remembered between requests: failures, spent codes, and approvals that are waited for.
//!
//! A [`Store`], and a [`PushStore`], has one verb for each guarantee, and each verb is atomic, so a burst of requests in parallel gets
//! nothing that the same requests in sequence would not. [`MemoryStore`] serves one process, `SqliteStore` those on one
//! machine, and `PgStore` and `RedisStore` those on several. Processes that serve the same users must share one store, or
//! one code passes once in each of them. A store of one's own must keep what is written at each verb; the suites of the
//! feature `test-util` try whether it does.

mod failures;
mod memory;
mod push;
mod pushes;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
mod throttle;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use self::failures::Failures;
pub use self::memory::{MemoryStore, StoreFull};
pub use self::push::{
    AskedPush, BeginPush, FoundPush, InvalidPushBudget, NewPush, PushBudget, PushEnd, PushStore, Ticket,
};
pub use self::pushes::{OpenPush, Pushes};
#[cfg(feature = "redis")]
pub use self::redis::{InvalidPrefix, RedisError, RedisStore};
#[cfg(feature = "server")]
pub(crate) use self::sql::{Database, Name, Row, query};
#[cfg(feature = "postgres")]
pub use self::sql::{PgDatabase, PgStore, Postgres};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::sql::{SqlError, SqlStore};
#[cfg(feature = "sqlite")]
pub use self::sql::{Sqlite, SqliteError, SqliteStore};
#[cfg(feature = "redis")]
pub(crate) use self::throttle::MAX_IN_A_ROW;
pub use self::throttle::{InvalidThrottle, Throttle};
pub use crate::spent::StoreId;
use crate::{BoxError, UserId};

/// Remembers failures and spent codes.
///
/// `now` and `keep_until` are times since 1970-01-01 00:00 UTC. An error of any verb means that the request is
/// answered with 503: nothing is skipped. No verb has a default, since none could keep its guarantee.
pub trait Store: Send + Sync + 'static {
    /// The error of every verb.
    type Error: Into<BoxError>;

    /// Counts one attempt of `user` and says whether it may be verified, in one atomic step.
    ///
    /// It is counted *before* it is verified, as a failure, and [`spend_step`](Self::spend_step) or
    /// [`clear_failures`](Self::clear_failures) takes that back. An attempt that is not admitted is not counted. The
    /// rules are [`Throttle`]'s: of attempts in parallel, no more are admitted than of attempts in sequence.
    ///
    /// # Errors
    ///
    /// When it is not certain that the attempt was counted.
    fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<Admission, Self::Error>> + Send;

    /// Takes back one attempt that was counted and could then not be verified, because a backend failed, in one atomic
    /// step. Without it, a database that is down for a while would lock its users out.
    ///
    /// # Errors
    ///
    /// When it is not certain that it was taken back. It counts as a failure then, unless the store makes up for it later.
    fn take_back_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Spends a time step of the user's `device`, if neither it nor a later one of that device is spent yet, in one
    /// atomic step. When it is fresh, the user's failures are forgotten with it, and in a store that is a [`PushStore`]
    /// as well, their pushes. A replay forgets nothing.
    ///
    /// The record is kept until `keep_until` at least, which lies behind the last moment at which a code of that step
    /// could be accepted; a record that is there already is never shortened. It holds the step and never the code, whose
    /// spelling is not unique.
    ///
    /// # Errors
    ///
    /// When it is not certain that the step was fresh, or that it is kept.
    fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> impl Future<Output = Result<Spend, Self::Error>> + Send;

    /// Forgets the failures of `user`: after a success of another kind, or because an administrator says so.
    ///
    /// Pushes stay as they are. Whoever is unlocked is not to have their phone rung anew by the one who locked them out,
    /// and a question that is open does not end.
    ///
    /// # Errors
    ///
    /// When it is not certain that they are forgotten.
    fn clear_failures(&self, user: &UserId) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Which store it is that [`spend_step`](Self::spend_step) forgets pushes in, as [`PushStore::keeps_in`] says. Default:
    /// none is known, and `Approvals` forgets them by a call of its own.
    ///
    /// To say one is a promise that a fresh step has forgotten the pushes of this very [`UserId`] there. A wrapper that
    /// renames users, or spends steps elsewhere, says none.
    fn spends_in(&self) -> Option<&StoreId> {
        None
    }
}

impl<S: Store> Store for Arc<S> {
    type Error = S::Error;

    fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<Admission, S::Error>> + Send {
        S::count_attempt(self, user, throttle, now)
    }

    fn take_back_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
    ) -> impl Future<Output = Result<(), S::Error>> + Send {
        S::take_back_attempt(self, user, throttle)
    }

    fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> impl Future<Output = Result<Spend, S::Error>> + Send {
        S::spend_step(self, user, device, step, keep_until, now)
    }

    fn clear_failures(&self, user: &UserId) -> impl Future<Output = Result<(), S::Error>> + Send {
        S::clear_failures(self, user)
    }

    fn spends_in(&self) -> Option<&StoreId> {
        S::spends_in(self)
    }
}

/// Whether an attempt may be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Admission {
    /// It may, and has been counted.
    Admitted,
    /// Not now.
    Throttled {
        /// How long until the next one is admitted.
        retry_after: Duration,
    },
    /// Not until an administrator has unlocked the account.
    LockedOut,
}

/// Whether a code was still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Spend {
    /// It was, and is spent now.
    Fresh,
    /// It, or a later one, had been spent before.
    Replayed,
}
