use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::{Error, Executor};
use tokio::time::timeout;

use super::session::timed_out;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A connection of the pool, with or without a transaction. It returns to the pool only if its state is known.
#[derive(Debug)]
pub(crate) struct PgTransaction {
    connection: PoolConnection<Postgres>,
    is_sound: bool,
    in_transaction: bool,
    /// How long it waits for each response.
    response_timeout: Duration,
}

impl PgTransaction {
    pub(crate) fn new(connection: PoolConnection<Postgres>, response_timeout: Duration) -> Self {
        Self { connection, is_sound: true, in_transaction: false, response_timeout }
    }

    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        self.is_sound = false;
        let result = timeout(self.response_timeout, statement.execute(&mut *self.connection)).await;
        self.check(result.unwrap_or_else(|_| Err(timed_out()))).map(|result| result.rows_affected())
    }

    pub(crate) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, Error> {
        self.is_sound = false;
        let rows = timeout(self.response_timeout, statement.fetch_all(&mut *self.connection)).await;
        self.check(rows.unwrap_or_else(|_| Err(timed_out())))
    }

    /// Begins a transaction and executes a first statement, in one round trip.
    pub(crate) async fn begin(&mut self, statement: &str) -> Result<(), Error> {
        self.in_transaction = true;
        self.simple(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {statement}")).await
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(crate) async fn end(mut self, statement: &str) -> Result<(), Error> {
        self.simple(statement).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn simple(&mut self, text: &str) -> Result<(), Error> {
        self.is_sound = false;
        let result = timeout(self.response_timeout, self.connection.execute(sqlx::raw_sql(text))).await;
        self.check(result.unwrap_or_else(|_| Err(timed_out()))).map(drop)
    }

    /// After an error of a statement the connection is sound. It is not after an error of the server itself, nor if the
    /// server has become read-only: a new connection may lead to its successor.
    fn check<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_sound = match &result {
            Ok(_) => true,
            Err(Error::Database(error)) => error.code().is_some_and(|code| {
                !["08", "57P", "58", "F0", "XX"].iter().any(|c| code.starts_with(c)) && code != "25006"
            }),
            Err(_) => false,
        };
        result
    }
}

impl Drop for PgTransaction {
    /// The server rolls back the transaction of a connection that is closed.
    fn drop(&mut self) {
        if !self.is_sound || self.in_transaction {
            self.connection.close_on_drop();
        }
    }
}
