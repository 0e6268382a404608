#[cfg(feature = "sqlite")]
use std::path::Path;

use crate::connection::{Connection, Operation};
use crate::error::SqlError;
#[cfg(feature = "postgres")]
use crate::postgres::{Listener, PgDatabase, Server};
#[cfg(feature = "sqlite")]
use crate::sqlite::File;

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
    pub async fn open(path: &Path) -> Result<Self, SqlError> {
        File::open(path).await.map(DatabaseKind::Sqlite).map(Self)
    }

    /// Opens a SQLite database in memory, which ends with the last clone.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    #[cfg(feature = "sqlite")]
    pub async fn in_memory() -> Result<Self, SqlError> {
        File::in_memory().await.map(DatabaseKind::Sqlite).map(Self)
    }

    /// Connects to a PostgreSQL database. The tables are in the schema `toopher`, which is created if there is none.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, is a standby, or has tables of a newer version.
    #[cfg(feature = "postgres")]
    pub async fn connect(database: &PgDatabase) -> Result<Self, SqlError> {
        Ok(Self(DatabaseKind::Postgres(Server::connect(database).await?)))
    }

    /// Runs `operation` in a transaction, which is committed if it returns `Ok`, and rolled back otherwise. Returns its
    /// result after the commit is on the disk.
    ///
    /// Transactions with the same key are serialized: what one reads, no other one changes before it ends. In SQLite
    /// all transactions are, whatever their keys.
    ///
    /// `operation` must await nothing but statements on its connection, and begin no other transaction. SQLite runs it
    /// on the thread that writes, where any other wait is an error.
    ///
    /// # Errors
    ///
    /// Those of `operation`; when no connection or no lock is available in time; and when the database fails. If the
    /// commit fails, it is unknown whether the transaction is in the database.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "SQLite needs no key"))]
    pub async fn transaction<T, E>(
        &self,
        key: String,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(file) => file.write(|connection| run_now(operation(connection))).await,
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(server) => server.transaction(key, operation).await,
        }
    }

    /// Runs `operation`, whose statements only read, on one connection, without a transaction: each statement sees what
    /// was committed before it.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Self::transaction).
    pub async fn read<T, E>(
        &self,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(file) => file.read(|connection| run_now(operation(connection))).await,
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(server) => server.read(operation).await,
        }
    }

    /// Runs `operation` in a transaction for maintenance, whose statements may take a minute. Returns `None` if another
    /// server has a transaction with this key, and so does the work.
    ///
    /// # Errors
    ///
    /// As [`transaction`](Self::transaction).
    pub async fn maintenance<T, E>(
        &self,
        key: String,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<Option<T>, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(_) => self.transaction(key, operation).await.map(Some),
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres(server) => server.maintenance(key, operation).await,
        }
    }

    /// Connects to PostgreSQL for the notifications of a channel (`LISTEN`), with a connection that is not in the pool.
    /// Returns `None` for SQLite, which has none.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached.
    #[cfg(feature = "postgres")]
    pub async fn listen(&self, channel: &str) -> Result<Option<Listener>, SqlError> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite(_) => Ok(None),
            DatabaseKind::Postgres(server) => server.listen(channel).await.map(Some),
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
        if self.is_shared() { crate::error::POSTGRES } else { crate::error::SQLITE }
    }
}

/// Runs an operation to its end at once: statements of SQLite do not wait.
#[cfg(feature = "sqlite")]
fn run_now<T, E: From<SqlError>>(mut operation: Operation<'_, T, E>) -> Result<T, E> {
    use std::task::{Context, Poll, Waker};
    match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(SqlError::sqlite("an operation has waited for something else").into()),
    }
}
