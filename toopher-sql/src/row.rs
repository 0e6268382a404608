//! Rows, and what can be read from them.

use std::fmt;

#[cfg(feature = "postgres")]
use sqlx::Row as _;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgRow, Postgres};

use crate::error::{Kind, SqlError};
#[cfg(feature = "sqlite")]
use crate::sqlite::SqliteRow;

/// A row that a statement returned.
pub struct Row(pub(crate) RowKind);

pub(crate) enum RowKind {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

impl Row {
    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(rows: Vec<SqliteRow>) -> Vec<Self> {
        rows.into_iter().map(|row| Self(RowKind::Sqlite(row))).collect()
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(rows: Vec<PgRow>) -> Vec<Self> {
        rows.into_iter().map(|row| Self(RowKind::Postgres(row))).collect()
    }

    /// Returns the value of a column.
    ///
    /// # Errors
    ///
    /// When there is no such column, or its type is not `T`.
    pub fn get<T: Column>(&self, column: &str) -> Result<T, SqlError> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            RowKind::Sqlite(row) => row.get(column),
            #[cfg(feature = "postgres")]
            RowKind::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// Returns the value of a column of [`OpaqueText`](crate::OpaqueText) of at most 512 bytes.
    ///
    /// # Errors
    ///
    /// When there is no such column, or it is not UTF-8, as the stored form of longer text.
    pub fn opaque_text(&self, column: &str) -> Result<Option<String>, SqlError> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            RowKind::Sqlite(row) => row.get(column),
            #[cfg(feature = "postgres")]
            RowKind::Postgres(row) => {
                let bytes: Option<Vec<u8>> = row.try_get(column)?;
                bytes.map(String::from_utf8).transpose().map_err(SqlError::postgres)
            }
        }
    }

    /// The error for a row with values that no operation has written.
    #[must_use]
    pub fn invalid(&self, description: &'static str) -> SqlError {
        let database = match &self.0 {
            #[cfg(feature = "sqlite")]
            RowKind::Sqlite(_) => crate::error::SQLITE,
            #[cfg(feature = "postgres")]
            RowKind::Postgres(_) => crate::error::POSTGRES,
        };
        SqlError::new(database, Kind::Other, description)
    }

    /// Reads a struct, or a tuple of at most two columns.
    ///
    /// # Errors
    ///
    /// When a column is missing or has another type.
    pub fn read<T: Record>(&self) -> Result<T, SqlError> {
        T::from_row(self)
    }

    /// Returns the value of the column with this index.
    pub(crate) fn at<T: Column>(&self, index: usize) -> Result<T, SqlError> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            RowKind::Sqlite(row) => row.at(index),
            #[cfg(feature = "postgres")]
            RowKind::Postgres(row) => Ok(row.try_get(index)?),
        }
    }
}

impl fmt::Debug for Row {
    /// Omits the values, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

/// Types of columns, in all databases of the enabled features. It is implemented for all of them.
pub trait Column: SqliteColumn + PgColumn {}

impl<T: SqliteColumn + PgColumn> Column for T {}

/// Types that can be read from a row.
pub trait Record: Sized {
    /// Reads the columns.
    ///
    /// # Errors
    ///
    /// When a column is missing or has another type.
    fn from_row(row: &Row) -> Result<Self, SqlError>;
}

/// The first column.
impl<A: Column> Record for (A,) {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok((row.at(0)?,))
    }
}

/// The first two columns.
impl<A: Column, B: Column> Record for (A, B) {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok((row.at(0)?, row.at(1)?))
    }
}

/// Defines a trait with this bound if the feature is enabled, and without a bound otherwise.
macro_rules! bound_with {
    ($($feature:literal $name:ident: $($bound:tt)*)?) => {$(
        #[cfg(feature = $feature)]
        pub trait $name: $($bound)* {}
        #[cfg(feature = $feature)]
        impl<T: $($bound)*> $name for T {}
        #[cfg(not(feature = $feature))]
        pub trait $name {}
        #[cfg(not(feature = $feature))]
        impl<T> $name for T {}
    )?};
}

bound_with!("sqlite" SqliteColumn: rusqlite::types::FromSql);
bound_with!("postgres" PgColumn: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>);
