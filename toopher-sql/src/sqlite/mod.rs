//! SQLite files and databases in memory.

mod files;
mod transaction;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Error, Executor};

use self::files::Files;
pub(crate) use self::transaction::SqliteTransaction;
use crate::migrations::Migrations;

const MIGRATIONS: Migrations = Migrations(&[(1, "initial", include_str!("../../migrations/sqlite/0001_initial.sql"))]);

/// How long a transaction waits for the lock, which another process may hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operation waits for a connection: longer than a transaction waits for the lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open SQLite database.
#[derive(Clone)]
pub(crate) struct File {
    pool: SqlitePool,
    /// A database in memory exists while it has a connection, and so do the log and the index of a file. Those of the
    /// pool may close, for example when a future is dropped.
    _keeper: Option<Arc<Mutex<SqliteConnection>>>,
    /// `None` for a database in memory, and for a file that cannot be written.
    files: Option<Arc<Files>>,
}

impl File {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        files::create(path)?;
        let resolved = path.canonicalize()?;
        let options = SqliteConnectOptions::new()
            .filename(&resolved)
            // Not when the file is removed while the database is open.
            .create_if_missing(false)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(ACQUIRE_TIMEOUT);
        // If several processes switch a new file to WAL mode, all but one fail at once, without the busy timeout.
        let deadline = Instant::now() + BUSY_TIMEOUT;
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => break opened?,
            }
        };
        migrate(&pool).await?;
        if std::fs::OpenOptions::new().write(true).open(&resolved).is_err() {
            // A connection that stays open would keep later ones from writing, when the file can be written again.
            return Ok(Self { pool, _keeper: None, files: None });
        }
        let mut keeper = options.connect().await?;
        // Opens the log and the index.
        keeper.execute("SELECT count(*) FROM sqlite_schema").await?;
        let files = Some(Arc::new(Files::new(path, &resolved)?));
        Ok(Self { pool, _keeper: Some(Arc::new(Mutex::new(keeper))), files })
    }

    pub(crate) async fn in_memory() -> Result<Self, Error> {
        // Only this text gives the database a unique name, which several connections share.
        let options: SqliteConnectOptions = "sqlite::memory:".parse()?;
        let options = options.foreign_keys(true);
        let keeper = options.connect().await?;
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.connect_with(options).await?;
        migrate(&pool).await?;
        Ok(Self { pool, _keeper: Some(Arc::new(Mutex::new(keeper))), files: None })
    }

    /// The connections, unless the files are no longer those that are open.
    pub(crate) fn pool(&self) -> Result<&SqlitePool, Error> {
        self.files.as_ref().map_or(Ok(()), |files| files.check())?;
        Ok(&self.pool)
    }

    pub(crate) async fn begin(&self) -> Result<SqliteTransaction, Error> {
        SqliteTransaction::begin(self.pool()?).await
    }
}

async fn migrate(pool: &SqlitePool) -> Result<(), Error> {
    // If several processes start at once, one of them creates the tables, and the others wait for it.
    let mut exclusive = pool.begin_with("BEGIN IMMEDIATE").await?;
    Migrator::new(MIGRATIONS).await?.run(&mut *exclusive).await?;
    exclusive.commit().await
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

/// Whether the error is `SQLITE_BUSY`, with any extended code.
fn is_busy(error: &dyn DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}
