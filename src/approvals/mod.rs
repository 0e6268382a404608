//! Approvals on a person's phone: asked for once, waited for, bound to one request, and redeemed once.
//!
//! [`Approvals`] stands around a verifier that can ask a person, such as
//! [`ToopherVerifier`](https://docs.rs/tower-toopher/latest/tower_toopher/struct.ToopherVerifier.html), and in a gate
//! that [allows it](crate::ToopherLayer::approvals):
//!
//! 1. A request without an OTP has the phone asked, and is answered with 202. The answer carries a *challenge*, in the
//!    header `Toopher-Challenge` and in the body, and `Retry-After`.
//! 2. The client sends **the same request** again with the challenge (in the header `Toopher-Challenge`, or in the field
//!    `toopher_challenge` of its form) until it is not answered with 202 any more; or with an OTP, which decides at once.
//!    With `Prefer: wait=20` (RFC 7240) the request is held until there is an answer, for so many seconds at the most.
//! 3. Allowed: one request passes. Denied: 401. Everything else, be it a challenge that is altered, another user's, of
//!    another session or for another request, over, or used, is 401 `challenge_invalid`.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_toopher::{
//!     Approval, ApprovalId, Approvals, Attempt, DenyReason, Factor, Pending, ToopherLayer, UserId, Verdict,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! #[derive(Clone)]
//! struct SessionId(std::sync::Arc<str>);
//!
//! static ALLOWED: AtomicBool = AtomicBool::new(false);
//! // A verifier that asks a person in its own way.
//! let verifier = service_fn(|attempt: Attempt| async move {
//!     Ok::<_, Infallible>(match attempt.approval() {
//!         Approval::Wanted => Pending::new().with_id(ApprovalId::new("request 1").unwrap()).into(),
//!         Approval::Asked(id) if id.as_str() == "request 1" => match ALLOWED.load(Ordering::SeqCst) {
//!             true => Verdict::Granted(Factor::Push),
//!             false => Pending::new().into(),
//!         },
//!         _ => Verdict::Denied(DenyReason::OtpRequired),
//!     })
//! });
//! let app = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("paid")))
//! });
//! let gate = ToopherLayer::new(Approvals::new(verifier)?)
//!     // What the application knows its sessions by. Whatever reads the cookie puts it there.
//!     .approvals(|parts| parts.extensions.get::<SessionId>().map(|session| session.0.clone()));
//! let guarded = gate.layer(app);
//!
//! let session = SessionId("d1f5c2".into());
//! let pay = || Request::post("/pay").extension(session.clone()).extension(UserId::new("alice").unwrap());
//! let response = guarded.clone().oneshot(pay().body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::ACCEPTED);
//! let challenge = response.headers()["toopher-challenge"].clone();
//!
//! ALLOWED.store(true, Ordering::SeqCst);
//! let again = || pay().header("toopher-challenge", &challenge).body(Full::default());
//! assert_eq!(guarded.clone().oneshot(again()?).await?.status(), StatusCode::OK);
//! // It is used now.
//! assert_eq!(guarded.clone().oneshot(again()?).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # What a thief with the password can do
//!
//! - Ask the phone, [so many times](Approvals::budget) until the user has logged in, one question at a time. That the
//!   user may say yes to it is the weakness of all approvals; let the site show a number that the phone asks for
//!   ([`Pending::number`](crate::Pending::number)) where the verifier can.
//! - Keep the user's one place taken, so that they have to type an OTP. They can always do that.
//! - Not: use an approval that the user was asked for in a session of their own.
//!
//! # One gate in another
//!
//! A request carries one challenge. Where two gates on its way want approvals for different actions, the inner one is never
//! satisfied; let one of them take an OTP.
//!
//! # Several processes
//!
//! They must share [the key](Approvals::key) and [the store](Approvals::store): a store in memory makes every challenge of
//! another process an unknown one.

mod error;
mod events;
mod places;
mod policy;
mod sealed;
mod status;
mod verify;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tower_service::Service;

pub use self::error::ApprovalError;
use self::places::Places;
use self::policy::Policy;
pub use self::policy::SecondRequest;
pub use self::status::{ApprovalStatus, StatusBody, StatusFuture};
use crate::random::NoRandomness;
use crate::seal::Keys;
pub use crate::seal::{InvalidSealingKey, SealingKey};
use crate::store::{MemoryStore, PushBudget, PushStore, Throttle};
use crate::{Attempt, BoxError, Verdict};

const MOST_HELD: usize = 20_000;

/// Asks people for approval through a verifier that can, within bounds: see the [module docs](crate::approvals).
///
/// `V` is the verifier, `S` what remembers the approvals that are waited for. Clones share all of it. Limits on
/// concurrency belong *inside*, around `V`: a request that is held would keep a permit of one outside for as long.
#[must_use]
pub struct Approvals<V, S = MemoryStore> {
    verifier: V,
    store: Arc<S>,
    keys: Arc<Keys>,
    policy: Arc<Policy>,
    held: Arc<Places>,
}

impl<V> Approvals<V> {
    /// Approvals by `verifier`, with a [`MemoryStore`] and a key that end with the process.
    ///
    /// # Errors
    ///
    /// When the operating system has no random numbers to give.
    pub fn new(verifier: V) -> Result<Self, NoRandomness> {
        Ok(Self {
            verifier,
            store: Arc::default(),
            keys: Arc::new(Keys { seals: SealingKey::generate()?, opens: None }),
            policy: Arc::default(),
            held: Arc::new(Places::new(MOST_HELD)),
        })
    }
}

