use std::error::Error;
use std::fmt;

/// The error of a database operation, with the name of the database.
#[derive(Debug)]
pub struct SqlError {
    database: &'static str,
    cause: sqlx::Error,
}

impl SqlError {
    /// Wraps an error of `database`, such as `SQLite`.
    #[must_use]
    pub fn new(database: &'static str, cause: sqlx::Error) -> Self {
        Self { database, cause }
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
