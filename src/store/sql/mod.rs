mod database;
#[cfg(feature = "postgres")]
mod postgres;
mod pushes;
mod query;
mod transaction;

use std::fmt;
use std::marker::PhantomData;
#[cfg(feature = "sqlite")]
use std::path::Path;
use std::time::Duration;

pub(crate) use self::database::Database;
#[cfg(feature = "postgres")]
pub use self::postgres::PgDatabase;
use self::query::On;
pub(crate) use self::query::{Name, Row, query};
use self::transaction::Transaction;
use super::{Admission, Failures, Spend, Store, Throttle};
use crate::UserId;

/// Keeps failures, spent steps and pushes in a database: [`SqliteStore`] or [`PgStore`].
///
/// Each verb is one transaction that is on the disk before it is answered. Verbs of one user wait for each other, and
/// those of others do not (in SQLite, they do).
pub struct SqlStore<D> {
    database: Database,
    kind: PhantomData<fn() -> D>,
}

/// Keeps failures, spent steps and pushes in SQLite: over restarts, and for every process that opens the same file.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::store::{SqliteStore, Store, Throttle};
/// use tower_toopher::UserId;
/// use std::time::Duration;
///
/// let store = SqliteStore::in_memory().await?;
/// let alice = UserId::new("alice")?;
/// store.count_attempt(&alice, &Throttle::default(), Duration::from_secs(1_111_111_109)).await?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "sqlite")]
pub type SqliteStore = SqlStore<Sqlite>;

/// Keeps failures, spent steps and pushes in PostgreSQL (13 and later): over restarts, and for all processes on all
/// machines.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::TotpVerifier;
/// use tower_toopher::store::{PgDatabase, PgStore};
/// use tower_toopher::totp::MemoryPairings;
///
/// let database = PgDatabase::at("postgres://toopher@db.example.com/shop")?.password("secret");
/// let verifier = TotpVerifier::new(MemoryPairings::new())?.store(PgStore::open(&database).await?);
/// # Ok(())
/// # }
/// ```
///
/// A verb waits three seconds for a connection and eight for each answer at the most, and then fails. Whether it was done
/// is not known then, and nobody passes by it. Rows of users are small and few; spent steps that are over are removed
/// by [`remove_what_is_over`](SqlStore::remove_what_is_over).
///
/// # What the guarantees rest on
///
/// - One server that is written to. A standby that takes over must have every commit that was answered:
///   `synchronous_standby_names`, and `synchronous_commit` of `on` or more, which the store sees to itself. Behind an
///   asynchronous standby a code of the last moments passes once more after a failover, and failures of then are
///   forgotten.
/// - A disk that keeps what it has acknowledged: `fsync = on`, as it is by default.
/// - A connection to the server itself, or a pooler that gives each client a connection of its own (PgBouncer's
///   `pool_mode = session`).
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

/// The error of a [`SqliteStore`].
#[cfg(feature = "sqlite")]
pub type SqliteError = SqlError;

#[cfg(feature = "sqlite")]
impl SqlStore<Sqlite> {
    /// Opens the database at `path`, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or has been made by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqlError> {
        Database::open(path.as_ref()).await.map(Self::on).map_err(|error| SqlError::new("SQLite", error))
    }

    /// A database that ends with the process.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub async fn in_memory() -> Result<Self, SqlError> {
        Database::in_memory().await.map(Self::on).map_err(|error| SqlError::new("SQLite", error))
    }
}

#[cfg(feature = "postgres")]
impl SqlStore<Postgres> {
    /// Connects to the database, and makes the tables if there are none.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, is a standby, or has tables of a newer version.
    pub async fn open(database: &PgDatabase) -> Result<Self, SqlError> {
        Database::connect(database).await.map(Self::on).map_err(|error| SqlError::new("PostgreSQL", error))
    }
}

impl<D> SqlStore<D> {
    pub(crate) fn on(database: Database) -> Self {
        Self { database, kind: PhantomData }
    }

    /// Removes the records of spent steps that are over, and says how many there were. Call it every few minutes.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn remove_what_is_over(&self, now: Duration) -> Result<u64, SqlError> {
        let removed = query("DELETE FROM spent_steps WHERE keep_until < $1").bind(from_millis_floor(now));
        removed.execute(&self.database).await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> SqlError {
        SqlError::new(self.database.kind(), error)
    }

    /// A transaction that no other verb of this user is in.
    async fn begin(&self, user: &UserId) -> Result<Transaction, sqlx::Error> {
        self.database.begin(&format!("guard of {}", user.as_str())).await
    }

