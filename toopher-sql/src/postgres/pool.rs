//! The connections that operations borrow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use super::connect_options::PgDatabase;
use super::settings::{ACQUIRE_TIMEOUT, PING_TIMEOUT, configure, is_primary, no_response, standby};
use crate::error::SqlError;

/// A connection that was used within this time is used again without a check. It costs a round trip, and a server that
/// was replaced by its standby within this time rejects the next statement: it has ended the connection.
const CHECK_AFTER_IDLE: Duration = Duration::from_secs(1);
/// After this time a connection is replaced, so that a changed address or certificate takes effect.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

pub(super) type Pool = managed::Pool<Manager>;
pub(super) type Pooled = Object<Manager>;

#[derive(Debug)]
pub(super) struct Manager {
    options: PgConnectOptions,
    /// When a server did not respond in time. Connections of before are checked: they may lead to the same server.
    pub(super) timed_out: Arc<Mutex<Option<Instant>>>,
}

pub(super) fn pool(database: &PgDatabase) -> Result<Pool, SqlError> {
    let connections = usize::try_from(database.connections).unwrap_or(usize::MAX);
    Pool::builder(Manager { options: database.options.clone(), timed_out: Arc::default() })
        .max_size(connections)
        .build()
        .map_err(SqlError::postgres)
}

/// Borrows a connection.
pub(super) async fn acquire(pool: &Pool) -> Result<Pooled, SqlError> {
    match timeout(ACQUIRE_TIMEOUT, pool.get()).await {
        Err(_) => Err(SqlError::postgres("no connection is available in time")),
        Ok(Err(managed::PoolError::Backend(error))) => Err(error.into()),
        Ok(connection) => connection.map_err(SqlError::postgres),
    }
}

impl managed::Manager for Manager {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        configure(&mut connection).await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut PgConnection, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("the connection is old"));
        }
        let used = metrics.recycled.unwrap_or(metrics.created);
        let timed_out = *self.timed_out.lock().unwrap_or_else(PoisonError::into_inner);
        if (used.elapsed() > CHECK_AFTER_IDLE || timed_out.is_some_and(|timed_out| used <= timed_out))
            && !timeout(PING_TIMEOUT, is_primary(connection)).await.map_err(|_| no_response())??
        {
            return Err(standby().into());
        }
        Ok(())
    }
}
