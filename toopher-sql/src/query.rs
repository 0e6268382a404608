//! Statements with one text for both databases.

use std::borrow::Cow;

use sqlx::Error;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgArguments, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{Sqlite, SqliteArguments};

use crate::database::{Database, DatabaseKind};
use crate::row::{Column, Record, Row};
use crate::transaction::{Transaction, TransactionKind};
#[cfg(feature = "postgres")]
use crate::value::opaque_bytes;
use crate::value::{Value, ValueKind};

/// A statement and its parameters.
#[derive(Debug)]
#[must_use = "it does nothing until it is executed"]
pub struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// Where a statement runs: on a connection of the pool, or in a transaction.
#[derive(Debug)]
pub struct Executor<'a>(ExecutorKind<'a>);

#[derive(Debug)]
enum ExecutorKind<'a> {
    Pool(&'a DatabaseKind),
    Transaction(&'a mut TransactionKind),
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
    pub async fn execute<'a>(self, on: impl Into<Executor<'a>>) -> Result<u64, Error> {
        match on.into().0 {
            #[cfg(feature = "sqlite")]
            ExecutorKind::Pool(DatabaseKind::Sqlite(file)) => {
                Ok(self.sqlite().execute(file.pool()?).await?.rows_affected())
            }
            #[cfg(feature = "sqlite")]
            ExecutorKind::Transaction(TransactionKind::Sqlite(transaction)) => {
                Ok(self.sqlite().execute(transaction.connection()).await?.rows_affected())
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Pool(DatabaseKind::Postgres(server)) => {
                server.acquire().await?.execute(self.postgres()).await
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Transaction(TransactionKind::Postgres(transaction)) => {
                transaction.execute(self.postgres()).await
            }
        }
    }

    /// Executes the statement, and returns all rows.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn rows<'a>(self, on: impl Into<Executor<'a>>) -> Result<Vec<Row>, Error> {
        match on.into().0 {
            #[cfg(feature = "sqlite")]
            ExecutorKind::Pool(DatabaseKind::Sqlite(file)) => {
                self.sqlite().fetch_all(file.pool()?).await.map(Row::sqlite)
            }
            #[cfg(feature = "sqlite")]
            ExecutorKind::Transaction(TransactionKind::Sqlite(transaction)) => {
                self.sqlite().fetch_all(transaction.connection()).await.map(Row::sqlite)
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Pool(DatabaseKind::Postgres(server)) => {
                server.acquire().await?.rows(self.postgres()).await.map(Row::postgres)
            }
            #[cfg(feature = "postgres")]
            ExecutorKind::Transaction(TransactionKind::Postgres(transaction)) => {
                transaction.rows(self.postgres()).await.map(Row::postgres)
            }
        }
    }

    /// Returns the first row. The statement is executed to its end.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn row<'a>(self, on: impl Into<Executor<'a>>) -> Result<Option<Row>, Error> {
        Ok(self.rows(on).await?.into_iter().next())
    }

    /// Returns the first column of the first row.
    ///
    /// # Errors
    ///
    /// When the database fails, or the column has another type.
    pub async fn scalar<'a, T: Column>(self, on: impl Into<Executor<'a>>) -> Result<Option<T>, Error> {
        self.row(on).await?.map(|row| row.at(0)).transpose()
    }

    /// Returns the first row, as a struct or pair.
    ///
    /// # Errors
    ///
    /// When the database fails, or a column is missing or has another type.
    pub async fn one<'a, T: Record>(self, on: impl Into<Executor<'a>>) -> Result<Option<T>, Error> {
        self.row(on).await?.map(|row| row.read()).transpose()
    }

    /// Returns all rows, as structs or pairs.
    ///
    /// # Errors
    ///
    /// When the database fails, or a column is missing or has another type.
    pub async fn all<'a, T: Record>(self, on: impl Into<Executor<'a>>) -> Result<Vec<T>, Error> {
        self.rows(on).await?.iter().map(Row::read).collect()
    }
}

/// The statement of sqlx. `$opaque` converts opaque text.
macro_rules! statement {
    ($query:expr, $opaque:expr) => {{
        let start = sqlx::query(&$query.text);
        $query.values.iter().fold(start, |query, value| match &value.0 {
            ValueKind::Integer(value) => query.bind(*value),
            ValueKind::Bool(value) => query.bind(*value),
            ValueKind::Text(value) => query.bind(value.as_deref()),
            ValueKind::Bytes(value) => query.bind(value.as_deref()),
            ValueKind::OpaqueText(value) => query.bind(value.as_deref().map($opaque)),
        })
    }};
}

impl Query {
    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> sqlx::query::Query<'_, Sqlite, SqliteArguments<'_>> {
        statement!(self, |text| text)
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self) -> sqlx::query::Query<'_, Postgres, PgArguments> {
        statement!(self, opaque_bytes)
    }
}

impl<'a> From<&'a Database> for Executor<'a> {
    fn from(database: &'a Database) -> Self {
        Self(ExecutorKind::Pool(&database.0))
    }
}

impl<'a> From<&'a mut Transaction> for Executor<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self(ExecutorKind::Transaction(&mut transaction.0))
    }
}
