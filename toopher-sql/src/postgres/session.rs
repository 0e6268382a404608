use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use sqlx::postgres::{PgArguments, PgRow, Postgres};
use sqlx::{Error, Executor, PgConnection};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::pool::Pooled;
use super::settings::no_response;
use crate::error::SqlError;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A connection of the pool, with or without a transaction. It returns to the pool only if its state is known.
pub(crate) struct PgSession {
    /// `None` once it is closed.
    connection: Option<Pooled>,
    is_sound: bool,
    in_transaction: bool,
    /// How long it waits for each response.
    response_timeout: Duration,
    /// For the other connections of the pool: see `Manager`.
    timed_out: Arc<Mutex<Option<Instant>>>,
}

impl PgSession {
    pub(super) fn new(connection: Pooled, response_timeout: Duration) -> Self {
        let timed_out = Object::pool(&connection).map(|pool| Arc::clone(&pool.manager().timed_out));
        Self {
            connection: Some(connection),
            is_sound: true,
            in_transaction: false,
            response_timeout,
            timed_out: timed_out.unwrap_or_default(),
        }
    }

    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, SqlError> {
        self.is_sound = false;
        let result = timeout(self.response_timeout, statement.execute(self.connection()?)).await;
        self.check(result).map(|result| result.rows_affected())
    }

    pub(crate) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, SqlError> {
        self.is_sound = false;
        let rows = timeout(self.response_timeout, statement.fetch_all(self.connection()?)).await;
        self.check(rows)
    }

    /// Begins a transaction and executes a first statement, in one round trip.
    pub(super) async fn begin(&mut self, statement: &str) -> Result<(), SqlError> {
        self.in_transaction = true;
        self.simple(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {statement}")).await
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(super) async fn end(&mut self, statement: &str) -> Result<(), SqlError> {
        self.simple(statement).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn simple(&mut self, text: &str) -> Result<(), SqlError> {
        self.is_sound = false;
        let result = timeout(self.response_timeout, self.connection()?.execute(sqlx::raw_sql(text))).await;
        self.check(result).map(drop)
    }

    /// After an error of a statement the connection is sound. It is not after an error of the server itself, nor if the
    /// server has become read-only: a new connection may lead to its successor.
    fn check<T>(&mut self, result: Result<Result<T, Error>, Elapsed>) -> Result<T, SqlError> {
        let result = result.unwrap_or_else(|_| {
            *self.timed_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            Err(no_response())
        });
        self.is_sound = match &result {
            Ok(_) => true,
            Err(Error::Database(error)) => error.code().is_some_and(|code| {
                !["08", "57P", "58", "F0", "XX"].iter().any(|c| code.starts_with(c)) && code != "25006"
            }),
            Err(_) => false,
        };
        Ok(result?)
    }

    fn connection(&mut self) -> Result<&mut PgConnection, SqlError> {
        self.connection.as_deref_mut().ok_or_else(|| SqlError::postgres("the connection is closed"))
    }
}

impl Drop for PgSession {
    /// The server rolls back the transaction of a connection that is closed.
    fn drop(&mut self) {
        if !self.is_sound || self.in_transaction {
            self.connection.take().map(Object::take);
        }
    }
}

impl fmt::Debug for PgSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgSession").field("in_transaction", &self.in_transaction).finish_non_exhaustive()
    }
}
