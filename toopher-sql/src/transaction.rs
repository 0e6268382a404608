use sqlx::Error;

#[cfg(feature = "postgres")]
use crate::postgres::PgTransaction;
#[cfg(feature = "sqlite")]
use crate::sqlite::SqliteTransaction;

/// A transaction. It is rolled back if it is dropped before [`commit`](Self::commit).
#[derive(Debug)]
#[must_use = "it is rolled back if it is dropped"]
pub struct Transaction(pub(crate) TransactionKind);

#[derive(Debug)]
pub(crate) enum TransactionKind {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteTransaction),
    #[cfg(feature = "postgres")]
    Postgres(PgTransaction),
}

impl Transaction {
    /// Whether the database is SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            TransactionKind::Sqlite(_) => true,
            #[cfg(feature = "postgres")]
            TransactionKind::Postgres(_) => false,
        }
    }

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// When the database fails. It is unknown then whether the transaction was committed.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Rolls the transaction back. In contrast to a drop, the connection returns to the pool.
    ///
    /// # Errors
    ///
    /// When the database fails. The transaction is rolled back in any case.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(self, statement: &str) -> Result<(), Error> {
        match self.0 {
            #[cfg(feature = "sqlite")]
            TransactionKind::Sqlite(transaction) => transaction.end(statement).await,
            #[cfg(feature = "postgres")]
            TransactionKind::Postgres(transaction) => transaction.end(statement).await,
        }
    }
}
