use std::fmt;

use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::SqlError;

const DEFAULT_CONNECTIONS: u32 = 10;

/// A PostgreSQL database, and how to connect to it.
///
/// The tables are in a schema of their own, `toopher`, which is created if there is none. So the database may also
/// contain the tables of an application.
///
/// ```
/// use toopher_sql::PgDatabase;
///
/// let database = PgDatabase::new("postgres://toopher@db.example.com/toopher")?.password("secret").connections(20);
/// assert!(!format!("{database:?}").contains("secret"));
/// # Ok::<(), toopher_sql::SqlError>(())
/// ```
#[derive(Clone)]
pub struct PgDatabase {
    pub(crate) options: PgConnectOptions,
    pub(crate) connections: u32,
}

impl PgDatabase {
    /// The database at `url`: `postgres://user:password@host:port/database?sslmode=…`, with the parameters of libpq.
    /// Missing parameters are read from libpq's environment (`PGPASSWORD`, `PGSSLROOTCERT`, …) and from `~/.pgpass`.
    ///
    /// If the URL names another machine and no `sslmode`, the default is `verify-full`: TLS, with a certificate of that
    /// host from an authority that Mozilla trusts, or that is in `sslrootcert`. `sslmode=disable` disables TLS.
    ///
    /// # Errors
    ///
    /// When `url` is not such a URL.
    pub fn new(url: &str) -> Result<Self, SqlError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::Configuration("the URL does not begin with postgres://".into()).into());
        }
        let mut options: PgConnectOptions = url.parse()?;
        let host = options.get_host();
        let is_local = options.get_socket().is_some()
            || host.starts_with('/')
            || ["localhost", "127.0.0.1", "::1", "[::1]"].contains(&host);
        // These modes continue without TLS, which an attacker on the network could cause.
        if !is_local && matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        if options.get_application_name().is_none() {
            options = options.application_name("tower-toopher");
        }
        Ok(Self { options, connections: DEFAULT_CONNECTIONS })
    }

    /// Sets the password, if it is not in the URL.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.options = self.options.password(password);
        self
    }

    /// Sets the maximum number of connections of this process. Default: 10. The minimum is one.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }
}

/// Omits the user and the password.
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

/// Omits the user and the password.
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
    fn other_machines_need_tls_unless_it_is_disabled() {
        let mode = |url: &str| format!("{:?}", PgDatabase::new(url).unwrap().options.get_ssl_mode());
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
            assert!(PgDatabase::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn output_contains_no_password() {
        let database = PgDatabase::new("postgres://u:hidden@db.example.com/x").unwrap().password("hidden");
        assert_eq!(database.to_string(), "PostgreSQL at db.example.com:5432/x");
        assert!(!format!("{database:?}").contains("hidden"));
        let wrong = PgDatabase::new("postgres://u:hidden@d b/x").unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("hidden"));
    }
}
