//! The store in Redis or Valkey.

mod approvals;
mod connection;
mod error;
mod failures;
mod inspect;
mod keys;
mod ledger;
mod script;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo};

use self::connection::Connector;
pub use self::error::{RedisError, RedisErrorKind};
use self::keys::Prefix;
use self::ledger::Ledger;
use self::script::{Call, Parse};
use crate::crypto::random;
use crate::error::ConfigError;
use crate::verify::UserId;

/// Tests the code of the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/several-machines.md")]
struct SeveralMachines;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

/// Stores failures, used time steps and approvals in Redis 7 or Valkey, for all processes that serve the same users.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::TotpVerifier;
/// use tower_toopher::store::RedisStore;
/// use tower_toopher::totp::MemoryPairings;
///
/// let store = RedisStore::new("redis://:password@10.0.0.7:6379/0")?;
/// // Once, at the start: does it respond, and does it keep its keys?
/// store.check().await?;
/// let verifier = TotpVerifier::new(MemoryPairings::new())?.store(store);
/// # Ok(())
/// # }
/// ```
///
/// Each operation is one script and one round trip (two if the server does not have the script yet). A granted OTP
/// takes two round trips, and three behind `Approvals`, as does a recovery code.
///
/// Clones share one connection. The store connects lazily and reconnects after errors, at most every 100 ms. An
/// operation within that time returns the outcome of the last attempt to connect. No operation takes longer than the
/// [`deadline`](Self::deadline), and an attempt needs at most three operations: count the attempt, record its step, and
/// release the attempt if that fails. If the release fails too, or if it is unknown whether an attempt was counted, the
/// next operation of that user releases it, so faults lock no user out as long as the process runs. If the future of an
/// operation is dropped, the operation is still done completely, or not at all. The futures require a Tokio runtime
/// with I/O and timers.
///
/// # Requirements on the server
///
/// The server must not lose records early. If it does, a code that was used within the last minutes is accepted again,
/// and failures and lock-outs restart at zero.
///
/// - `maxmemory-policy noeviction`, which [`check`](Self::check) verifies. With any other policy, a flood of attempts
///   evicts used steps and lock-outs. A server that is full refuses writes, and the layer responds with 503.
/// - Replication is asynchronous, so a replica that is promoted lacks the last moments. Without persistence
///   (`appendonly yes`) a restart loses all records.
/// - The clock of the server must not jump ahead by more than records outlive their codes: by more than twenty minutes,
///   with codes of 30 seconds and the default window. Otherwise the records expire before the codes.
/// - In a cluster all keys of a user are in one slot, so the script works, but the store follows no redirections. The
///   URL must lead to a proxy that routes by key.
///
/// Records expire by the server's clock, later than they expire by the caller's clock. A lock-out never expires,
/// because only an administrator may unlock the account. The server must allow `EVAL`, `EVALSHA`, `GET`, `SET`, `DEL`,
/// `PTTL` and `PEXPIRE` on the keys of the store (`~toopher:*`), `INFO` for `check` and
/// [`is_persistent`](Self::is_persistent), and `SELECT` for a database other than 0.
///
/// The keys contain hashes of the names of users. They hide a name from a reader, and not from an attacker who tries
/// names.
#[derive(Clone)]
pub struct RedisStore {
    connector: Arc<Connector>,
    ledger: Arc<Ledger>,
    address: ConnectionAddr,
    prefix: Prefix,
    deadline: Duration,
}

impl RedisStore {
    /// A store at `url`: `redis://user:password@host:port/database`, `rediss://...` for TLS with the certificates that
    /// the system trusts, or `unix:///path?db=0&user=...&pass=...`. `valkey` may replace `redis`. The store connects
    /// when it is first used.
    ///
    /// With `rediss`, if the process has no default provider of `rustls` yet, `aws-lc-rs` becomes the default.
    ///
    /// # Errors
    ///
    /// When the URL is none of these, or the operating system provides no random numbers.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Self::with_client(url::connection_info(url)?, Client::open)
    }

    /// As [`new`](Self::new), with TLS that trusts only the certificates in `roots` (PEM), such as those of a private
    /// authority.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when the URL is not `rediss://`, or `roots` cannot be parsed or contains no
    /// certificate.
    pub fn with_roots(url: &str, roots: &[u8]) -> Result<Self, RedisError> {
        url::require_root(roots)?;
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) };
        Self::with_client(url::connection_info(url)?, |info| Client::build_with_tls(info, certificates))
    }

    fn with_client(
        info: ConnectionInfo,
        client: impl FnOnce(ConnectionInfo) -> redis::RedisResult<Client>,
    ) -> Result<Self, RedisError> {
        let address = info.addr().clone();
        let client = client(info).map_err(|_| RedisError::config("the certificates cannot be used with this URL"))?;
        let mut number = [0; 8];
        random::fill(&mut number).map_err(|_| RedisError::config("the operating system provided no random numbers"))?;
        let connector = Arc::new(Connector::new(client, u64::from_ne_bytes(number)));
        let (ledger, prefix) = (Arc::default(), Prefix::default());
        Ok(Self { connector, ledger, address, prefix, deadline: DEFAULT_DEADLINE })
    }

    /// Sets the prefix of every key. Default: `toopher`.
    ///
    /// Verifiers of the same users must have the same prefix. Two applications with different users must not: failures
    /// of a user of one application would lock out a user of the other.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless the prefix has 1 to 64 letters, digits, `-`, `_`, `.`, `:` or `/`.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        self.prefix = Prefix::new(prefix)?;
        Ok(self)
    }

    /// Sets the maximum duration of an operation, including opening a connection. Default: 1 second.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs one operation, in one atomic step, within the deadline.
    async fn run<T: Send + 'static>(&self, call: Call, parse: Parse<T>) -> Result<T, RedisError> {
        let (connector, deadline) = (Arc::clone(&self.connector), self.deadline);
        spawn_detached(async move { connector.call(&call, deadline, parse).await }).await
    }

    /// An operation on the failures and the approvals of a user.
    fn operation(&self, operation: &'static str, user: &UserId) -> Call {
        Call::new(operation, self.prefix.failures(user), self.prefix.approvals(user))
    }
}

/// Runs `work` to its end, even if the caller drops the future. So a connection that hangs is detected, although
/// callers have shorter timeouts than the deadline, and a connection that is being opened is not dropped.
async fn spawn_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, RedisError>> + Send + 'static,
) -> Result<T, RedisError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| RedisError::runtime())?;
    runtime.spawn(work).await.unwrap_or_else(|_| Err(RedisError::runtime()))
}

/// Displays the address, and no credentials.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.address.to_string())
            .field("prefix", &self.prefix.as_str())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
