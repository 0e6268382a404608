use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Error, Executor};

/// A connection with a transaction. It returns to the pool only after the transaction has ended.
///
/// It is not a transaction of sqlx, which counts nested transactions. When the disk is full, SQLite ends a transaction
/// itself. sqlx would take the next one for a nested one, report its commit, and never write it.
#[derive(Debug)]
pub(crate) struct SqliteTransaction {
    connection: PoolConnection<Sqlite>,
    ended: bool,
}

impl SqliteTransaction {
    /// Acquires the write lock at the start, so that no other transaction changes what this one reads.
    pub(crate) async fn begin(pool: &SqlitePool) -> Result<Self, Error> {
        let mut transaction = Self { connection: pool.acquire().await?, ended: false };
        transaction.connection.execute("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(crate) async fn end(mut self, statement: &str) -> Result<(), Error> {
        self.connection.execute(statement).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    /// SQLite rolls back the transaction of a connection that is closed.
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
