//! The stores in SQLite and PostgreSQL.

mod approvals;
mod encoding;
mod failures;

use std::fmt;
use std::marker::PhantomData;
#[cfg(feature = "sqlite")]
use std::path::Path;

#[cfg(feature = "postgres")]
pub use toopher_sql::PgDatabase;
pub use toopher_sql::SqlError;
use toopher_sql::{Connection, Database, OpaqueText, Operation, query};

use self::encoding::millis_floor;
use super::approval_limit::ApprovalLimit;
use super::throttle::Throttle;
use super::traits::Records;
use crate::time::UnixTime;
use crate::verify::UserId;

/// Stores failures, used time steps and approvals in a database: `SqliteStore` or `PgStore`.
///
/// Each operation is one transaction, and its commit is on the disk before the operation returns. Operations of one
/// user wait for each other. Operations of different users do not, except in SQLite, where all that wait share one
/// commit.
pub struct SqlStore<D> {
    database: Database,
    kind: PhantomData<fn() -> D>,
}

/// Stores failures, used time steps and approvals in SQLite. The records survive restarts, and all processes that open
/// the same file share them.
///
/// One thread writes, and two threads read. At most 1,024 operations wait for it, each at most 10 seconds, of which it
/// waits 5 seconds for the lock of another process; then an operation fails. If the commit fails, so do all operations
/// that share it, and it is unknown whether they were done.
///
/// With the feature `metrics`, the gauge `toopher_sqlite_queue_length` is the number of operations that wait to write,
/// and the histogram `toopher_sqlite_commit_seconds` the time of each commit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::UserId;
/// use tower_toopher::store::{SqliteStore, Store, Throttle};
/// use tower_toopher::time::UnixTime;
///
/// let store = SqliteStore::in_memory().await?;
/// let alice = UserId::new("alice")?;
/// store.count_attempt(&alice, &Throttle::default(), UnixTime::from_secs(1_111_111_109)).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "sqlite")]
pub type SqliteStore = SqlStore<Sqlite>;

/// Stores failures, used time steps and approvals in PostgreSQL (13 and later). The records survive restarts, and all
/// processes on all machines share them.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::TotpVerifier;
/// use tower_toopher::store::{PgDatabase, PgStore};
/// use tower_toopher::totp::MemoryPairings;
///
/// let database = PgDatabase::new("postgres://toopher@db.example.com/shop")?.password("secret");
/// let verifier = TotpVerifier::new(MemoryPairings::new())?.store(PgStore::open(&database).await?);
/// # Ok(())
/// # }
/// ```
///
/// An operation waits at most three seconds for a connection and eight seconds for each response, and then fails. After
/// such a failure it is unknown whether the operation was done, and no request is granted. Rows are small, and there
/// are few for each user. [`delete_expired`](SqlStore::delete_expired) deletes expired rows.
///
/// # What the guarantees require
///
/// - One server that accepts writes. A standby that is promoted must have every commit that was acknowledged:
///   `synchronous_standby_names`, and `synchronous_commit` of `on` or more, which the store sets. With an asynchronous
///   standby, a code of the last moments is accepted again after a failover, and the failures of these moments are
///   lost.
/// - A disk that keeps what it acknowledged: `fsync = on`, the default.
/// - A connection to the server itself, or a pooler that gives each client its own connection (`pool_mode = session` of
///   PgBouncer).
#[cfg(feature = "postgres")]
pub type PgStore = SqlStore<Postgres>;

/// SQLite, as the kind of a [`SqlStore`].
#[cfg(feature = "sqlite")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Sqlite {}

/// PostgreSQL, as the kind of a [`SqlStore`].
#[cfg(feature = "postgres")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Postgres {}

#[cfg(feature = "sqlite")]
impl SqlStore<Sqlite> {
    /// Opens the database at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// When the database cannot be opened, or was created by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqlError> {
        Database::open(path.as_ref()).await.map(Self::from_database)
    }

    /// Opens a database in memory. It ends with the process.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub async fn in_memory() -> Result<Self, SqlError> {
        Database::in_memory().await.map(Self::from_database)
    }
}

#[cfg(feature = "postgres")]
impl SqlStore<Postgres> {
    /// Connects to the database, and creates the tables if they do not exist.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, is a standby, or has tables of a newer version.
    pub async fn open(database: &PgDatabase) -> Result<Self, SqlError> {
        Database::connect(database).await.map(Self::from_database)
    }
}

