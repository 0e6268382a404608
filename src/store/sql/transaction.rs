use sqlx::Error;

#[cfg(feature = "postgres")]
use super::postgres::Lease;

/// Statements that are done together or not at all. Dropped before it is committed, none of them is.
pub(crate) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Lease),
}

impl Transaction {
    /// An error means that nobody knows whether it is done.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(open) => open.commit().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => lease.end("COMMIT").await,
        }
    }

    /// The same as dropping it, but the connection can be used again.
    pub(crate) async fn rollback(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(open) => open.rollback().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => lease.end("ROLLBACK").await,
        }
    }
}
