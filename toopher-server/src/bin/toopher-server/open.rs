//! Opens the server that the options describe.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toopher_server::{SealingKey, Server};

use crate::config::Config;
use crate::database_url::DatabaseUrl;
use crate::error::Error;
use crate::failure_store::FailureStore;
use crate::options::Common;
use crate::secret_file::read_secret;

pub(crate) async fn open(
    common: &Common,
    config: &Config,
    failure_store: &FailureStore,
    public_url: &str,
) -> Result<Server, Error> {
    let key_file = common.key_file.as_ref().or(config.key_file.as_ref());
    let key_file = key_file.map_or_else(|| "toopher.key".into(), PathBuf::clone);
    let database = database_url(common, config)?;
    let (key, source) = match std::env::var("TOOPHER_SERVER_KEY") {
        Ok(key) => (key, "TOOPHER_SERVER_KEY".to_owned()),
        Err(_) => (read_key(&key_file, &database)?, key_file.display().to_string()),
    };
    let key = SealingKey::parse(&key).map_err(|error| {
        let remedy = "a key is created by toopher-server key --out toopher.key; a database needs the one it began with";
        format!("the key in {source}: {error}; {remedy}")
    })?;
    let connections = common.database_connections.or(config.database_connections);
    failure_store.apply(database.open(connections, key, public_url).await?)
}

pub(crate) fn database_url(common: &Common, config: &Config) -> Result<DatabaseUrl, Error> {
    let text = common.database.as_ref().or(config.database.as_ref());
    DatabaseUrl::new(text.map_or_else(|| "toopher.sqlite".into(), String::clone))
}

/// Suggests a new key only for a new database: what was encrypted with another key, a new one cannot decrypt.
fn read_key(file: &Path, database: &DatabaseUrl) -> Result<String, Error> {
    read_secret(file).map_err(|error| {
        let remedy = match (error.kind(), database.exists()) {
            (ErrorKind::NotFound, Some(false)) => " (create a key: toopher-server key --out FILE)",
            (ErrorKind::NotFound, Some(true)) => {
                " (the database exists, and is only usable with its key: restore the key, or set --key-file)"
            }
            (ErrorKind::NotFound, None) => {
                " (a database is only usable with its key: restore the key, or set --key-file; for a new database, \
                 create a key: toopher-server key --out FILE)"
            }
            _ => "",
        };
        format!("{}: {error}{remedy}", file.display()).into()
    })
}
