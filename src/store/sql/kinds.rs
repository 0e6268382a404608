//! Which databases there are, and how each is opened.

#[cfg(feature = "sqlite")]
use std::path::Path;

#[cfg(feature = "postgres")]
use super::PgDatabase;
use super::{Database, SqlError, SqlStore};

/// Keeps failures, spent steps and pushes in SQLite: over restarts, and for every process that opens the same file.
///
/// A verb waits for a connection for 10 seconds at the most, and 5 for the lock of another process, and fails after that.
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
/// is not known then, and nobody passes by it. Rows of users are small and few; those that are over are removed by
/// [`remove_what_is_over`](SqlStore::remove_what_is_over).
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
