#[cfg(feature = "sqlite")]
use std::path::Path;

use sqlx::Error;

#[cfg(feature = "postgres")]
use crate::postgres::{PgDatabase, Server};
#[cfg(feature = "sqlite")]
use crate::sqlite::File;
use crate::transaction::{Transaction, TransactionKind};

/// An open database with all tables. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Database(pub(crate) DatabaseKind);

#[derive(Clone, Debug)]
pub(crate) enum DatabaseKind {
    #[cfg(feature = "sqlite")]
    Sqlite(File),
    #[cfg(feature = "postgres")]
    Postgres(Server),
}

impl Database {
    /// Opens a SQLite file, and creates it if there is none, with permissions for its owner only (0600). A commit is on
    /// the disk when it returns.
    ///
    /// If the file, its log (`-wal`) or its index (`-shm`) is removed, renamed or replaced while the database is open,
    /// all operations fail until the original file is back: what they committed would be lost.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or has tables of a newer version.
    #[cfg(feature = "sqlite")]
    pub async fn open(path: &Path) -> Result<Self, Error> {
        File::open(path).await.map(DatabaseKind::Sqlite).map(Self)
    }

    /// Opens a SQLite database in memory, which ends with the last clone.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    #[cfg(feature = "sqlite")]
    pub async fn in_memory() -> Result<Self, Error> {
        File::in_memory().await.map(DatabaseKind::Sqlite).map(Self)
    }

    /// Connects to a PostgreSQL database. The tables are in the schema `toopher`, which is created if there is none.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, is a standby, or has tables of a newer version.
    #[cfg(feature = "postgres")]
    pub async fn connect(database: &PgDatabase) -> Result<Self, Error> {
        Server::connect(database).await.map(DatabaseKind::Postgres).map(Self)
    }

    /// Begins a transaction. Transactions with the same key are serialized: what one reads, no other one changes before
    /// it ends. In SQLite all transactions are, whatever their keys.
    ///
    /// A task must not begin a second transaction while it has one, since it could wait for itself.
    ///
    /// # Errors
    ///
    /// When no connection or no lock is available in time, or the database fails.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no key"))]
    pub async fn begin(&self, key: &str) -> Result<Transaction, Error> {
        let kind = match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(file) => TransactionKind::Sqlite(file.begin().await?),
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(server) => TransactionKind::Postgres(server.begin(key).await?),
        };
        Ok(Transaction(kind))
    }

    /// Begins a transaction for maintenance, whose statements may take a minute. Returns `None` if another server has a
    /// transaction with this key, and so does the work.
    ///
    /// # Errors
    ///
    /// When no connection is available in time, or the database fails.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no key"))]
    pub async fn try_begin_maintenance(&self, key: &str) -> Result<Option<Transaction>, Error> {
        let kind = match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(file) => Some(TransactionKind::Sqlite(file.begin().await?)),
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(server) => server.try_begin_maintenance(key).await?.map(TransactionKind::Postgres),
        };
        Ok(kind.map(Transaction))
    }

    /// Connects to PostgreSQL for notifications (`LISTEN`), with a connection that is not in the pool. Returns `None`
    /// for SQLite, which has none.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached.
    #[cfg(feature = "postgres")]
    pub async fn listener(&self) -> Result<Option<sqlx::postgres::PgListener>, Error> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(_) => Ok(None),
            DatabaseKind::Postgres(server) => server.listener().await.map(Some),
        }
    }

    /// Whether other machines may use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(_) => true,
        }
    }

    /// The name of the product: `SQLite` or `PostgreSQL`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(_) => "SQLite",
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(_) => "PostgreSQL",
        }
    }
}
