use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::{Error, Executor};
use tokio::time::timeout;

use super::late;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A connection of the pool's, that goes back to it only if it is known in which state it is.
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    sound: bool,
    in_transaction: bool,
    /// How long a statement is waited for.
    pub(super) patience: Duration,
}

impl Lease {
    pub(super) fn new(connection: PoolConnection<Postgres>, patience: Duration) -> Self {
        Self { connection, sound: true, in_transaction: false, patience }
    }

    pub(in crate::store::sql) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        self.sound = false;
        let done = timeout(self.patience, statement.execute(&mut *self.connection)).await;
        self.judge(done.unwrap_or_else(|_| Err(late()))).map(|done| done.rows_affected())
    }

    pub(in crate::store::sql) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, Error> {
        self.sound = false;
        let rows = timeout(self.patience, statement.fetch_all(&mut *self.connection)).await;
        self.judge(rows.unwrap_or_else(|_| Err(late())))
    }

    /// Begins a transaction with a statement of our own, in one round trip.
    pub(super) async fn begin(&mut self, with: &str) -> Result<(), Error> {
        self.in_transaction = true;
        self.simple(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {with}")).await
    }

    pub(in crate::store::sql) async fn end(mut self, how: &str) -> Result<(), Error> {
        self.simple(how).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn simple(&mut self, text: &str) -> Result<(), Error> {
        self.sound = false;
        let done = timeout(self.patience, self.connection.execute(sqlx::raw_sql(text))).await;
        self.judge(done.unwrap_or_else(|_| Err(late()))).map(drop)
    }

    /// After an error of the statement the connection is as good as before. After one of the server's own it is not, nor
    /// is one to a server that no longer writes: the next one may lead elsewhere.
    fn judge<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.sound = match &result {
            Ok(_) => true,
            Err(Error::Database(error)) => error.code().is_some_and(|code| {
                !["08", "57P", "58", "F0", "XX"].iter().any(|c| code.starts_with(c)) && code != "25006"
            }),
            Err(_) => false,
        };
        result
    }
}

impl Drop for Lease {
    /// The server ends what was begun on a connection that is closed.
    fn drop(&mut self) {
        if !self.sound || self.in_transaction {
            self.connection.close_on_drop();
        }
    }
}
