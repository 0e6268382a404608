//! Statements with one text for both databases.

use std::borrow::Cow;

#[cfg(feature = "postgres")]
use sqlx::postgres::{PgArguments, Postgres};

use crate::connection::{Connection, ConnectionKind};
use crate::database::{Database, DatabaseKind};
use crate::error::SqlError;
#[cfg(feature = "postgres")]
use crate::postgres::to_its_end;
use crate::row::{Column, Record, Row};
#[cfg(feature = "sqlite")]
use crate::sqlite;
use crate::value::Value;
#[cfg(feature = "postgres")]
use crate::value::{ValueKind, opaque_bytes};

/// A statement and its parameters.
#[derive(Debug)]
#[must_use = "it does nothing until it is executed"]
pub struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// Where a statement runs: on any connection of a database, or on that of an operation.
#[derive(Debug)]
pub struct Executor<'a>(ExecutorKind<'a>);

#[derive(Debug)]
enum ExecutorKind<'a> {
    Database(&'a DatabaseKind),
    Connection(&'a mut ConnectionKind),
}

/// Creates a statement with the parameters `$1`, `$2` and so on.
pub fn query(text: impl Into<Cow<'static, str>>) -> Query {
    Query { text: text.into(), values: Vec::new() }
}

impl Query {
    /// Binds the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Executes the statement, and returns the number of affected rows.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn execute<'a>(self, on: impl Into<Executor<'a>>) -> Result<u64, SqlError> {
        match on.into().0 {
            #[cfg(feature = "sqlite")]
            ExecutorKind::Database(DatabaseKind::Sqlite(file)) => {
                file.write(move |connection| sqlite::execute(connection.sqlite()?, &self.text, &self.values)).await
            }
            #[cfg(feature = "sqlite")]
            ExecutorKind::Connection(ConnectionKind::Sqlite(connection)) => {
                sqlite::execute(connection, &self.text, &self.values)
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Database(DatabaseKind::Postgres(server)) => {
                let mut session = server.acquire().await?;
                to_its_end(async move { session.execute(self.postgres()).await }).await
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Connection(ConnectionKind::Postgres(session)) => session.execute(self.postgres()).await,
        }
    }

    /// Executes the statement, and returns all rows.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn rows<'a>(self, on: impl Into<Executor<'a>>) -> Result<Vec<Row>, SqlError> {
        match on.into().0 {
            #[cfg(feature = "sqlite")]
            ExecutorKind::Database(DatabaseKind::Sqlite(file)) => {
                let is_read = self.text.starts_with("SELECT");
                let rows = move |connection: &mut Connection| {
                    sqlite::rows(connection.sqlite()?, &self.text, &self.values).map(Row::sqlite)
                };
                if is_read { file.read(rows).await } else { file.write(rows).await }
            }
            #[cfg(feature = "sqlite")]
            ExecutorKind::Connection(ConnectionKind::Sqlite(connection)) => {
                sqlite::rows(connection, &self.text, &self.values).map(Row::sqlite)
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Database(DatabaseKind::Postgres(server)) => {
                let mut session = server.acquire().await?;
                to_its_end(async move { session.rows(self.postgres()).await }).await.map(Row::postgres)
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Connection(ConnectionKind::Postgres(session)) => {
                session.rows(self.postgres()).await.map(Row::postgres)
            }
        }
    }

    /// Returns the first row. The statement is executed to its end.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn row<'a>(self, on: impl Into<Executor<'a>>) -> Result<Option<Row>, SqlError> {
        Ok(self.rows(on).await?.into_iter().next())
    }

    /// Returns the first column of the first row.
    ///
    /// # Errors
    ///
    /// When the database fails, or the column has another type.
    pub async fn scalar<'a, T: Column>(self, on: impl Into<Executor<'a>>) -> Result<Option<T>, SqlError> {
        self.row(on).await?.map(|row| row.at(0)).transpose()
    }

    /// Returns the first row, as a struct or pair.
    ///
    /// # Errors
    ///
    /// When the database fails, or a column is missing or has another type.
    pub async fn one<'a, T: Record>(self, on: impl Into<Executor<'a>>) -> Result<Option<T>, SqlError> {
        self.row(on).await?.map(|row| row.read()).transpose()
    }

    /// Returns all rows, as structs or pairs.
    ///
    /// # Errors
    ///
    /// When the database fails, or a column is missing or has another type.
    pub async fn all<'a, T: Record>(self, on: impl Into<Executor<'a>>) -> Result<Vec<T>, SqlError> {
        self.rows(on).await?.iter().map(Row::read).collect()
    }
}

#[cfg(feature = "postgres")]
impl Query {
    fn postgres(&self) -> sqlx::query::Query<'_, Postgres, PgArguments> {
        self.values.iter().fold(sqlx::query(&self.text), |query, value| match &value.0 {
            ValueKind::Integer(value) => query.bind(*value),
            ValueKind::Bool(value) => query.bind(*value),
            ValueKind::Text(value) => query.bind(value.as_deref()),
            ValueKind::Bytes(value) => query.bind(value.as_deref()),
            ValueKind::OpaqueText(value) => query.bind(value.as_deref().map(opaque_bytes)),
        })
    }
}

impl<'a> From<&'a Database> for Executor<'a> {
    fn from(database: &'a Database) -> Self {
        Self(ExecutorKind::Database(&database.0))
    }
}

impl<'a> From<&'a mut Connection> for Executor<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        Self(ExecutorKind::Connection(&mut connection.0))
    }
}
