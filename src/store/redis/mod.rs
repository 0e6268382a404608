mod attempts;
mod call;
mod error;
mod failures;
#[cfg(feature = "server")]
mod guard;
mod info;
mod keys;
mod link;
mod pushes;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo};

use self::attempts::Attempts;
use self::call::{Call, Read, only};
pub use self::error::RedisError;
use self::info::Info;
pub use self::keys::InvalidPrefix;
use self::keys::Prefix;
use self::link::Link;
use self::url::connection;
use super::StoreId;
use crate::{UserId, random};

/// Its code is tried as that of this documentation is.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/machines.md")]
struct Machines;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(1);

/// Keeps failures, spent steps and pushes in Redis 7 or Valkey, for all processes that serve the same users.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_toopher::TotpVerifier;
/// use tower_toopher::store::RedisStore;
/// use tower_toopher::totp::MemoryPairings;
///
/// let store = RedisStore::new("redis://:password@10.0.0.7:6379/0")?;
/// // Once, at the start: is it there, and does it forget nothing?
/// store.check().await?;
/// let verifier = TotpVerifier::new(MemoryPairings::new())?.store(store);
/// # Ok(())
/// # }
/// ```
///
/// Each verb is one script and one round trip (two when the server does not know the script yet). An attempt that
/// passes has two, and so it has behind `Approvals` over a clone of this store, where a backup code has three. Clones share
/// one connection; it is made when it is first wanted, and anew after trouble, so a server that is down now only fails what asks for it now. Between two connections there are 100 milliseconds at the least, and
/// who asks within them is told what came of the last one. No verb takes longer than the [`deadline`](Self::deadline),
/// and an attempt is up to three verbs: it is counted, its code is spent, and where that fails, it is taken back. Where that
/// fails as well, or where nobody knows whether an attempt was counted, the next one of that user takes it back, so faults
/// lock nobody out for as long as the process lives. A verb
/// whose future is dropped is done to its end nevertheless, or not at all. The futures must run in a Tokio runtime that
/// has its I/O and its timers.
///
/// # What the server must be
///
/// One that forgets nothing early. What it loses can happen again: a code that was spent within the last minutes passes
/// once more, and failures and lock-outs start from zero.
///
/// - `maxmemory-policy noeviction`, as [`check`](Self::check) sees to. Any other policy lets a flood of attempts push
///   spent codes and lock-outs out. A server that is full refuses, and the gate answers 503.
/// - Replication is asynchronous: a replica that takes over does not know the last moments. Without persistence
///   (`appendonly yes`) a restart forgets all.
/// - A clock that jumps ahead by more than records of codes outlive the codes ends the records first: by more than twenty
///   minutes, with codes of 30 seconds and the default window.
/// - In a cluster all keys of a user are in one slot, so the scripts work, but redirections are not followed: the URL
///   must lead to a proxy that routes by key.
///
/// Records end by the server's clock, later than they are over by the caller's. A lock-out has no expiry, since time
/// must not free whom only an administrator may. The server needs no rights but to `EVAL`, `EVALSHA`, `GET`, `SET`,
/// `DEL`, `PTTL` and `PEXPIRE` on its own keys (`~toopher:*`); `INFO` for `check` and `keeps_a_log`, and `SELECT` for a database that is
/// not 0.
///
/// Names of users stand in the keys as hashes, which hide them from a glance and not from one who tries names.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    attempts: Arc<Attempts>,
    address: ConnectionAddr,
    prefix: Prefix,
    id: StoreId,
    deadline: Duration,
}

