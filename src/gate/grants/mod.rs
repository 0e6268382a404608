//! Grants: the signed proof that a factor was shown a while ago.
//!
//! Without grants each request that the gate guards needs a factor of its own. With them the gate, after a success,
//! gives the client a grant, and a later request with it may pass unasked. **The route decides, not the grant**: how
//! long ago the factor may have been shown ([`ToopherLayer::max_age`](crate::ToopherLayer::max_age), zero unless it is
//! set), and for which actions ([`ToopherLayer::covered_by`](crate::ToopherLayer::covered_by), its own unless it is
//! set).
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_toopher::gate::grants::SealingKey;
//! use tower_toopher::{Attempt, DenyReason, Factor, Grants, ToopherLayer, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! /// What the first factor has loaded, and put into the request's extensions.
//! #[derive(Clone)]
//! struct Login { session: Arc<str>, epoch: u64 }
//!
//! let grants = Grants::new(
//!     SealingKey::generate()?,
//!     |parts| Some(parts.extensions.get::<Login>()?.session.clone()),
//!     |parts, _user| Some(parts.extensions.get::<Login>()?.epoch),
//! );
//! # let verifier = service_fn(|attempt: Attempt| async move {
//! #     Ok::<_, Infallible>(match attempt.otp() {
//! #         Some(otp) if otp.as_str() == "081804" => Verdict::Granted(Factor::Totp),
//! #         _ => Verdict::Denied(DenyReason::OtpRequired),
//! #     })
//! # });
//! # let app = service_fn(|_: Request<Full<Bytes>>| async {
//! #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("in")))
//! # });
//! let gate = ToopherLayer::new(verifier).grants(grants);
//! let read = gate.clone().action("read").max_age(Duration::from_secs(15 * 60)).covered_by(["pay"]).layer(app.clone());
//! let pay = gate.action("pay").layer(app);
//!
//! let login = Login { session: "d1f5c2".into(), epoch: 7 };
//! let alice = || Request::builder().extension(UserId::new("alice").unwrap()).extension(login.clone());
//! let response = pay.clone().oneshot(alice().header("Toopher-OTP", "081804").body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! // `__Host-second-factor=…; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Strict`
//! let set = response.headers()["set-cookie"].to_str()?;
//! let cookie = set.split(';').next().unwrap();
//!
//! let again = || alice().header("Cookie", cookie).body(Full::default());
//! assert_eq!(read.clone().oneshot(again()?).await?.status(), StatusCode::OK);
//! // This route wants a factor for each request.
//! assert_eq!(pay.oneshot(again()?).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # What a grant is
//!
//! It says which factors were shown, for which actions and when: the latest of each action, eight at the most. It is
//! sealed (XChaCha20-Poly1305), so the client can neither read nor alter it, and opens only for the same user, the same
//! session and the same epoch. A grant that does not count, for whatever reason, is no error: the request is taken as
//! one without, and a factor is asked for.
//!
//! - **Only a factor that was verified for this request leads to one**: not a grant, so that nothing is renewed without
//!   a factor; not a request that was skipped, or let pass without one; and no user who was only [named in a
//!   form](crate::ToopherLayer::identify_by_form), since no first factor was shown yet. The factors of the grant that
//!   the request came with are in the new one, too, and as old as they are.
//! - The inner service's response carries it, whatever its status. A response that sets the same cookie by itself is
//!   left as it is. In a cookie or a header, `Cache-Control` becomes `no-store`, since what is in it is for one client.
//! - Where it cannot be made (no session, no epoch, no random numbers, or a [factor](crate::Factor::Other) whose name is
//!   longer than 32 bytes) the request goes on without.
//!
//! # One gate in another
//!
//! Each goes by its own rules: what an outer gate takes may be too old for an inner one, which then asks. A code in the
//! request is left for it. Where both have to be shown a factor, a code in a *form* stays in the form, so that the inner
//! one finds the code that the outer one has spent, and refuses it as used: have such routes take codes from a header, or
//! put them behind one gate. Where both were shown a factor for one request, the grant of the inner one is kept.
//! Behind a [forward-auth](crate::Profile::ForwardAuth) proxy, the proxy must hand `Set-Cookie` on.
//!
//! # What ends it
//!
//! Its age: [`lifetime`](Grants::lifetime), whatever a route says. The session: with another name of it the grant does
//! not open. The epoch, for all grants of a user at once: move it when factors are enrolled or removed, when a password
//! is changed, and for "log out everywhere". Keys: what was sealed with a forgotten one does not open. Taking the
//! cookie away ([`clear_cookie`](Grants::clear_cookie)) ends the one copy that the browser has, and no other.
//!
//! # What a thief can do
//!
//! Whoever has taken over the session **and** has the grant needs no second factor while the grant is fresh enough: it
//! is the price of not being asked. The grant alone opens nothing, as it names no user; neither does the session alone.

mod carrier;
mod epoch;
mod grant;
mod issue;
mod sealed;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderName, HeaderValue};

pub use self::carrier::SameSite;
use self::carrier::{Carrier, Place};
pub use self::epoch::Epoch;
pub use self::grant::Grant;
pub(super) use self::issue::{Issued, Issuing};
use crate::UserId;
use crate::seal::Keys;
pub use crate::seal::{InvalidSealingKey, SealingKey};

/// Issues grants and reads them: see the [module docs](crate::gate::grants).
///
/// Clones share everything; a handler keeps one to [end](Self::clear_cookie) or to [make](Self::issue) a grant by
/// itself.
#[derive(Clone)]
#[must_use]
pub struct Grants(Arc<Setup>);

