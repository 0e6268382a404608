//! Where the database is: a file, or PostgreSQL.

use std::num::NonZeroU32;
use std::path::PathBuf;

use tower_toopher::server::{SealingKey, Server};

use crate::Failure;

/// What `--database` says.
pub(crate) enum Place {
    File(PathBuf),
    Postgres(String),
}

impl Place {
    pub(crate) fn new(text: String) -> Result<Self, Failure> {
        match text.split_once("://") {
            None => Ok(Self::File(text.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text)),
            // Not what it says, since a password may be part of it.
            Some(_) => Err("--database is neither a file nor an address that begins with postgres://".into()),
        }
    }

    /// Refuses what each replica would have for itself: a code would pass once in each of them, and a thief would have as
    /// many tries as there are, times as many.
    pub(crate) fn serves(&self, replicas: NonZeroU32) -> Result<(), Failure> {
        match self {
            Self::File(_) if replicas.get() > 1 => Err(one_only(replicas, "a SQLite file is for one")),
            _ => Ok(()),
        }
    }

    pub(crate) async fn open(
        self,
        connections: Option<NonZeroU32>,
        key: SealingKey,
        public_url: &str,
    ) -> Result<Server, Failure> {
        match self {
            Self::File(path) => {
                let server = Server::open(&path, key, public_url).await;
                server.map_err(|error| format!("{}: {error}", path.display()).into())
            }
            Self::Postgres(url) => postgres(&url, connections, key, public_url).await,
        }
    }
}

/// What to say to whoever declares more replicas than there can be.
pub(crate) fn one_only(replicas: NonZeroU32, why: &str) -> Failure {
    let remedy = "give all of them one PostgreSQL database (--database postgres://...)";
    format!("{replicas} replicas are declared, and {why}: what one of them has counted and spent, the others would not know; {remedy}").into()
}

#[cfg(feature = "postgres")]
async fn postgres(
    url: &str,
    connections: Option<NonZeroU32>,
    key: SealingKey,
    public_url: &str,
) -> Result<Server, Failure> {
    use tower_toopher::store::PgDatabase;
    let mut database = PgDatabase::at(url).map_err(|error| format!("--database: {error}"))?;
    if std::env::args().any(|argument| argument.contains(url)) && has_password(url) {
        tracing::warn!("others can read the database's password: give it by TOOPHER_SERVER_DATABASE_PASSWORD");
    }
    if let Ok(password) = std::env::var("TOOPHER_SERVER_DATABASE_PASSWORD") {
        database = database.password(&password);
    }
    if let Some(connections) = connections {
        database = database.connections(connections.get());
    }
    let server = Server::open_postgres(&database, key, public_url).await;
    server.map_err(|error| format!("{database}: {error}").into())
}

/// Whether it stands in front of the host, or among the parameters.
#[cfg(feature = "postgres")]
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=")
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: Option<NonZeroU32>, _: SealingKey, _: &str) -> Result<Server, Failure> {
    Err("this program was built without PostgreSQL: build it with --features server,postgres".into())
}
