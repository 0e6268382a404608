//! The configuration file.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::trusted_proxies::Network;

/// The options of the file, with the names of the command line's options.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) public_url: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) database_connections: Option<NonZeroU32>,
    pub(crate) failure_store: Option<String>,
    pub(crate) failure_store_password_file: Option<PathBuf>,
    pub(crate) failure_store_prefix: Option<String>,
    pub(crate) failure_store_ca: Option<PathBuf>,
    pub(crate) replicas: Option<NonZeroU32>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) max_connections: Option<NonZeroUsize>,
    pub(crate) max_connections_per_address: Option<NonZeroUsize>,
    pub(crate) clock_skew: Option<u64>,
    pub(crate) message_command: Option<PathBuf>,
    pub(crate) trusted_proxies: Option<Vec<Network>>,
}

impl Config {
    /// Reads the file, if there is one.
    pub(crate) fn read(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
    }
}
