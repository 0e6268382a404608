use std::error::Error;
use std::fmt;
use std::sync::Arc;

pub(crate) const SQLITE: &str = "SQLite";
pub(crate) const POSTGRES: &str = "PostgreSQL";

type Cause = dyn Error + Send + Sync;

/// The error of a database operation, with the name of the database. Clones share it.
#[derive(Clone, Debug)]
pub struct SqlError {
    database: &'static str,
    kind: Kind,
    cause: Arc<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    UniqueViolation,
    ForeignKeyViolation,
    Other,
}

impl SqlError {
    pub(crate) fn new(database: &'static str, kind: Kind, cause: impl Into<Box<Cause>>) -> Self {
        Self { database, kind, cause: cause.into().into() }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(cause: impl Into<Box<Cause>>) -> Self {
        Self::new(SQLITE, Kind::Other, cause)
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(cause: impl Into<Box<Cause>>) -> Self {
        Self::new(POSTGRES, Kind::Other, cause)
    }

    /// Whether a row with the same unique value exists.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.kind == Kind::UniqueViolation
    }

    /// Whether another row references the row, or the referenced row does not exist.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        self.kind == Kind::ForeignKeyViolation
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.database, self.cause)
    }
}

impl Error for SqlError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for SqlError {
    fn from(cause: rusqlite::Error) -> Self {
        use rusqlite::ffi::{
            SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_TRIGGER,
            SQLITE_CONSTRAINT_UNIQUE,
        };
        let kind = match cause.sqlite_error().map(|error| error.extended_code) {
            Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY) => Kind::UniqueViolation,
            // SQLite reports a row that is still referenced as an error of a trigger.
            Some(SQLITE_CONSTRAINT_FOREIGNKEY | SQLITE_CONSTRAINT_TRIGGER) => Kind::ForeignKeyViolation,
            _ => Kind::Other,
        };
        Self::new(SQLITE, kind, cause)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::Error> for SqlError {
    fn from(cause: sqlx::Error) -> Self {
        let kind = match &cause {
            sqlx::Error::Database(error) if error.is_unique_violation() => Kind::UniqueViolation,
            sqlx::Error::Database(error) if error.is_foreign_key_violation() => Kind::ForeignKeyViolation,
            _ => Kind::Other,
        };
        Self::new(POSTGRES, kind, cause)
    }
}
