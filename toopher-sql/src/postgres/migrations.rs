//! The tables.

use std::pin::Pin;

use sqlx::Executor;
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::settings::{ACQUIRE_TIMEOUT, is_primary, standby};
use crate::lock::lock_number;

/// Versions, descriptions and statements.
const MIGRATIONS: Migrations = Migrations(&[
    (1, "initial", include_str!("../../migrations/postgres/0001_initial.sql")),
    (2, "pages", include_str!("../../migrations/postgres/0002_pages.sql")),
]);

#[derive(Debug)]
struct Migrations(&'static [(i64, &'static str, &'static str)]);

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> Pin<Box<dyn Future<Output = Result<Vec<Migration>, BoxDynError>> + Send + 'static>> {
        let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
            Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
        };
        let migrations = self.0.iter().map(migration).collect();
        Box::pin(std::future::ready(Ok(migrations)))
    }
}

/// Creates the schema and its tables. If several processes start at once, one of them does it, and the others wait. It
/// uses a connection without time limits, since migrations may take long.
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
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
