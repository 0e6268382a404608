//! The option `--database`: a SQLite file, or the URL of a PostgreSQL database.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;

use toopher_server::{SealingKey, Server};

use crate::error::Error;
use crate::secret_file::warn_if_readable;

/// The value of `--database`.
pub(crate) enum DatabaseUrl {
    File(PathBuf),
    Postgres(String),
}

/// Without the parts of a URL that may be secret.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                write!(f, "postgres://{}", place.split('?').next().unwrap_or_default())
            }
        }
    }
}

const EXAMPLES: &str = "examples are toopher.sqlite and postgres://toopher@db.example.com/toopher";

impl DatabaseUrl {
    pub(crate) fn new(text: String) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Err(format!("--database is empty; {EXAMPLES}").into());
        }
        match text.split_once("://") {
            None => Ok(Self::File(text.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text)),
            // Without the value, which may contain a password.
            Some(_) => {
                Err(format!("--database is neither a file nor a URL that begins with postgres://; {EXAMPLES}").into())
            }
        }
    }

    /// Whether there is a database already. `None` if only a connection could show it.
    pub(crate) fn exists(&self) -> Option<bool> {
        match self {
            // An error means that there may be one.
            Self::File(path) => Some(path.try_exists().unwrap_or(true)),
            Self::Postgres(_) => None,
        }
    }

    /// Rejects a database that each replica would have for itself: each would accept the same code once, and count
    /// attempts separately.
    pub(crate) fn check_replicas(&self, replicas: NonZeroU32) -> Result<(), Error> {
        match self {
            Self::File(_) if replicas.get() > 1 => {
                Err(require_single_replica(replicas, "a SQLite file is for a single one"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn open(
        self,
        connections: Option<NonZeroU32>,
        key: SealingKey,
        public_url: &str,
    ) -> Result<Server, Error> {
        match self {
            Self::File(path) => {
                let server = Server::open(&path, key, public_url).await;
                warn_if_readable(&path);
                server.map_err(|error| format!("--database {}: {error}", path.display()).into())
            }
            Self::Postgres(url) => postgres(&url, connections, key, public_url).await,
        }
    }
}

/// The error for more replicas than the database supports.
pub(crate) fn require_single_replica(replicas: NonZeroU32, reason: &str) -> Error {
    format!(
        "{replicas} replicas are configured, but {reason}: replicas must share failures and used codes; use one \
         PostgreSQL database for all of them (--database postgres://...)"
    )
    .into()
}

#[cfg(feature = "postgres")]
async fn postgres(
    url: &str,
    connections: Option<NonZeroU32>,
    key: SealingKey,
    public_url: &str,
) -> Result<Server, Error> {
    use tower_toopher::store::PgDatabase;
    let mut database = PgDatabase::new(url).map_err(|error| format!("--database: {error}"))?;
    if std::env::args().any(|argument| argument.contains(url)) && has_password(url) {
        tracing::warn!("others can read the database's password: set TOOPHER_SERVER_DATABASE_PASSWORD instead");
    }
    if let Ok(password) = std::env::var("TOOPHER_SERVER_DATABASE_PASSWORD") {
        database = database.password(&password);
    }
    if let Some(connections) = connections {
        database = database.connections(connections.get());
    }
    let server = Server::open_postgres(&database, key, public_url).await;
    server.map_err(|error| format!("--database {database}: {error}").into())
}

/// Whether a password is in front of the host or among the parameters.
#[cfg(feature = "postgres")]
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=")
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: Option<NonZeroU32>, _: SealingKey, _: &str) -> Result<Server, Error> {
    Err("this program was built without PostgreSQL: build it with --features postgres".into())
}
