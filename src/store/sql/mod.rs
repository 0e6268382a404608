mod pushes;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqliteConnection, SqliteExecutor, SqlitePool};

use super::{Admission, Failures, Spend, Store, Throttle};
use crate::UserId;

/// How long a transaction waits for the lock of another one. Another process may hold it.
const BUSY: Duration = Duration::from_secs(5);
/// How long a verb waits for a connection. Longer than a transaction that waits its whole time for the lock.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Keeps failures, spent steps and pushes in SQLite: over restarts, and for every process that opens the same file.
///
/// Each verb is one transaction that is written to the disk before it is answered. It waits for a connection for 10 seconds
/// at the most, and 5 for the lock of another process, and fails after that. Spent steps that are over are
/// removed as others are written.
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
#[derive(Clone, Debug)]
pub struct SqliteStore {
    database: Database,
}

/// An open database, with all tables.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) pool: SqlitePool,
    /// One in memory lasts as long as a connection to it. The pool's own may end, as with a dropped request.
    _keeper: Option<Arc<Mutex<SqliteConnection>>>,
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or has been made by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteError> {
        Database::open(path.as_ref()).await.map(Self::on).map_err(SqliteError)
    }

    /// A database that ends with the process.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub async fn in_memory() -> Result<Self, SqliteError> {
        Database::in_memory().await.map(Self::on).map_err(SqliteError)
    }

    pub(crate) fn on(database: Database) -> Self {
        Self { database }
    }

    /// Reads the failures of `user`, changes them, and writes them, in one transaction.
    async fn change<T>(&self, user: &UserId, change: impl FnOnce(&mut Failures) -> T) -> Result<T, sqlx::Error> {
        // Takes the write lock at once: what is read here is what is written upon.
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await?;
        let mut failures = failures(&mut *transaction, user).await?;
        let outcome = change(&mut failures);
        sqlx::query(
            "INSERT INTO failures (user_name, count, locked_out, last, until) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
                last = excluded.last, until = excluded.until",
        )
        .bind(user.as_str())
        .bind(failures.count)
        .bind(failures.locked_out)
        .bind(millis(failures.last))
        .bind(millis(failures.until))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// What an attempt would be told now. Nothing is counted.
    #[cfg(feature = "server")]
    pub(crate) async fn peek(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<Admission, sqlx::Error> {
        Ok(failures(&self.database.pool, user).await?.attempt(throttle, now))
    }

    async fn spend(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, sqlx::Error> {
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await?;
        let written = sqlx::query(
            "INSERT INTO spent_steps (user_name, device, step, keep_until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user_name, device) DO UPDATE SET step = excluded.step,
                keep_until = max(excluded.keep_until, spent_steps.keep_until)
             WHERE spent_steps.step < excluded.step OR spent_steps.keep_until <= ?5",
        )
        .bind(user.as_str())
        .bind(device)
        .bind(ordered(step))
        .bind(millis(keep_until))
        .bind(millis(now))
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if written == 0 {
            return Ok(Spend::Replayed);
        }
        sqlx::query("DELETE FROM failures WHERE user_name = ?").bind(user.as_str()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Spend::Fresh)
    }
}

impl Store for SqliteStore {
    type Error = SqliteError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqliteError> {
        self.change(user, |failures| failures.attempt(throttle, now)).await.map_err(SqliteError)
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqliteError> {
        self.change(user, |failures| failures.take_back(throttle)).await.map_err(SqliteError)
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, SqliteError> {
        self.spend(user, device, step, keep_until, now).await.map_err(SqliteError)
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), SqliteError> {
        let cleared = sqlx::query("DELETE FROM failures WHERE user_name = ?").bind(user.as_str());
        cleared.execute(&self.database.pool).await.map(drop).map_err(SqliteError)
    }
}

/// Why a [`SqliteStore`] could not tell, or could not be opened.
#[derive(Debug)]
pub struct SqliteError(sqlx::Error);

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLite: {}", self.0)
    }
}

impl std::error::Error for SqliteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

async fn failures(executor: impl SqliteExecutor<'_>, user: &UserId) -> Result<Failures, sqlx::Error> {
    let row = sqlx::query("SELECT count, locked_out, last, until FROM failures WHERE user_name = ?");
    let row = row.bind(user.as_str()).fetch_optional(executor).await?;
    let Some(row) = row else { return Ok(Failures::default()) };
    Ok(Failures {
        count: row.try_get("count")?,
        locked_out: row.try_get("locked_out")?,
        last: from_millis(row.try_get("last")?),
        until: from_millis(row.try_get("until")?),
    })
}

impl Database {
    /// Opens a file for several connections. A commit is on the disk when it returns, whatever ends the process.
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(ACQUIRE).connect_with(options).await?;
        Self::migrated(pool, None).await
    }

    pub(crate) async fn in_memory() -> Result<Self, sqlx::Error> {
        // Parsed, since only that gives the database a name of its own which several connections share.
        let options: SqliteConnectOptions = "sqlite::memory:".parse()?;
        let options = options.foreign_keys(true);
        let keeper = options.connect().await?;
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options).await?;
        Self::migrated(pool, Some(Arc::new(Mutex::new(keeper)))).await
    }

    async fn migrated(pool: SqlitePool, keeper: Option<Arc<Mutex<SqliteConnection>>>) -> Result<Self, sqlx::Error> {
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self { pool, _keeper: keeper })
    }
}

/// Milliseconds, the last one there is for times after it. Rounded up, so that no wait ends early.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
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
