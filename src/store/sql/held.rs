use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sqlx::{Error, Executor};

/// A connection to a file with a transaction, that goes back to the pool only if that is known to be over.
///
/// Not one of sqlx's transactions, which counts them: where the disk takes no more, SQLite ends a transaction by itself,
/// and what is begun on that connection later is taken for a part of it, told to be done, and never written.
pub(crate) struct Held {
    connection: PoolConnection<Sqlite>,
    over: bool,
}

impl Held {
    /// Takes the write lock at once, so that what is read in it is what is written upon.
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, Error> {
        let mut held = Self { connection: pool.acquire().await?, over: false };
        held.connection.execute("BEGIN IMMEDIATE").await?;
        Ok(held)
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) async fn end(mut self, how: &str) -> Result<(), Error> {
        self.connection.execute(how).await?;
        self.over = true;
        Ok(())
    }
}

impl Drop for Held {
    /// SQLite rolls back what was begun on a connection that is closed.
    fn drop(&mut self) {
        if !self.over {
            self.connection.close_on_drop();
        }
    }
}
