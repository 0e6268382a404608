use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, Error};
use tokio::time::timeout;

use super::{ACQUIRE, PING, late, set_up, writes};
use crate::store::SqlError;

const DEFAULT_CONNECTIONS: u32 = 10;

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
    pub(super) options: PgConnectOptions,
    pub(super) connections: u32,
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
    pub fn at(url: &str) -> Result<Self, SqlError> {
        let failure = |error| SqlError::new("PostgreSQL", error);
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

    pub(super) fn pool(&self) -> PgPoolOptions {
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