    /// Reads the failures of `user`, changes them, and writes them, in one transaction. Where there is nothing to change,
    /// nothing is locked: a flood of attempts that are refused waits for nobody, and nobody for it.
    async fn change<T>(&self, user: &UserId, change: impl Fn(&mut Failures) -> T) -> Result<T, sqlx::Error> {
        let before = failures(&self.database, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            return Ok(outcome);
        }
        let mut transaction = self.begin(user).await?;
        // Read anew: what was read without a lock may have changed.
        let before = failures(&mut transaction, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            transaction.rollback().await?;
            return Ok(outcome);
        }
        query(
            "INSERT INTO failures (user_name, count, locked_out, last, until) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
                last = excluded.last, until = excluded.until",
        )
        .bind(Name(user.as_str()))
        .bind(i64::from(after.count))
        .bind(after.locked_out)
        .bind(millis(after.last))
        .bind(millis(after.until))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// What an attempt would be told now. Nothing is counted.
    #[cfg(feature = "server")]
    pub(crate) async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqlError> {
        let failures = failures(&self.database, user).await;
        failures.map(|mut failures| failures.attempt(throttle, now)).map_err(|error| self.error(error))
    }

    async fn spend(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, sqlx::Error> {
        let mut transaction = self.begin(user).await?;
        let written = query(
            "INSERT INTO spent_steps (user_name, device, step, keep_until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_name, device) DO UPDATE SET step = excluded.step,
                keep_until = CASE WHEN excluded.keep_until > spent_steps.keep_until THEN excluded.keep_until
                    ELSE spent_steps.keep_until END
             WHERE spent_steps.step < excluded.step OR spent_steps.keep_until <= $5",
        )
        .bind(Name(user.as_str()))
        .bind(Name(device))
        .bind(ordered(step))
        .bind(millis(keep_until))
        .bind(millis(now))
        .execute(&mut transaction)
        .await?;
        if written == 0 {
            transaction.rollback().await?;
            return Ok(Spend::Replayed);
        }
        forget(&mut transaction, user, "DELETE FROM failures WHERE user_name = $1").await?;
        transaction.commit().await?;
        Ok(Spend::Fresh)
    }

    /// Waits for the verbs of this user that are under way, since one of them might write what it has read before.
    async fn clear(&self, user: &UserId, statement: &'static str) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(user).await?;
        forget(&mut transaction, user, statement).await?;
        transaction.commit().await
    }
}

impl<D: 'static> Store for SqlStore<D> {
    type Error = SqlError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqlError> {
        self.change(user, |failures| failures.attempt(throttle, now)).await.map_err(|error| self.error(error))
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqlError> {
        self.change(user, |failures| failures.take_back(throttle)).await.map_err(|error| self.error(error))
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, SqlError> {
        self.spend(user, device, step, keep_until, now).await.map_err(|error| self.error(error))
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), SqlError> {
        let cleared = self.clear(user, "DELETE FROM failures WHERE user_name = $1");
        cleared.await.map_err(|error| self.error(error))
    }
}

impl<D> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self::on(self.database.clone())
    }
}

impl<D> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.database.kind()).finish_non_exhaustive()
    }
}

/// Why a [`SqlStore`] could not tell, or could not be opened.
#[derive(Debug)]
pub struct SqlError {
    database: &'static str,
    cause: sqlx::Error,
}

impl SqlError {
    pub(crate) fn new(database: &'static str, cause: sqlx::Error) -> Self {
        Self { database, cause }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.database, self.cause)
    }
}

impl std::error::Error for SqlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

async fn failures<'a>(on: impl Into<On<'a>>, user: &UserId) -> Result<Failures, sqlx::Error> {
    let row = query("SELECT count, locked_out, last, until FROM failures WHERE user_name = $1");
    let Some(row) = row.bind(Name(user.as_str())).row(on).await? else { return Ok(Failures::default()) };
    Ok(Failures {
        count: count(&row, "count")?,
        locked_out: row.get("locked_out")?,
        last: from_millis(row.get("last")?),
        until: from_millis(row.get("until")?),
    })
}

async fn forget(transaction: &mut Transaction, user: &UserId, statement: &'static str) -> Result<(), sqlx::Error> {
    query(statement).bind(Name(user.as_str())).execute(transaction).await.map(drop)
}

fn count(row: &Row, column: &str) -> Result<u32, sqlx::Error> {
    row.get::<i64>(column)?.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Milliseconds, the last one there is for times after it. Rounded up, so that no wait ends early.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// The same, rounded down: what is over before is over.
fn from_millis_floor(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The signed integer at the place of the unsigned one.
fn ordered(step: u64) -> i64 {
    (step ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_order() {
        let steps = [0, 1, 37_037_036, i64::MAX as u64, 1 << 63, u64::MAX];
        assert!(steps.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
    }
}
