#[cfg(feature = "sqlite")]
use std::path::Path;
#[cfg(feature = "sqlite")]
use std::sync::{Arc, Mutex};
#[cfg(feature = "sqlite")]
use std::time::{Duration, Instant};

use sqlx::Error;
#[cfg(feature = "sqlite")]
use sqlx::error::DatabaseError;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

#[cfg(feature = "sqlite")]
use super::held::Held;
#[cfg(feature = "postgres")]
use super::postgres::{PgDatabase, Server};
use super::transaction::Transaction;

/// How long a transaction waits for the lock of another one. Another process may hold it.
#[cfg(feature = "sqlite")]
const BUSY: Duration = Duration::from_secs(5);
/// How long a verb waits for a connection. Longer than a transaction that waits its whole time for the lock.
#[cfg(feature = "sqlite")]
const ACQUIRE: Duration = Duration::from_secs(10);

/// An open database, with all tables. Clones share it.
#[derive(Clone)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(File),
    #[cfg(feature = "postgres")]
    Postgres(Server),
}

#[cfg(feature = "sqlite")]
#[derive(Clone)]
pub(crate) struct File {
    pool: SqlitePool,
    /// One in memory lasts as long as a connection to it. The pool's own may end, as with a dropped request.
    _keeper: Option<Arc<Mutex<SqliteConnection>>>,
}

impl Database {
    /// Opens a file for several connections. A commit is on the disk when it returns, whatever ends the process.
    #[cfg(feature = "sqlite")]
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(4).acquire_timeout(ACQUIRE);
        // Of several processes that make a new file a WAL, SQLite has all but one fail at once, and wait for nothing.
        let patience = Instant::now() + BUSY;
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(Error::Database(error)) if is_busy(&*error) && Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                opened => break opened?,
            }
        };
        File::migrated(pool, None).await
    }

    #[cfg(feature = "sqlite")]
    pub(crate) async fn in_memory() -> Result<Self, Error> {
        use sqlx::ConnectOptions;
        // Parsed, since only that gives the database a name of its own which several connections share.
        let options: SqliteConnectOptions = "sqlite::memory:".parse()?;
        let options = options.foreign_keys(true);
        let keeper = options.connect().await?;
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_with(options).await?;
        File::migrated(pool, Some(Arc::new(Mutex::new(keeper)))).await
    }

    #[cfg(feature = "postgres")]
    pub(crate) async fn connect(database: &PgDatabase) -> Result<Self, Error> {
        Server::connect(database).await.map(Self::Postgres)
    }

    /// Begins a transaction that nobody else is in who has named the same thing: what is read in it is what is written
    /// upon. SQLite has one writer at a time, whatever they name. One at a time for each caller: who waits for a second
    /// one while holding the first may wait for himself.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no name"))]
    pub(crate) async fn begin(&self, of: &str) -> Result<Transaction, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(file) => file.begin().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => server.begin(of).await.map(Transaction::Postgres),
        }
    }

    /// The same for work that takes its time, unless another server is at it: then there is nothing to do.
    #[cfg(feature = "server")]
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no name"))]
    pub(crate) async fn begin_chore(&self, of: &str) -> Result<Option<Transaction>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(file) => file.begin().await.map(Some),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => Ok(server.begin_chore(of).await?.map(Transaction::Postgres)),
        }
    }

    /// Whether other servers may be on it that this one knows nothing of.
    #[cfg(feature = "server")]
    pub(crate) fn is_shared(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
        }
    }

    /// What people call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => "SQLite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

/// `SQLITE_BUSY`, of whichever kind.
#[cfg(feature = "sqlite")]
fn is_busy(error: &dyn DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

#[cfg(feature = "sqlite")]
impl File {
    async fn migrated(pool: SqlitePool, keeper: Option<Arc<Mutex<SqliteConnection>>>) -> Result<Database, Error> {
        // Several processes may start at once: one of them makes the tables, and the others wait for it.
        let mut alone = pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::migrate!("migrations/sqlite").run(&mut *alone).await?;
        alone.commit().await?;
        Ok(Database::Sqlite(Self { pool, _keeper: keeper }))
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    async fn begin(&self) -> Result<Transaction, Error> {
        Held::begin(&self.pool).await.map(Transaction::Sqlite)
    }
}
