//! The wrapper around a verifier that can request approvals.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::config::{Config, SecondRequest};
use super::error::ApprovalError;
use super::limiter::WaitLimiter;
use crate::crypto::{KeyRing, NoRandomness, SealingKey};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::store::{ApprovalLimit, ApprovalStore, MemoryStore, Throttle};
use crate::time::Clock;
use crate::verify::{Attempt, BoxError, Verdict};

/// The default of [`Approvals::max_waiting`].
const MAX_WAITING: usize = 20_000;

/// Requests approvals from users through a verifier, within limits: see the [module docs](crate::approvals).
///
/// `V` is the verifier, `S` the store of pending approvals. Clones share the store and the limits. Put concurrency
/// limits *inside*, around `V`: a request that waits would keep a permit of a limit outside.
#[must_use]
pub struct Approvals<V, S = MemoryStore> {
    pub(super) verifier: V,
    pub(super) store: Arc<S>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) config: Arc<Config>,
    pub(super) limiter: Arc<WaitLimiter>,
}

impl<V> Approvals<V> {
    /// Requests approvals through `verifier`, with a [`MemoryStore`] and a key that end with the process.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when the operating system provides no random numbers.
    pub fn new(verifier: V) -> Result<Self, NoRandomness> {
        Ok(Self {
            verifier,
            store: Arc::default(),
            keys: Arc::new(KeyRing::new("tower-toopher approvals", &SealingKey::generate()?)),
            config: Arc::default(),
            limiter: Arc::new(WaitLimiter::new(MAX_WAITING)),
        })
    }
}

impl<V, S> Approvals<V, S> {
    /// Sets the store of pending approvals. Default: a new [`MemoryStore`].
    ///
    /// Use the store in which the verifier of OTPs counts failures. Then a user who is locked out there cannot use
    /// approvals either.
    pub fn store<S2: ApprovalStore>(self, store: S2) -> Approvals<V, S2> {
        let Self { verifier, keys, config, limiter, .. } = self;
        Approvals { verifier, store: Arc::new(store), keys, config, limiter }
    }

    /// Sets the key that encrypts approval tokens. Default: a key that is generated at the start, so that tokens become
    /// invalid when the process ends.
    ///
    /// An attacker who has the key can read and create tokens, and so learn the ids of approvals. A created token is
    /// granted no request, because the store knows which approval was requested for which request.
    pub fn key(mut self, key: SealingKey) -> Self {
        Arc::make_mut(&mut self.keys).set_current(&key);
        self
    }

    /// Also accepts tokens that were encrypted with `key`, while a key is replaced. Default: none.
    ///
    /// With several processes, first make all of them accept the new key as the previous one, then encrypt with it, and
    /// remove the old one after [`lifetime`](Self::lifetime).
    pub fn previous_key(mut self, key: SealingKey) -> Self {
        Arc::make_mut(&mut self.keys).set_previous(&key);
        self
    }

    /// Sets how long an approval is pending. A decision that is fetched later is ignored, even if the user made it in
    /// time. Default: 2 minutes. A longer lifetime extends the use of a token to an attacker who steals it with the
    /// session.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        self.change(|config| config.lifetime = lifetime)
    }

    /// Sets the maximum time that a request waits for the decision, whatever `Prefer: wait` is. Default: 30 seconds.
    /// With zero no request waits. The timeouts of proxies must be longer.
    pub fn max_wait(self, wait: Duration) -> Self {
        self.change(|config| config.max_wait = wait)
    }

    /// Sets how many requests, and event streams of the status service, wait at the same time. Default: 20,000, and at
    /// most four of one user. Further requests receive a response at once, and further event streams receive 503. Each
    /// waiting request takes about 3 KB (2,777 bytes with ten thousand of them, as `tests/allocations.rs` measures) and
    /// keeps its body in memory. It holds no thread, and nothing of the inner service.
    pub fn max_waiting(self, requests: usize) -> Self {
        Self { limiter: Arc::new(WaitLimiter::new(requests)), ..self }
    }

    /// Sets how often the verifier is called while a request waits, and `Retry-After` if the verifier does not set it.
    /// Default: every 2 seconds. The minimum is 100 milliseconds.
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.change(|config| config.poll_interval = interval)
    }

    /// Sets what happens to a second request of a user while an approval is pending. Default: [`SecondRequest::Join`].
    pub fn second_request(self, second: SecondRequest) -> Self {
        self.change(|config| config.second_request = second)
    }

    /// Sets how many approvals of a user are requested between two successes. Default: [`ApprovalLimit::default`].
    /// After that, requests must contain an OTP.
    pub fn limit(self, limit: ApprovalLimit) -> Self {
        self.change(|config| config.limit = limit)
    }

    /// Sets the limits on failures: those of the verifier of OTPs that shares the store. Default:
    /// [`Throttle::default`].
    pub fn throttle(self, throttle: Throttle) -> Self {
        self.change(|config| config.throttle = throttle)
    }

    /// Sets the path of the [`status`](Self::status) service, for `Location`: `/approvals` if the service is at
    /// `/approvals/{token}`. Default: there is no status service, and no `Location`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless the path begins with `/` and consists of printable ASCII characters without `"`, `\`, `?`
    /// and `#`.
    pub fn status_path(self, path: &str) -> Result<Self, ConfigError> {
        let is_valid = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'?' | b'#');
        if !path.starts_with('/') || !path.bytes().all(is_valid) {
            return Err(ConfigError::new(ConfigErrorKind::StatusPath));
        }
        let path = path.trim_end_matches('/').into();
        Ok(self.change(|config| config.status_path = Some(path)))
    }

    /// Sets the clock. Default: the system clock. An attacker who can set it back extends the lifetime of approvals.
    pub fn clock(self, clock: impl Into<Clock>) -> Self {
        self.change(|config| config.clock = clock.into())
    }

    /// How many further requests and event streams can wait.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.limiter.available_permits()
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<V, S> Service<Attempt> for Approvals<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: ApprovalStore,
{
    type Response = Verdict;
    type Error = ApprovalError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, ApprovalError>> + Send>>;

    /// Always ready. The verifier is driven to readiness on a clone when it is called.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ApprovalError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut this = self.clone();
        Box::pin(async move { this.verify(attempt).await })
    }
}

impl<V: Clone, S> Clone for Approvals<V, S> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            store: Arc::clone(&self.store),
            keys: Arc::clone(&self.keys),
            config: Arc::clone(&self.config),
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<V: fmt::Debug, S> fmt::Debug for Approvals<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals")
            .field("verifier", &self.verifier)
            .field("lifetime", &self.config.lifetime)
            .field("max_wait", &self.config.max_wait)
            .field("second_request", &self.config.second_request)
            .field("limit", &self.config.limit)
            .finish_non_exhaustive()
    }
}
