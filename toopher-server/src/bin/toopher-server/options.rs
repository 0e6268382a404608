//! The command line.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure_store::FailureStoreOptions;
use crate::trusted_proxies::Network;

/// A self-hosted Toopher API: a second factor by phone or one-time password.
///
/// Try it: toopher-server serve --demo
///
/// In production: create a key (toopher-server key --out toopher.key) and a requester (toopher-server requester
/// create "my site"), then serve. Options can also be set in the environment, as listed with each, or in a TOML file
/// (--config) under the same names with underscores: listen, public_url, max_connections,
/// max_connections_per_address, database, database_connections, failure_store,
/// failure_store_password_file, failure_store_prefix, failure_store_ca, replicas, key_file, tls_cert, tls_key,
/// clock_skew, message_command, trusted_proxies.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands that open no database, so none of [`Common`] applies to them.
const WITHOUT_DATABASE: [&str; 2] = ["key", "sign"];

impl Cli {
    /// Parses the command line. The help of a command lists only the options that the command uses.
    pub(crate) fn parse_args() -> Self {
        let of_common = Self::command();
        let of_common = of_common.get_arguments().filter(|option| option.is_global_set());
        let hidden: Vec<Arg> = of_common.map(|option| option.clone().hide(true)).collect();
        let command = WITHOUT_DATABASE.into_iter().fold(Self::command(), |command, name| {
            command.mut_subcommand(name, |subcommand| subcommand.args(hidden.clone()))
        });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Args)]
