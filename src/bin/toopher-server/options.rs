//! The command line, and the file that may say the same.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

use super::guard::GuardOptions;

/// A self-hosted Toopher API: second factors by phone and by one-time password.
///
/// Try it: toopher-server serve --demo
///
/// For real: make a key (toopher-server key > toopher.key), make a requester (toopher-server requester create "my site"),
/// then serve. Options can also be given by the environment, as shown with each, or in a TOML file (--config), where
/// they have the same names with underscores: listen, public_url, database, database_connections, guard,
/// guard_password_file, guard_prefix, guard_ca, replicas, key_file, tls_cert, tls_key, clock_window, message_command.
#[derive(Parser)]
#[command(version)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Args)]
pub(super) struct Common {
    /// A TOML file with options that are given neither here nor by the environment
    #[arg(long, global = true, env = "TOOPHER_SERVER_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The database: a SQLite file, made if there is none, or postgres://user@host/database [default: toopher.sqlite]
    ///
    /// The password of PostgreSQL is taken from the environment variable TOOPHER_SERVER_DATABASE_PASSWORD.
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE", hide_env_values = true, value_name = "FILE|URL")]
    pub(super) database: Option<String>,
    /// The most connections to PostgreSQL at once, of this process [default: 10]
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE_CONNECTIONS", value_name = "NUMBER")]
    pub(super) database_connections: Option<NonZeroU32>,
    #[command(flatten)]
    pub(super) guard: GuardOptions,
    /// A file with the key that secrets in the database are sealed with [default: toopher.key]
    ///
    /// The environment variable TOOPHER_SERVER_KEY, if it is set, is the key itself.
    #[arg(long, global = true, env = "TOOPHER_SERVER_KEY_FILE", value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Answer calls until told to stop (SIGTERM, or Ctrl-C)
    Serve(Serve),
    /// Make, list and revoke the sites that may call
    #[command(subcommand)]
    Requester(RequesterCommand),
    /// List, reset, disable and enable the users of a site
    #[command(subcommand)]
    User(UserCommand),
    /// Have failures and spent codes kept where --guard says from now on, whatever it was before
    ///
    /// They are not taken along: who was locked out is not any more. Stop all servers first, and start them after three
    /// minutes, when no code that was spent is good any more.
    MoveGuard,
    /// Print a new key, to be kept in a file
    Key,
    /// Sign one call of a site and print it for curl
    ///
    /// Takes the address and the credentials from TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET:
    ///
    /// toopher-server sign POST users/create name=jdoe | curl -K -
    Sign(Sign),
}

#[derive(Args)]
pub(super) struct Serve {
    /// Need no set-up: a database in memory, and one requester, printed for the shell
    ///
    /// TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET are used where they are set.
    #[arg(long)]
    pub(super) demo: bool,
    /// The address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "TOOPHER_SERVER_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// The address that clients use, without /v1: what they sign [default: http(s)://LISTEN]
    ///
    /// Behind a proxy it is the proxy's. It is never taken from a request.
    #[arg(long, env = "TOOPHER_SERVER_PUBLIC_URL", value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// How many of these servers there are behind the public URL, this one among them [default: 1]
    ///
    /// With more than one, they must share what they count and spend, and all else: one PostgreSQL database, and for what
    /// they count and spend also Redis (--guard).
    #[arg(long, env = "TOOPHER_SERVER_REPLICAS", value_name = "NUMBER")]
    pub(super) replicas: Option<NonZeroU32>,
    /// A PEM file with the certificate chain; with --tls-key, TLS is spoken
    #[arg(long, env = "TOOPHER_SERVER_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,
    /// A PEM file with the private key
    #[arg(long, env = "TOOPHER_SERVER_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// How many seconds the clock of a client may be off [default: 300]
    #[arg(long, env = "TOOPHER_SERVER_CLOCK_WINDOW", value_name = "SECONDS")]
    pub(super) clock_window: Option<u64>,
    /// A program that sends messages: called with `sms NUMBER` or `mail ADDRESS`, and the text as its input
    ///
    /// Without one, pairing by text message and sending of reset links are refused.
    #[arg(long, env = "TOOPHER_SERVER_MESSAGE_COMMAND", value_name = "PROGRAM")]
    pub(super) message_command: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum RequesterCommand {
    /// Make a requester and print its key and secret; the secret is not shown again
    Create {
        /// What people call it; they see it on their phone
        name: String,
    },
    /// List all requesters
    List,
    /// Refuse all calls of a requester from now on
    Revoke {
        /// Its consumer key
        key: String,
    },
}

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// List the users of a requester
    List {
        /// Its consumer key
        key: String,
    },
    /// Deactivate all pairings of a user, who must pair again, and unlock the account
    Reset {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
    /// Answer for a user with error 704; what that means is up to the site
    Disable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
    /// Take that back
    Enable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
}

#[derive(Args)]
pub(super) struct Sign {
    /// GET or POST
    pub(super) method: String,
    /// The path under the base URL, such as pairings/create
    pub(super) path: String,
    /// The parameters, each as name=value, as they will be sent
    pub(super) parameters: Vec<String>,
}

/// What the file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: Option<String>,
    pub(super) database: Option<String>,
    pub(super) database_connections: Option<NonZeroU32>,
    pub(super) guard: Option<String>,
    pub(super) guard_password_file: Option<PathBuf>,
    pub(super) guard_prefix: Option<String>,
    pub(super) guard_ca: Option<PathBuf>,
    pub(super) replicas: Option<NonZeroU32>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) clock_window: Option<u64>,
    pub(super) message_command: Option<PathBuf>,
}
