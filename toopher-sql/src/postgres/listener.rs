use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::settings::{ACQUIRE_TIMEOUT, configure, no_response};
use crate::error::SqlError;

/// After how long without a notification the connection is checked.
const QUIET: Duration = Duration::from_secs(10);
/// The time limit of that check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that receives the notifications of a channel.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    pub(super) async fn connect(options: &PgConnectOptions, channel: &str) -> Result<Self, SqlError> {
        let pool = PgPoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| Box::pin(configure(connection)))
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None);
        let mut listener = PgListener::connect_with(&pool.connect_with(options.clone()).await?).await?;
        timeout(CHECK_TIMEOUT, listener.listen(channel)).await.map_err(|_| no_response())??;
        Ok(Self(listener))
    }

    /// Returns the text of the next notification. While there is none, it checks that the server still is the primary.
    ///
    /// # Errors
    ///
    /// When the connection is lost, and notifications with it.
    pub async fn next(&mut self) -> Result<String, SqlError> {
        loop {
            match timeout(QUIET, self.0.try_recv()).await {
                Ok(notification) => match notification? {
                    Some(notification) => return Ok(notification.payload().to_owned()),
                    None => return Err(SqlError::postgres("the connection for notifications was lost")),
                },
                // A server that was replaced by a standby sends nothing either.
                Err(_) => {
                    let check = self.0.fetch_one("SELECT 1 / (NOT pg_is_in_recovery())::int");
                    timeout(CHECK_TIMEOUT, check).await.map_err(|_| no_response())??;
                }
            }
        }
    }
}
