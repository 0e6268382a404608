//! Connections to PostgreSQL: what they are set to, how long they are waited for, and when they are given up.

mod lease;
mod place;

use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Error, Executor, PgConnection};
use tokio::time::timeout;

pub(crate) use self::lease::Lease;
pub use self::place::PgDatabase;

/// How long a connection is waited for.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long a statement is waited for here; the server gives it up before, at [`STATEMENT`].
const PATIENCE: Duration = Duration::from_secs(8);
const STATEMENT: &str = "5s";
/// The same for what removes what is over.
#[cfg(feature = "server")]
const CHORE_PATIENCE: Duration = Duration::from_secs(70);
#[cfg(feature = "server")]
const CHORE_STATEMENT: &str = "60s";
/// How long the tables may take to be made, by this process or by another one.
const MIGRATION: Duration = Duration::from_secs(300);
/// How long a connection is looked at that is given back.
const PING: Duration = Duration::from_secs(2);

/// What every guarantee rests on, whatever the role and the database are set to:
///
/// - each statement sees what was committed before it began (`read committed`), so whoever has waited for a lock sees
///   what its last holder has done;
/// - a commit is on the disk when it is answered, and on that of a standby that is named to be waited for. Where the
///   database asks for more (`remote_apply`), that stands;
/// - nobody waits without end, and what a process that is gone has begun is over soon.
async fn set_up(connection: &mut PgConnection) -> Result<(), Error> {
    const SETTINGS: &str = "SELECT set_config('search_path', 'toopher', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply'
            THEN 'remote_apply' ELSE 'on' END, false),
        set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),
        set_config('idle_in_transaction_session_timeout', '10s', false),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)";
    connection.execute(sqlx::query(SETTINGS).bind(STATEMENT)).await?;
    if writes(connection).await? { Ok(()) } else { Err(standby()) }
}

/// Whether this is the one that is written to. One that was, and has been replaced, may still be there: it does not know
/// what has been spent since.
async fn writes(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(connection).await
}

fn late() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}

/// An open database.
#[derive(Clone)]
pub(crate) struct Server {
    pool: PgPool,
    #[cfg(feature = "server")]
    place: std::sync::Arc<PgDatabase>,
}

impl Server {
    pub(super) async fn connect(place: &PgDatabase) -> Result<Self, Error> {
        timeout(MIGRATION, migrate(&place.options)).await.map_err(|_| late())??;
        let pool = place.pool().max_connections(place.connections).connect_with(place.options.clone()).await?;
        Ok(Self {
            pool,
            #[cfg(feature = "server")]
            place: place.clone().into(),
        })
    }

    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        Ok(Lease::new(self.pool.acquire().await?, PATIENCE))
    }

    /// A lock of the transaction's: it ends with it, whatever that ends with.
    pub(super) async fn begin(&self, of: &str) -> Result<Lease, Error> {
        let mut lease = self.lease().await?;
        lease.begin(&format!("SELECT pg_advisory_xact_lock({})", number_of(of))).await?;
        Ok(lease)
    }

    #[cfg(feature = "server")]
    pub(super) async fn begin_chore(&self, of: &str) -> Result<Option<Lease>, Error> {
        let mut lease = self.lease().await?;
        lease.patience = CHORE_PATIENCE;
        lease.begin(&format!("SET LOCAL statement_timeout = '{CHORE_STATEMENT}'")).await?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({})", number_of(of));
        let free = lease.rows(sqlx::query(&lock)).await?;
        if let Some(row) = free.first()
            && sqlx::Row::try_get(row, 0)?
        {
            return Ok(Some(lease));
        }
        lease.end("ROLLBACK").await?;
        Ok(None)
    }

    /// A connection beside the others, for who listens all the time.
    #[cfg(feature = "server")]
    pub(crate) async fn listener(&self) -> Result<sqlx::postgres::PgListener, Error> {
        let pool = self.place.pool().max_connections(1).max_lifetime(None).idle_timeout(None);
        sqlx::postgres::PgListener::connect_with(&pool.connect_with(self.place.options.clone()).await?).await
    }
}

/// Makes the schema and its tables. Several processes may start at once: one of them does it. It has as long as it takes,
/// so it is not done on connections with deadlines.
async fn migrate(options: &PgConnectOptions) -> Result<(), Error> {
    const SETTINGS: &str = "SET search_path = toopher; SET default_transaction_isolation = 'read committed';
        SET statement_timeout = 0; SET lock_timeout = 0";
    let patient = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        .after_connect(|connection, _| Box::pin(async { connection.execute(SETTINGS).await.map(drop) }));
    let pool = patient.connect_with(options.clone()).await?;
    let mut transaction = pool.begin().await?;
    if !writes(&mut transaction).await? {
        return Err(standby());
    }
    let lock = format!("SELECT pg_advisory_xact_lock({})", number_of("schema"));
    transaction.execute(lock.as_str()).await?;
    let found = sqlx::query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'toopher'");
    // Even `IF NOT EXISTS` needs the right to make it.
    if found.fetch_optional(&mut *transaction).await?.is_none() {
        transaction.execute("CREATE SCHEMA toopher").await?;
    }
    transaction.commit().await?;
    sqlx::migrate!("migrations/postgres").run(&pool).await?;
    pool.close().await;
    Ok(())
}

fn standby() -> Error {
    Error::Configuration("this is a standby, which nothing can be written to".into())
}

/// What a lock is called.
fn number_of(name: &str) -> i64 {
    let mut digest = Sha256::new();
    digest.update("tower-toopher lock: ");
    digest.update(name);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    i64::from_be_bytes(bytes)
}