impl<V, S> Approvals<V, S> {
    /// Sets what remembers the approvals that are waited for. Default: a [`MemoryStore`] of its own.
    ///
    /// Give it the store that counts wrong OTPs, where there is one: whoever is locked out there is then not let in by
    /// way of the phone. Let it be a clone of the one that
    /// [`TotpVerifier`](https://docs.rs/tower-toopher/latest/tower_toopher/struct.TotpVerifier.html) has, which forgets the
    /// user's pushes in the step in which it spends a code: where it is not, they are forgotten by one more call.
    pub fn store<S2: PushStore>(self, store: S2) -> Approvals<V, S2> {
        let Self { verifier, keys, policy, held, .. } = self;
        Approvals { verifier, store: Arc::new(store), keys, policy, held }
    }

    /// Sets the key that challenges are sealed with. Default: one that is made at the start, so that challenges do not
    /// outlive the process.
    ///
    /// Whoever knows it can read and make challenges, and so learn the ids of approvals. One that they have made passes
    /// nothing: the store knows which approval was asked for which request.
    pub fn key(self, key: SealingKey) -> Self {
        Self { keys: Arc::new(Keys { seals: key, opens: None }), ..self }
    }

    /// As [`key`](Self::key), while a key is replaced: challenges are sealed with `key`, and those that were sealed with
    /// `previous` are accepted too. Where there are several processes, first let all of them accept the new key as the
    /// previous one, then seal with it, and forget the old one once [`lifetime`](Self::lifetime) is over.
    pub fn keys(self, key: SealingKey, previous: SealingKey) -> Self {
        Self { keys: Arc::new(Keys { seals: key, opens: Some(previous) }), ..self }
    }

    /// Sets how long an approval is waited for; one that is fetched later counts for nothing, even if it was given in
    /// time. Default: 2 minutes. The longer, the longer a challenge is of use to a thief who steals the session with it.
    pub fn lifetime(self, time: Duration) -> Self {
        self.change(|policy| policy.lifetime = time)
    }

    /// Sets how long a request is held at the most, whatever `Prefer: wait` says. Default: 30 seconds; zero holds none.
    /// Proxies in front must wait longer than this.
    pub fn longest_wait(self, wait: Duration) -> Self {
        self.change(|policy| policy.longest_wait = wait)
    }

    /// Sets how many requests, and listeners of the status service, wait at once. Default: 20,000, and never more than
    /// four of one user. Beyond it requests are answered at once, as if they had not asked to be held, and listeners with
    /// 503. Each request that is held takes about 3 KB (2,777 bytes with ten thousand held, counted by
    /// `tests/approvals_waiting.rs`) and keeps its body in memory; it holds no thread, and nothing of the inner service.
    pub fn most_held(self, requests: usize) -> Self {
        Self { held: Arc::new(Places::new(requests)), ..self }
    }

    /// Sets how often the verifier is asked while a request is held, and `Retry-After` where the verifier has no opinion.
    /// Default: every 2 seconds; less than 100 milliseconds count as that.
    pub fn poll_every(self, pause: Duration) -> Self {
        self.change(|policy| policy.poll_every = pause)
    }

    /// Sets what becomes of a second request of a user while the first one is waited for. Default:
    /// [`SecondRequest::Join`].
    pub fn second_request(self, second: SecondRequest) -> Self {
        self.change(|policy| policy.second = second)
    }

    /// Sets how often a phone is asked between two successes. Default: [`PushBudget::default`]. Beyond it requests must
    /// bring an OTP.
    pub fn budget(self, budget: PushBudget) -> Self {
        self.change(|policy| policy.budget = budget)
    }

    /// Sets how failures slow a user down: the same as that of the verifier of OTPs which shares the store. Default:
    /// [`Throttle::default`].
    pub fn throttle(self, throttle: Throttle) -> Self {
        self.change(|policy| policy.throttle = throttle)
    }

    /// Says under which path [`status`](Self::status) is mounted, for `Location`: `/approvals` where it is at
    /// `/approvals/{challenge}`. Default: it is not, and there is no `Location`.
    ///
    /// # Panics
    ///
    /// When it is not a path of printable ASCII characters that begins with `/`, without quotes and backslashes.
    pub fn status_at(self, path: &str) -> Self {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'?' | b'#');
        assert!(path.starts_with('/') && path.bytes().all(plain), "{path:?} is not a plain absolute path");
        let path = path.trim_end_matches('/').into();
        self.change(|policy| policy.status_path = Some(path))
    }

    /// Sets the clock. Default: `SystemTime::now`. Whoever can set it back can make approvals last longer.
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.clock = Arc::new(now))
    }

    /// How many more requests and listeners can wait.
    #[must_use]
    pub fn places_left(&self) -> usize {
        self.held.left()
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<V: Clone, S> Approvals<V, S> {
    /// A service that tells a page how it stands with its approval: see [`ApprovalStatus`].
    pub fn status(&self) -> ApprovalStatus<V, S> {
        ApprovalStatus::new(self.clone())
    }
}

impl<V, S> Service<Attempt> for Approvals<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    V::Error: Into<BoxError>,
    V::Future: Send,
    S: PushStore,
{
    type Response = Verdict;
    type Error = ApprovalError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, ApprovalError>> + Send>>;

    /// Always ready. The verifier is made ready on a clone, when it is asked.
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
            policy: Arc::clone(&self.policy),
            held: Arc::clone(&self.held),
        }
    }
}

impl<V: fmt::Debug, S> fmt::Debug for Approvals<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals")
            .field("verifier", &self.verifier)
            .field("lifetime", &self.policy.lifetime)
            .field("longest_wait", &self.policy.longest_wait)
            .field("second_request", &self.policy.second)
            .field("budget", &self.policy.budget)
            .finish_non_exhaustive()
    }
}