type FindSession = dyn Fn(&Parts) -> Option<Arc<str>> + Send + Sync;
type FindEpoch = dyn Fn(&Parts, &UserId) -> Option<Epoch> + Send + Sync;

#[derive(Clone)]
struct Setup {
    keys: Keys,
    session: Arc<FindSession>,
    epoch: Arc<FindEpoch>,
    carrier: Carrier,
    lifetime: Duration,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Grants {
    /// Grants that are sealed with `key` and bound to a session and an epoch, in a cookie `__Host-second-factor`.
    ///
    /// `key` is for this application alone: one that has the same key, and the same names for users and sessions, takes
    /// the grants of the other one.
    ///
    /// `session` names the session, as the application knows it. It must be a name that survives until the factor is to
    /// be forgotten, and that nobody else has: with a constant, a grant that was stolen from one browser serves in
    /// every other session of the same user. Where the id of a session changes at login, bind to a value inside the
    /// session, or [issue](Self::issue) the grant after the change.
    ///
    /// `epoch` says what, once it has changed, ends all grants of the user: a counter in the user table, say, which
    /// code outside the gate has loaded with the user. With a constant, a stolen grant outlives the change of password
    /// and authenticator.
    ///
    /// Where either says nothing, or the name of the session is empty, no grant is issued and none is accepted.
    pub fn new<E: Into<Epoch>>(
        key: SealingKey,
        session: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static,
        epoch: impl Fn(&Parts, &UserId) -> Option<E> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Setup {
            keys: Keys { seals: key, opens: None },
            session: Arc::new(session),
            epoch: Arc::new(move |parts, user| epoch(parts, user).map(Into::into)),
            carrier: Carrier::default(),
            lifetime: Duration::from_secs(15 * 60),
            clock: Arc::new(SystemTime::now),
        }))
    }

    /// Accepts grants that were sealed with `key`, too, while a key is replaced. Default: only those of the key that
    /// seals.
    ///
    /// Where there are several processes, first let all of them accept the new key as the previous one, then seal with
    /// it, and forget the old one once [`lifetime`](Self::lifetime) is over; at once, if it was stolen: whoever has it
    /// makes grants for every session and epoch that they know.
    pub fn previous_key(self, key: SealingKey) -> Self {
        self.change(|setup| setup.keys.opens = Some(key))
    }

    /// Carries grants in the cookie `name`. Default: `__Host-second-factor`, for which browsers see to it that only
    /// this host sets it, over TLS. It is always `Secure`, `HttpOnly` and `Path=/`, and never has a `Domain`. Without
    /// TLS browsers keep it on `localhost` only.
    ///
    /// A name without `__Host-` lets other hosts of the domain, and whoever is in the way of one request without TLS,
    /// set a cookie of that name. They gain nothing by it, but of two cookies none counts: users are asked for a factor
    /// each time.
    ///
    /// # Panics
    ///
    /// When it is not a token (RFC 9110 section 5.6.2) of 64 characters at the most.
    pub fn cookie(self, name: &str) -> Self {
        self.change(|setup| setup.carrier.place = Place::cookie(name))
    }

    /// Sets `SameSite` of the cookie. Default: [`SameSite::Strict`].
    pub fn same_site(self, same_site: SameSite) -> Self {
        self.change(|setup| setup.carrier.same_site = same_site)
    }

    /// Carries grants in the header `name`, both ways, for clients that are no browsers. Default: in a cookie.
    ///
    /// Two lines of it count as none. The header goes on to the inner service: keep it out of logs.
    pub fn header(self, name: HeaderName) -> Self {
        self.change(|setup| setup.carrier.place = Place::Header(name))
    }

    /// Carries grants in the extensions of requests as [`Grant`], for applications that keep them in a session of their
    /// own. Default: in a cookie.
    ///
    /// Code outside the gate takes the grant out of the session and inserts it. After a success the request that
    /// reaches the handler has the new one in its extensions, which the handler stores. See `examples/sessions.rs`.
    pub fn in_extensions(self) -> Self {
        self.change(|setup| setup.carrier.place = Place::Extensions)
    }

    /// Sets how long a factor counts at the most, whatever a route's [`max_age`](crate::ToopherLayer::max_age) is.
    /// Default: 15 minutes; set it to the longest `max_age` that there is. The longer, the longer a stolen grant is of
    /// use on the most lenient route.
    pub fn lifetime(self, time: Duration) -> Self {
        self.change(|setup| setup.lifetime = time)
    }

    /// Sets the clock. Default: `SystemTime::now`. Whoever can set it back can make grants last longer.
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|setup| setup.clock = Arc::new(now))
    }

    /// `Set-Cookie` that takes the cookie away from the browser, for a log-out. None where grants are not in a cookie.
    ///
    /// It ends no copy that somebody else has; the end of the session and a new epoch do.
    #[must_use]
    pub fn clear_cookie(&self) -> Option<HeaderValue> {
        self.0.carrier.set_cookie("", Duration::ZERO)
    }

    /// `Set-Cookie` that gives `grant` to the browser. None where grants are not in a cookie.
    ///
    /// It is for grants that a handler has [made](Self::issue) by itself. The response should not be stored by any
    /// cache.
    #[must_use]
    pub fn set_cookie(&self, grant: &Grant) -> Option<HeaderValue> {
        self.0.carrier.set_cookie(grant.as_str(), self.0.lifetime)
    }

    pub(super) fn max_age(&self) -> Duration {
        self.0.lifetime
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    fn change(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("carrier", &self.0.carrier)
            .field("lifetime", &self.0.lifetime)
            .finish_non_exhaustive()
    }
}
