use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{Error, Executor};
use tokio::time::timeout;

use super::connect_options::PgDatabase;
use super::session::{
    ACQUIRE_TIMEOUT, MAINTENANCE_RESPONSE_TIMEOUT, MAINTENANCE_STATEMENT_TIMEOUT, MIGRATION_TIMEOUT, RESPONSE_TIMEOUT,
    is_primary, standby, timed_out,
};
use super::transaction::PgTransaction;
use crate::migrations::Migrations;

const MIGRATIONS: Migrations =
    Migrations(&[(1, "initial", include_str!("../../migrations/postgres/0001_initial.sql"))]);

/// An open PostgreSQL database.
#[derive(Clone)]
pub(crate) struct Server {
    pool: PgPool,
    database: Arc<PgDatabase>,
}

impl Server {
    pub(crate) async fn connect(database: &PgDatabase) -> Result<Self, Error> {
        timeout(MIGRATION_TIMEOUT, migrate(&database.options)).await.map_err(|_| timed_out())??;
        let pool = database.pool().max_connections(database.connections);
        let pool = pool.connect_with(database.options.clone()).await?;
        Ok(Self { pool, database: database.clone().into() })
    }

    /// A connection without a transaction.
    pub(crate) async fn acquire(&self) -> Result<PgTransaction, Error> {
        Ok(PgTransaction::new(self.pool.acquire().await?, RESPONSE_TIMEOUT))
    }

    /// Begins a transaction with an advisory lock, which ends with the transaction in any case.
    pub(crate) async fn begin(&self, key: &str) -> Result<PgTransaction, Error> {
        let mut transaction = self.acquire().await?;
        transaction.begin(&format!("SELECT pg_advisory_xact_lock({})", lock_number(key))).await?;
        Ok(transaction)
    }

    pub(crate) async fn try_begin_maintenance(&self, key: &str) -> Result<Option<PgTransaction>, Error> {
        let mut transaction = PgTransaction::new(self.pool.acquire().await?, MAINTENANCE_RESPONSE_TIMEOUT);
        transaction.begin(&format!("SET LOCAL statement_timeout = '{MAINTENANCE_STATEMENT_TIMEOUT}'")).await?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({})", lock_number(key));
        let locked = transaction.rows(sqlx::query(&lock)).await?;
        if let Some(row) = locked.first()
            && sqlx::Row::try_get(row, 0)?
        {
            return Ok(Some(transaction));
        }
        transaction.end("ROLLBACK").await?;
        Ok(None)
    }

    /// A connection for notifications, which is not in the pool.
    pub(crate) async fn listener(&self) -> Result<PgListener, Error> {
        let pool = self.database.pool().max_connections(1).max_lifetime(None).idle_timeout(None);
        PgListener::connect_with(&pool.connect_with(self.database.options.clone()).await?).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("database", &self.database).finish_non_exhaustive()
    }
}

/// Creates the schema and its tables. If several processes start at once, one of them does it, and the others wait. It
/// uses a connection without time limits, since migrations may take long.
async fn migrate(options: &PgConnectOptions) -> Result<(), Error> {
    const SETTINGS: &str = "SET search_path = toopher; SET default_transaction_isolation = 'read committed';
        SET statement_timeout = 0; SET lock_timeout = 0";
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| Box::pin(async { connection.execute(SETTINGS).await.map(drop) }));
    let pool = pool.connect_with(options.clone()).await?;
    let mut transaction = pool.begin().await?;
    if !is_primary(&mut transaction).await? {
        return Err(standby());
    }
    let lock = format!("SELECT pg_advisory_xact_lock({})", lock_number("schema"));
    transaction.execute(lock.as_str()).await?;
    let found = sqlx::query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'toopher'");
    // `IF NOT EXISTS` would need the right to create a schema even if there is one.
    if found.fetch_optional(&mut *transaction).await?.is_none() {
        transaction.execute("CREATE SCHEMA toopher").await?;
    }
    transaction.commit().await?;
    Migrator::new(MIGRATIONS).await?.run(&pool).await?;
    pool.close().await;
    Ok(())
}

/// The number of the advisory lock for a key.
fn lock_number(key: &str) -> i64 {
    let mut digest = Sha256::new();
    digest.update("tower-toopher lock: ");
    digest.update(key);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    i64::from_be_bytes(bytes)
}
