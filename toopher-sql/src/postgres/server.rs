use std::fmt;
use std::sync::Arc;

use tokio::time::timeout;

use super::connect_options::PgDatabase;
use super::listener::Listener;
use super::migrations::migrate;
use super::pool::{Pool, acquire, pool};
use super::session::PgSession;
use super::settings::{
    MAINTENANCE_RESPONSE_TIMEOUT, MAINTENANCE_STATEMENT_TIMEOUT, MIGRATION_TIMEOUT, RESPONSE_TIMEOUT, no_response,
};
use crate::connection::{Connection, ConnectionKind, Operation};
use crate::error::SqlError;
use crate::lock::lock_number;

/// An open PostgreSQL database.
#[derive(Clone)]
pub(crate) struct Server {
    pool: Pool,
    database: Arc<PgDatabase>,
}

impl Server {
    pub(crate) async fn connect(database: &PgDatabase) -> Result<Self, SqlError> {
        timeout(MIGRATION_TIMEOUT, migrate(&database.options)).await.map_err(|_| no_response())??;
        let server = Self { pool: pool(database)?, database: database.clone().into() };
        server.acquire().await?;
        Ok(server)
    }

    /// A connection without a transaction.
    pub(crate) async fn acquire(&self) -> Result<PgSession, SqlError> {
        Ok(PgSession::new(acquire(&self.pool).await?, RESPONSE_TIMEOUT))
    }

    /// Runs `operation` in a transaction with an advisory lock, which ends with the transaction in any case.
    pub(crate) async fn transaction<T, E>(
        &self,
        key: String,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        let mut session = self.acquire().await?;
        let transaction = async move {
            session.begin(&format!("SELECT pg_advisory_xact_lock({})", lock_number(&key))).await?;
            run(session, operation).await
        };
        to_its_end(transaction).await
    }

    pub(crate) async fn read<T, E>(
        &self,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        let mut connection = Connection(ConnectionKind::Postgres(self.acquire().await?));
        to_its_end(async move { operation(&mut connection).await }).await
    }

    pub(crate) async fn maintenance<T, E: From<SqlError>>(
        &self,
        key: String,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E>,
    ) -> Result<Option<T>, E> {
        let mut session = PgSession::new(acquire(&self.pool).await?, MAINTENANCE_RESPONSE_TIMEOUT);
        session.begin(&format!("SET LOCAL statement_timeout = '{MAINTENANCE_STATEMENT_TIMEOUT}'")).await?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({})", lock_number(&key));
        let locked = session.rows(sqlx::query(&lock)).await?;
        if let Some(row) = locked.first()
            && sqlx::Row::try_get(row, 0).map_err(SqlError::from)?
        {
            return run(session, operation).await.map(Some);
        }
        session.end("ROLLBACK").await?;
        Ok(None)
    }

    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener, SqlError> {
        Listener::connect(&self.database.options, channel).await
    }
}

/// Runs what has a connection to its end, even if the caller no longer waits for it. The state of a connection is
/// unknown while it waits for a response, so it would have to be closed: clients that end their requests at once would
/// make all others wait for new connections, and use up those of the server.
pub(crate) async fn to_its_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<SqlError> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(SqlError::postgres("the runtime has ended").into()),
        },
    }
}

/// Runs `operation` in the transaction of `session`, and ends it.
async fn run<T, E: From<SqlError>>(
    session: PgSession,
    operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E>,
) -> Result<T, E> {
    let mut connection = Connection(ConnectionKind::Postgres(session));
    let result = operation(&mut connection).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.postgres()?.end(end).await;
    if result.is_ok() {
        ended?;
    }
    result
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("database", &self.database).finish_non_exhaustive()
    }
}
