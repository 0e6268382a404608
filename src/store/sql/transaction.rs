use sqlx::Error;

#[cfg(feature = "sqlite")]
use super::held::Held;
#[cfg(feature = "postgres")]
use super::postgres::Lease;
use super::query::{Name, query};
use crate::UserId;

/// Statements that are done together or not at all. Dropped before it is committed, none of them is.
pub(crate) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(Held),
    #[cfg(feature = "postgres")]
    Postgres(Lease),
}

impl Transaction {
    /// Forgets the failures and the pushes of a user, in one round trip.
    pub(super) async fn forget_after_success(&mut self, user: &UserId) -> Result<(), Error> {
        let statements: &[&'static str] = match self {
            // It has no statement that removes from two tables, and no round trips.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                &["DELETE FROM failures WHERE user_name = $1", "DELETE FROM pushes WHERE user_name = $1"]
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => &["WITH forgotten AS (DELETE FROM pushes WHERE user_name = $1)
                DELETE FROM failures WHERE user_name = $1"],
        };
        for statement in statements {
            query(*statement).bind(Name(user.as_str())).execute(&mut *self).await?;
        }
        Ok(())
    }

    /// An error means that nobody knows whether it is done.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => held.end("COMMIT").await,
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => lease.end("COMMIT").await,
        }
    }

    /// The same as dropping it, but the connection can be used again.
    pub(crate) async fn rollback(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(held) => held.end("ROLLBACK").await,
            #[cfg(feature = "postgres")]
            Self::Postgres(lease) => lease.end("ROLLBACK").await,
        }
    }
}