pub(crate) struct Common {
    /// A TOML file with options that are set neither here nor in the environment
    #[arg(long, global = true, env = "TOOPHER_SERVER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The database: a SQLite file, created if there is none, or postgres://user@host/database [default:
    /// toopher.sqlite]
    ///
    /// The password of PostgreSQL is read from the environment variable TOOPHER_SERVER_DATABASE_PASSWORD.
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE", hide_env_values = true, value_name = "FILE|URL")]
    pub(crate) database: Option<String>,
    /// The maximum number of connections of this process to PostgreSQL [default: 10]
    #[arg(long, global = true, env = "TOOPHER_SERVER_DATABASE_CONNECTIONS", value_name = "NUMBER")]
    pub(crate) database_connections: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) failure_store: FailureStoreOptions,
    /// A file with the key that encrypts secrets in the database [default: toopher.key]
    ///
    /// If the environment variable TOOPHER_SERVER_KEY is set, it contains the key itself.
    #[arg(long, global = true, env = "TOOPHER_SERVER_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve calls until SIGTERM or Ctrl-C
    Serve(Serve),
    /// Create, list and revoke the sites that may call
    #[command(subcommand)]
    Requester(RequesterCommand),
    /// List, reset, disable and enable the users of a site
    #[command(subcommand)]
    User(UserCommand),
    /// List and remove the phones that are paired
    #[command(subcommand)]
    Phone(PhoneCommand),
    /// Use the failure store of --failure-store from now on, instead of the previous one
    ///
    /// Failures and used codes are not copied: locked users are unlocked. Stop all servers first, and start them after
    /// three minutes, when used codes have expired.
    MigrateFailureStore,
    /// Create a new key for the key file
    Key {
        /// The file to create, which only its owner can read; an existing file is never replaced [default: print the
        /// key]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Continue after the clock was ahead, when the server is not ready because of it
    ///
    /// Set the clock first, on all servers. Signed calls are rejected for the time of --clock-skew from then on: the
    /// nonces of previous calls are deleted, so one of them could be a replay.
    RepairClock {
        /// The --clock-skew of the servers, in seconds [default: 300]
        #[arg(long, env = "TOOPHER_SERVER_CLOCK_SKEW", value_name = "SECONDS")]
        clock_skew: Option<u64>,
    },
    /// Sign one call of a site and print it for curl
    ///
    /// Reads the URL and the credentials from TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET:
    ///
    /// toopher-server sign POST users/create name=jdoe | curl -K -
    Sign(Sign),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Run with an in-memory database and print one set of client credentials
    ///
    /// TOOPHER_BASE_URL, TOOPHER_CONSUMER_KEY and TOOPHER_CONSUMER_SECRET are used if they are set.
    #[arg(long)]
    pub(crate) demo: bool,
    /// The address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "TOOPHER_SERVER_LISTEN", value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,
    /// The URL that clients use and sign, without /v1 [default: http(s)://LISTEN]
    ///
    /// Behind a proxy it is the URL of the proxy. It is never derived from a request. With a path
    /// (https://example.com/mfa) the server answers under the path, and without it.
    #[arg(long, env = "TOOPHER_SERVER_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// The number of servers behind the public URL, including this one [default: 1]
    ///
    /// If there is more than one, all of them must use the same PostgreSQL database, and the same failure store.
    #[arg(long, env = "TOOPHER_SERVER_REPLICAS", value_name = "NUMBER")]
    pub(crate) replicas: Option<NonZeroU32>,
    /// A PEM file with the certificate chain; together with --tls-key it enables TLS
    #[arg(long, env = "TOOPHER_SERVER_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A PEM file with the private key
    #[arg(long, env = "TOOPHER_SERVER_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The maximum number of open connections [default: what the limit of open files leaves, at most 10000]
    ///
    /// The server raises the limit of open files (ulimit -n) to the hard limit, and keeps 128 files and the connections
    /// to the database for itself. Event streams of phones get half of the connections. At the limit, a new connection
    /// replaces the one that has waited longest for its client.
    #[arg(long, env = "TOOPHER_SERVER_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub(crate) max_connections: Option<NonZeroUsize>,
    /// The maximum number of open connections of one client, which is an IPv4 address or an IPv6 network of 64 bits
    /// [default: an eighth of --max-connections; for loopback addresses, no limit]
    ///
    /// All clients behind a proxy have the proxy's address: if it is on another machine, set this to the value of
    /// --max-connections, and limit the clients in the proxy.
    #[arg(long, env = "TOOPHER_SERVER_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    pub(crate) max_connections_per_address: Option<NonZeroUsize>,
    /// The maximum difference between the clocks of a client and the server, in seconds [default: 300]
    #[arg(long, env = "TOOPHER_SERVER_CLOCK_SKEW", value_name = "SECONDS")]
    pub(crate) clock_skew: Option<u64>,
    /// A program that sends messages: called with `sms NUMBER` or `mail ADDRESS`, and the text as its input
    ///
    /// Without it, pairing by text message and sending of reset links are rejected.
    #[arg(long, env = "TOOPHER_SERVER_MESSAGE_COMMAND", value_name = "PROGRAM")]
    pub(crate) message_command: Option<PathBuf>,
    /// The proxies whose header X-Forwarded-For names the client in the log, separated by commas: addresses, and
    /// networks such as 10.0.0.0/8 [default: none, and the client is the other end of the connection]
    ///
    /// Only name proxies that add the address themselves: clients can send the header, too.
    #[arg(long, env = "TOOPHER_SERVER_TRUSTED_PROXIES", value_name = "ADDRESS,...", value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<Network>>,
}

/// The address of `--listen`.
fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080 or [::]:8080")
}

#[derive(Subcommand)]
pub(crate) enum RequesterCommand {
    /// Create a requester and print its key and secret; the secret is not shown again
    Create {
        /// Its name, which users see on their phone
        name: String,
    },
    /// List all requesters
    List,
    /// Reject all calls of a requester from now on
    Revoke {
        /// Its consumer key
        key: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
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
    /// Respond with error 704 for a user; the site decides how to proceed
    Disable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
    /// Enable a disabled user
    Enable {
        /// The requester's consumer key
        key: String,
        /// The user's name
        name: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum PhoneCommand {
    /// List the phones, the one with the longest time without a call first
    ///
    /// A line per pairing: the id of the phone, its registration and its last call (within a day), both in UTC, its
    /// name, the state of the pairing, the site, and the user.
    List,
    /// Deactivate all pairings of a phone, which must be registered and paired again
    Remove {
        /// The id of the phone
        id: String,
    },
    /// Remove all phones that have sent no call for this time
    RemoveIdle {
        /// The time in days
        days: NonZeroU32,
    },
}

#[derive(Args)]
pub(crate) struct Sign {
    /// GET or POST
    pub(crate) method: String,
    /// The path under the base URL, such as pairings/create
    pub(crate) path: String,
    /// The parameters of the call, each as name=value
    pub(crate) parameters: Vec<String>,
}