impl RedisStore {
    /// A store at `url`: `redis://user:password@host:port/database`, or `unix:///path?db=0&user=…&pass=…`; with the
    /// feature `redis-tls` also `rediss://…`, which trusts the certificates that the system trusts. `valkey` in place of
    /// `redis` is as good. It connects when it is first used.
    ///
    /// With `rediss` and no default provider of `rustls` in the process yet, `aws-lc-rs` becomes that.
    ///
    /// # Errors
    ///
    /// When the URL is none of these, or the operating system has no random numbers to give.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Self::at(connection(url)?, Client::open)
    }

    /// The same, with TLS that trusts the certificates in `roots` (PEM) alone, such as those of a private authority.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and when the URL has no `rediss://`, or `roots` cannot be read or has no certificate.
    #[cfg(feature = "redis-tls")]
    pub fn with_roots(url: &str, roots: &[u8]) -> Result<Self, RedisError> {
        url::need_a_certificate(roots)?;
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) };
        Self::at(connection(url)?, |info| Client::build_with_tls(info, certificates))
    }

    fn at(
        info: ConnectionInfo,
        open: impl FnOnce(ConnectionInfo) -> redis::RedisResult<Client>,
    ) -> Result<Self, RedisError> {
        let address = info.addr().clone();
        let client = open(info).map_err(|_| RedisError::url("these certificates cannot be used at this URL"))?;
        let mut number = [0; 8];
        random::fill(&mut number).map_err(|_| RedisError::url("the operating system gave no random numbers"))?;
        let link = Arc::new(Link::new(client, u64::from_ne_bytes(number)));
        Ok(Self {
            link,
            attempts: Arc::default(),
            address,
            prefix: Prefix::default(),
            id: StoreId::new(),
            deadline: DEFAULT_DEADLINE,
        })
    }

    /// Sets what every key begins with. Default: `toopher`.
    ///
    /// Verifiers of the same users must have the same. Two applications with users of their own must not: a user of one
    /// would be locked out by failures at the other.
    ///
    /// # Errors
    ///
    /// [`InvalidPrefix`] unless it has 1 to 64 letters, digits, `-`, `_`, `.`, `:` or `/`.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, InvalidPrefix> {
        self.prefix = Prefix::new(prefix)?;
        // Clones from before it keep nothing of what is kept under it.
        self.id = StoreId::new();
        Ok(self)
    }

    /// Sets how long a verb may take, with the connection that it may have to make. Default: 1 second.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Looks whether the server is there, runs the script, and may be written to: it sets, reads and removes a key of
    /// its own (`PREFIX:{}`), which a replica, a server that is full, and one that wants replicas refuse, as well as
    /// missing rights. And whether it forgets nothing under pressure.
    ///
    /// It is as things are now. What is on the disk is not looked at: see [`keeps_a_log`](Self::keeps_a_log).
    ///
    /// # Errors
    ///
    /// When one of that is not so, or cannot be told.
    pub async fn check(&self) -> Result<(), RedisError> {
        let (link, deadline) = (Arc::clone(&self.link), self.deadline);
        let nobody = format!("{}:{{}}", self.prefix.as_str());
        let check = Call::new("check", nobody.clone(), nobody);
        in_the_background(async move {
            link.call(&check, deadline, |word, rest| only("checked", word, rest)).await?;
            let memory = Info::of(&link, "memory", deadline).await?;
            let policy = memory.value("maxmemory_policy")?;
            let bounded = memory.value("maxmemory")? != "0";
            if bounded && policy != "noeviction" { Err(RedisError::evicts(policy)) } else { Ok(()) }
        })
        .await
    }

    /// Whether the server writes what it is told to a log (`appendonly yes`), without which a restart forgets spent
    /// codes and lock-outs. It does not say how soon that is on the disk (`appendfsync`).
    ///
    /// Worth a warning at the start, where a restart is not meant to forget; no error of [`check`](Self::check), since
    /// some keep what matters by replicas instead.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub async fn keeps_a_log(&self) -> Result<bool, RedisError> {
        let (link, deadline) = (Arc::clone(&self.link), self.deadline);
        in_the_background(
            async move { Ok(Info::of(&link, "persistence", deadline).await?.value("aof_enabled")? == "1") },
        )
        .await
    }

    /// One verb, in one step, within the deadline.
    async fn run<T: Send + 'static>(&self, call: Call, read: Read<T>) -> Result<T, RedisError> {
        let (link, deadline) = (Arc::clone(&self.link), self.deadline);
        in_the_background(async move { link.call(&call, deadline, read).await }).await
    }

    /// A verb on the failures and the pushes of a user.
    fn verb(&self, verb: &'static str, user: &UserId) -> Call {
        Call::new(verb, self.prefix.failures(user), self.prefix.pushes(user))
    }
}

/// To its end, even if the caller no longer waits: a connection that hangs is then found out although its callers are
/// less patient than the deadline, and one that is being made is not thrown away.
async fn in_the_background<T: Send + 'static>(
    work: impl Future<Output = Result<T, RedisError>> + Send + 'static,
) -> Result<T, RedisError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| RedisError::runtime())?;
    runtime.spawn(work).await.unwrap_or_else(|_| Err(RedisError::runtime()))
}

/// Where it is, and nothing that opens it.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.address.to_string())
            .field("prefix", &self.prefix.as_str())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
