use std::pin::Pin;

use crate::error::SqlError;
#[cfg(feature = "postgres")]
use crate::postgres::PgSession;

/// The statements of an operation, in a future that awaits nothing else.
pub type Operation<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The connection of an operation, with or without a transaction: see [`Database::transaction`] and
/// [`Database::read`](crate::Database::read).
///
/// [`Database::transaction`]: crate::Database::transaction
#[derive(Debug)]
pub struct Connection(pub(crate) ConnectionKind);

#[derive(Debug)]
pub(crate) enum ConnectionKind {
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Connection),
    #[cfg(feature = "postgres")]
    Postgres(PgSession),
}

impl Connection {
    /// Whether the database is SQLite.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            ConnectionKind::Sqlite(_) => true,
            #[cfg(feature = "postgres")]
            ConnectionKind::Postgres(_) => false,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(&self) -> Result<&rusqlite::Connection, SqlError> {
        match &self.0 {
            ConnectionKind::Sqlite(connection) => Ok(connection),
            #[cfg(feature = "postgres")]
            ConnectionKind::Postgres(_) => Err(SqlError::sqlite("the connection is to PostgreSQL")),
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(&mut self) -> Result<&mut PgSession, SqlError> {
        match &mut self.0 {
            #[cfg(feature = "sqlite")]
            ConnectionKind::Sqlite(_) => Err(SqlError::postgres("the connection is to SQLite")),
            ConnectionKind::Postgres(session) => Ok(session),
        }
    }
}