impl<D> SqlStore<D> {
    /// A store in an open database of the package `toopher-sql`, for `toopher-server`, which has other tables there.
    #[must_use]
    pub fn from_database(database: Database) -> Self {
        Self { database, kind: PhantomData }
    }

    /// Deletes expired rows (used steps, failures, approvals) and returns how many were deleted. Call it every few
    /// minutes: rows for invented user names are deleted only here.
    ///
    /// Do not call it while the clock may be wrong: with a time in the future it deletes used steps whose codes are
    /// valid again as soon as the clock is right.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn delete_expired(&self, now: UnixTime) -> Result<u64, SqlError> {
        // Each statement is atomic, and does not match a row that an operation has just written.
        let steps = query("DELETE FROM used_steps WHERE keep_until < $1").bind(millis_floor(now));
        let steps = steps.execute(&self.database).await?;
        // The conditions of `Failures::is_expired` and `ApprovalRecord::is_expired`.
        let before = |ttl| millis_floor(now.saturating_sub(ttl));
        let failures = query(
            "DELETE FROM failures WHERE last < $1 AND NOT locked_out
             AND (last < $2 OR (count < $3 AND until = 0))",
        )
        .bind(before(Throttle::SMALL_COUNT_TTL))
        .bind(before(Throttle::COUNT_TTL))
        .bind(i64::from(Throttle::SMALL_COUNT));
        let failures = failures.execute(&self.database).await?;
        let approvals = query("DELETE FROM approvals WHERE last < $1 AND (expires IS NULL OR expires <= $2)")
            .bind(before(ApprovalLimit::MAX_RESET_AFTER))
            .bind(millis_floor(now));
        Ok(steps + failures + approvals.execute(&self.database).await?)
    }

    /// Runs `operation` in a transaction that excludes all other operations of this user.
    async fn transaction<T: Send + 'static>(
        &self,
        user: &UserId,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        self.database.transaction(lock_of(user), operation).await
    }
}

/// The key of the transactions that exclude all other operations of this user.
fn lock_of(user: &UserId) -> String {
    format!("records of {}", user.as_str())
}

const DELETE_APPROVALS: &str = "DELETE FROM approvals WHERE user_name = $1";

/// Deletes all records of one kind, of a user.
async fn delete(connection: &mut Connection, user: &UserId, records: Records) -> Result<(), SqlError> {
    if records.include_failures() {
        let failures = query("DELETE FROM failures WHERE user_name = $1").bind(OpaqueText(user.as_str()));
        failures.execute(&mut *connection).await?;
    }
    if records.include_approvals() {
        query(DELETE_APPROVALS).bind(OpaqueText(user.as_str())).execute(connection).await?;
    }
    Ok(())
}

/// Whether a success was counted as an attempt before.
#[derive(Clone, Copy, PartialEq)]
enum Success {
    Counted,
    Uncounted,
}

/// Deletes the failures in a row and the approvals of a user, as [`Failures::succeed`](crate::store::Failures::succeed)
/// and `succeed_uncounted` do. In PostgreSQL it is one round trip.
async fn succeed(connection: &mut Connection, user: &UserId, success: Success) -> Result<(), SqlError> {
    const UPDATE: &str = "UPDATE failures SET count = 0, locked_out = FALSE, until = 0,
            recent = recent - CASE WHEN count > 0 AND recent > 0 THEN $2 ELSE 0 END
        WHERE user_name = $1";
    const DELETE: &str = "DELETE FROM failures WHERE user_name = $1 AND recent = 0";
    // An attempt is counted in both columns.
    let counted = i64::from(success == Success::Counted);
    let user = || OpaqueText(user.as_str());
    if connection.is_sqlite() {
        query(UPDATE).bind(user()).bind(counted).execute(&mut *connection).await?;
        query(DELETE).bind(user()).execute(&mut *connection).await?;
        query(DELETE_APPROVALS).bind(user()).execute(connection).await?;
    } else {
        query("SELECT succeed($1, $2)").bind(user()).bind(counted).rows(connection).await?;
    }
    Ok(())
}

impl<D> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), kind: PhantomData }
    }
}

impl<D> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.database.name()).finish_non_exhaustive()
    }
}
