//! One text for every statement, whichever database it goes to, and the values that go with it.
//!
//! The texts are in the language that both understand: `$1` for what is bound, `ON CONFLICT`, `RETURNING`, `TRUE`. What
//! differs is here, in `Transaction::forget_after_success`, and in the migrations, and nowhere else.

use std::borrow::Cow;

#[cfg(feature = "postgres")]
use sqlx::postgres::{PgArguments, PgRow, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Error, Row as _};

use super::database::Database;
use super::transaction::Transaction;

/// A statement and what is bound in it, in the order of its numbers.
pub(crate) struct Query {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

/// Something that is bound.
pub(crate) enum Value {
    Integer(Option<i64>),
    Truth(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Name(Option<String>),
}

/// Text of others that can hold every character and have any length, and is compared and no more. PostgreSQL's own text
/// has no NUL, and its indexes have no room for what is long.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a>(pub(crate) &'a str);

/// Where a statement runs.
pub(crate) enum On<'a> {
    Any(&'a Database),
    This(&'a mut Transaction),
}

pub(crate) fn query(text: impl Into<Cow<'static, str>>) -> Query {
    Query { text: text.into(), values: Vec::new() }
}

impl Query {
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it has changed.
    pub(crate) async fn execute<'a>(self, on: impl Into<On<'a>>) -> Result<u64, Error> {
        match on.into() {
            #[cfg(feature = "sqlite")]
            On::Any(Database::Sqlite(file)) => Ok(self.sqlite().execute(file.pool()).await?.rows_affected()),
            #[cfg(feature = "sqlite")]
            On::This(Transaction::Sqlite(held)) => Ok(self.sqlite().execute(held.connection()).await?.rows_affected()),
            #[cfg(feature = "postgres")]
            On::Any(Database::Postgres(server)) => server.lease().await?.execute(self.postgres()).await,
            #[cfg(feature = "postgres")]
            On::This(Transaction::Postgres(lease)) => lease.execute(self.postgres()).await,
        }
    }

    pub(crate) async fn rows<'a>(self, on: impl Into<On<'a>>) -> Result<Vec<Row>, Error> {
        match on.into() {
            #[cfg(feature = "sqlite")]
            On::Any(Database::Sqlite(file)) => Ok(Row::all(self.sqlite().fetch_all(file.pool()).await?, Row::Sqlite)),
            #[cfg(feature = "sqlite")]
            On::This(Transaction::Sqlite(held)) => {
                Ok(Row::all(self.sqlite().fetch_all(held.connection()).await?, Row::Sqlite))
            }
            #[cfg(feature = "postgres")]
            On::Any(Database::Postgres(server)) => {
                Ok(Row::all(server.lease().await?.rows(self.postgres()).await?, Row::Postgres))
            }
            #[cfg(feature = "postgres")]
            On::This(Transaction::Postgres(lease)) => Ok(Row::all(lease.rows(self.postgres()).await?, Row::Postgres)),
        }
    }

    /// The first row. A statement that changes something has done so to its end, whatever it returns.
    pub(crate) async fn row<'a>(self, on: impl Into<On<'a>>) -> Result<Option<Row>, Error> {
        Ok(self.rows(on).await?.into_iter().next())
    }

    /// The first column of the first row.
    #[cfg(feature = "server")]
    pub(crate) async fn scalar<'a, T: Column>(self, on: impl Into<On<'a>>) -> Result<Option<T>, Error> {
        self.row(on).await?.map(|row| row.first()).transpose()
    }

    /// The first row, as an object.
    #[cfg(feature = "server")]
    pub(crate) async fn one<'a, T: Record>(self, on: impl Into<On<'a>>) -> Result<Option<T>, Error> {
        self.row(on).await?.map(|row| row.read()).transpose()
    }

    /// All rows, as objects.
    #[cfg(feature = "server")]
    pub(crate) async fn all<'a, T: Record>(self, on: impl Into<On<'a>>) -> Result<Vec<T>, Error> {
        self.rows(on).await?.iter().map(Row::read).collect()
    }
}

macro_rules! bound {
    ($query:expr, $name:expr) => {{
        let start = sqlx::query(&$query.text);
        $query.values.iter().fold(start, |query, value| match value {
            Value::Integer(value) => query.bind(*value),
            Value::Truth(value) => query.bind(*value),
            Value::Text(value) => query.bind(value.as_deref()),
            Value::Bytes(value) => query.bind(value.as_deref()),
            Value::Name(value) => query.bind(value.as_deref().map($name)),
        })
    }};
}

