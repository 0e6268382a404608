//! Connections to PostgreSQL: what they are set to, how long they are waited for, and when they are given up.

use std::fmt;
use std::io;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgSslMode, Postgres};
use sqlx::{Connection, Error, Executor, PgConnection};
use tokio::time::timeout;

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
const DEFAULT_CONNECTIONS: u32 = 10;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Where a PostgreSQL database is, and how it is spoken to.
///
/// What is kept there stands in a schema of its own, `toopher`, which is made if there is none, so it can be a database
/// that other tables are in.
///
/// ```
/// use tower_toopher::store::PgDatabase;
///
/// let database = PgDatabase::at("postgres://toopher@db.example.com/toopher")?.password("secret").connections(20);
/// assert!(!format!("{database:?}").contains("secret"));
/// # Ok::<(), tower_toopher::store::SqlError>(())
/// ```
#[derive(Clone)]
pub struct PgDatabase {
    options: PgConnectOptions,
    connections: u32,
}

impl PgDatabase {
    /// The database at `url`: `postgres://user:password@host:port/database?sslmode=…`, with the parameters of libpq. What
    /// it does not say is taken from libpq's environment (`PGPASSWORD`, `PGSSLROOTCERT`, …) and from `~/.pgpass`.
    ///
    /// Where it names another machine and no `sslmode`, that is `verify-full`: TLS, with a certificate of that host from an
    /// authority that Mozilla trusts, or that is in `sslrootcert`. To go without must be said (`sslmode=disable`).
    ///
    /// # Errors
    ///
    /// When it is no such URL.
    pub fn at(url: &str) -> Result<Self, super::SqlError> {
        let failure = |error| super::SqlError::new("PostgreSQL", error);
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(failure(Error::Configuration("the URL does not begin with postgres://".into())));
        }
        let mut options: PgConnectOptions = url.parse().map_err(failure)?;
        let host = options.get_host();
        let here = options.get_socket().is_some()
            || host.starts_with('/')
            || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&host);
        // What would go on without TLS is nobody's wish between machines: who is on the way could have it so.
        if !here && matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        if options.get_application_name().is_none() {
            options = options.application_name("tower-toopher");
        }
        Ok(Self { options, connections: DEFAULT_CONNECTIONS })
    }

    /// Sets the password, which need not stand in the URL then.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.options = self.options.password(password);
        self
    }

    /// Sets how many connections there may be at once, of this process alone. Default: 10. At least one.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    fn pool(&self) -> PgPoolOptions {
        PgPoolOptions::new()
            .acquire_timeout(ACQUIRE)
            .after_connect(|connection, _| Box::pin(set_up(connection)))
            // In place of the pool's own question whether it is there.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(writes(connection)))
            // The pool asks, too, and waits without end.
            .after_release(|connection, _| {
                Box::pin(async { timeout(PING, connection.ping()).await.map_err(|_| late())?.map(|()| true) })
            })
    }
}

/// Where it is, and nothing that opens it.
impl fmt::Display for PgDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        write!(
            f,
            "PostgreSQL at {}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or("")
        )
    }
}

/// The same.
impl fmt::Debug for PgDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgDatabase")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// What every guarantee rests on, whatever the role and the database are set to:
///
/// - each statement sees what was committed before it began (`read committed`), so whoever has waited for a lock sees
///   what its last holder has done;
/// - a commit is on the disk when it is answered. Where the database asks for more (`remote_apply`), that stands;
/// - nobody waits without end, and what a process that is gone has begun is over soon.
async fn set_up(connection: &mut PgConnection) -> Result<(), Error> {
    const SETTINGS: &str = "SELECT set_config('search_path', 'toopher', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
            ELSE current_setting('synchronous_commit') END, false),
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
        let connection = self.pool.acquire().await?;
        Ok(Lease { connection, sound: true, in_transaction: false, patience: PATIENCE })
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

/// A connection of the pool's, that goes back to it only if it is known in which state it is.
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    sound: bool,
    in_transaction: bool,
    patience: Duration,
}

impl Lease {
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        self.sound = false;
        let done = timeout(self.patience, statement.execute(&mut *self.connection)).await;
        self.judge(done.unwrap_or_else(|_| Err(late()))).map(|done| done.rows_affected())
    }

    pub(super) async fn rows(&mut self, statement: Statement<'_>) -> Result<Vec<PgRow>, Error> {
        self.sound = false;
        let rows = timeout(self.patience, statement.fetch_all(&mut *self.connection)).await;
        self.judge(rows.unwrap_or_else(|_| Err(late())))
    }

    /// Begins a transaction with a statement of our own, in one round trip.
    async fn begin(&mut self, with: &str) -> Result<(), Error> {
        self.in_transaction = true;
        self.simple(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {with}")).await
    }

    pub(super) async fn end(mut self, how: &str) -> Result<(), Error> {
        self.simple(how).await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn simple(&mut self, text: &str) -> Result<(), Error> {
        self.sound = false;
        let done = timeout(self.patience, self.connection.execute(sqlx::raw_sql(text))).await;
        self.judge(done.unwrap_or_else(|_| Err(late()))).map(drop)
    }

    /// After an error of the statement the connection is as good as before. After one of the server's own it is not, nor
    /// is one to a server that no longer writes: the next one may lead elsewhere.
    fn judge<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.sound = match &result {
            Ok(_) => true,
            Err(Error::Database(error)) => error.code().is_some_and(|code| {
                !["08", "57P", "58", "F0", "XX"].iter().any(|c| code.starts_with(c)) && code != "25006"
            }),
            Err(_) => false,
        };
        result
    }
}

impl Drop for Lease {
    /// The server ends what was begun on a connection that is closed.
    fn drop(&mut self) {
        if !self.sound || self.in_transaction {
            self.connection.close_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_other_machines_there_is_tls_unless_it_is_refused_in_words() {
        let mode = |url: &str| format!("{:?}", PgDatabase::at(url).unwrap().options.get_ssl_mode());
        for url in
            ["postgres://u@db.example.com/x", "postgresql://u@10.0.0.1:5433/x", "postgres://u@db/x?sslmode=prefer"]
        {
            assert_eq!(mode(url), "VerifyFull", "{url}");
        }
        assert_eq!(mode("postgres://u@db/x?sslmode=disable"), "Disable");
        assert_eq!(mode("postgres://u@db/x?sslmode=verify-ca"), "VerifyCa");
        for url in [
            "postgres://u@127.0.0.1/x",
            "postgres://u@[::1]/x",
            "postgres://u@localhost/x",
            "postgres:///x?host=/run/pg",
        ] {
            assert_eq!(mode(url), "Prefer", "{url}");
        }
        for url in
            ["", "db/x", "mysql://u@db/x", "postgres:/x", "postgres://u@d b/x", "postgres://u@db/x?sslmode=maybe"]
        {
            assert!(PgDatabase::at(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_it_opens_nothing() {
        let database = PgDatabase::at("postgres://u:hidden@db.example.com/x").unwrap().password("hidden");
        assert_eq!(database.to_string(), "PostgreSQL at db.example.com:5432/x");
        assert!(!format!("{database:?}").contains("hidden"));
        let wrong = PgDatabase::at("postgres://u:hidden@d b/x").unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("hidden"));
    }
}