impl Query {
    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> sqlx::query::Query<'_, Sqlite, SqliteArguments<'_>> {
        bound!(self, |name| name)
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self) -> sqlx::query::Query<'_, Postgres, PgArguments> {
        bound!(self, bytes_of)
    }
}

/// The bytes of a name; of one that is long, as many as an index has room for, and the digest of all. That is longer than
/// any that is not long.
#[cfg(feature = "postgres")]
fn bytes_of(name: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    const LONGEST: usize = 512;
    match name.as_bytes().get(..LONGEST + 1) {
        None => name.into(),
        Some(long) => [&long[..LONGEST], &Sha256::digest(name)].concat(),
    }
}

macro_rules! value_from {
    ($($from:ty => $kind:ident($value:ident) $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Self::$kind($into)
            }
        }
    )*};
}

value_from! {
    i64 => Integer(value) Some(value);
    Option<i64> => Integer(value) value;
    bool => Truth(value) Some(value);
    &str => Text(value) Some(value.to_owned());
    &Vec<u8> => Bytes(value) Some(value.clone());
    &[u8] => Bytes(value) Some(value.to_owned());
    Option<Vec<u8>> => Bytes(value) value;
    Name<'_> => Name(value) Some(value.0.to_owned());
    Option<Name<'_>> => Name(value) value.map(|name| name.0.to_owned());
}

#[cfg(feature = "server")]
value_from! {
    Option<bool> => Truth(value) value;
    String => Text(value) Some(value);
    &String => Text(value) Some(value.clone());
    Option<&str> => Text(value) value.map(str::to_owned);
    Option<String> => Text(value) value;
    &Option<String> => Text(value) value.clone();
    Vec<u8> => Bytes(value) Some(value);
}

impl<'a> From<&'a Database> for On<'a> {
    fn from(database: &'a Database) -> Self {
        Self::Any(database)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self::This(transaction)
    }
}

/// What a statement returns.
pub(crate) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

impl Row {
    fn all<R>(rows: Vec<R>, wrap: fn(R) -> Self) -> Vec<Self> {
        rows.into_iter().map(wrap).collect()
    }

    pub(crate) fn get<T: Column>(&self, column: &str) -> Result<T, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
        }
    }

    /// A [`Name`] that is not long.
    pub(crate) fn name(&self, column: &str) -> Result<Option<String>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => {
                let bytes: Option<Vec<u8>> = row.try_get(column)?;
                bytes.map(String::from_utf8).transpose().map_err(|error| Error::Decode(error.into()))
            }
        }
    }

    #[cfg(feature = "server")]
    fn first<T: Column>(&self) -> Result<T, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(0),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(0),
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn read<T: Record>(&self) -> Result<T, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => T::from_row(row),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => T::from_row(row),
        }
    }
}

/// What every database that is compiled in can give from a column.
pub(crate) trait Column: InSqlite + InPostgres {}

impl<T: InSqlite + InPostgres> Column for T {}

/// What every database that is compiled in can read from a row.
#[cfg(feature = "server")]
pub(crate) trait Record: OfSqlite + OfPostgres {}

#[cfg(feature = "server")]
impl<T: OfSqlite + OfPostgres> Record for T {}

/// A name for a bound where its feature is on, and for none where it is off.
macro_rules! where_on {
    ($($feature:literal $name:ident: $($bound:tt)*)?) => {$(
        #[cfg(feature = $feature)]
        pub(crate) trait $name: $($bound)* {}
        #[cfg(feature = $feature)]
        impl<T: $($bound)*> $name for T {}
        #[cfg(not(feature = $feature))]
        pub(crate) trait $name {}
        #[cfg(not(feature = $feature))]
        impl<T> $name for T {}
    )?};
}

where_on!("sqlite" InSqlite: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>);
where_on!("postgres" InPostgres: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>);
#[cfg(feature = "server")]
where_on!("sqlite" OfSqlite: for<'r> sqlx::FromRow<'r, SqliteRow>);
#[cfg(feature = "server")]
where_on!("postgres" OfPostgres: for<'r> sqlx::FromRow<'r, PgRow>);

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_told_apart_and_are_nobody_s() {
        assert_eq!(bytes_of("zo\u{eb}\0"), "zo\u{eb}\0".as_bytes());
        let longest = "x".repeat(512);
        assert_eq!(bytes_of(&longest), longest.as_bytes());
        let long =
            [format!("{longest}1"), format!("{longest}2"), "\u{20ac}".repeat(10_000)].map(|name| bytes_of(&name));
        assert!(long.iter().all(|bytes| bytes.len() == 544));
        assert!(long[0] != long[1] && long[0][..512] == long[1][..512]);
    }
}
