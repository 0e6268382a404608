use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::grant::Grant;
use super::transport::{GrantLocation, GrantTransport, SameSite};
use crate::crypto::{KeyRing, SealingKey};
use crate::error::ConfigError;
use crate::time::Clock;

/// Issues grants and verifies them: see the [module docs](crate::middleware::grants).
///
/// Clones share all settings. A handler keeps a clone to [clear](Self::clear_cookie) or to [issue](Self::issue) a
/// grant.
#[derive(Clone)]
#[must_use]
pub struct Grants(Arc<Config>);

#[derive(Clone)]
struct Config {
    keys: KeyRing,
    transport: GrantTransport,
    lifetime: Duration,
    clock: Clock,
}

impl Grants {
    /// Grants that are encrypted with `key`, in a cookie `__Host-second-factor`.
    ///
    /// They are bound to the [`SessionId`](crate::verify::SessionId) and the [`Epoch`](super::Epoch) in the request's
    /// extensions. Without both of them, no grant is issued and none is accepted.
    ///
    /// The session id must be unique to the session and must not change as long as the factor should be reusable. If it
    /// is a constant, a stolen grant is valid in every other session of the same user. If the id changes at login, use
    /// a value inside the session, or [issue](Self::issue) the grant after the change. If the epoch is a constant, a
    /// stolen grant survives a change of the password and the authenticator.
    ///
    /// Use `key` for this application only. Another application with the same key, and the same names of users and
    /// sessions, accepts the grants of this one.
    pub fn new(key: SealingKey) -> Self {
        Self(Arc::new(Config {
            keys: KeyRing::new("tower-toopher grants", &key),
            transport: GrantTransport::default(),
            lifetime: Duration::from_secs(15 * 60),
            clock: Clock::default(),
        }))
    }

    /// Also accepts grants that were encrypted with `key`, while a key is replaced. Default: none.
    ///
    /// With several processes, first make all of them accept the new key as the previous one, then encrypt with it, and
    /// remove the old one after [`lifetime`](Self::lifetime). Remove a stolen key at once: an attacker who has it can
    /// forge grants for every known session and epoch.
    pub fn previous_key(self, key: SealingKey) -> Self {
        self.change(|config| config.keys.set_previous(&key))
    }

    /// Keeps grants in the cookie `name`. Default: `__Host-second-factor`, which browsers accept from this host only,
    /// over TLS. The cookie is always `Secure`, `HttpOnly` and `Path=/`, and never has a `Domain`. Without TLS browsers
    /// store it for `localhost` only.
    ///
    /// Without `__Host-`, other hosts of the domain, and an attacker who can modify one request without TLS, can set a
    /// cookie of that name. They gain no access, but of two cookies neither is used, so users must show a factor each
    /// time.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is not a token (RFC 9110 section 5.6.2) of at most 64 characters.
    pub fn cookie(self, name: &str) -> Result<Self, ConfigError> {
        let location = GrantLocation::cookie(name)?;
        Ok(self.change(|config| config.transport.location = location))
    }

    /// Sets `SameSite` of the cookie. Default: [`SameSite::Strict`].
    pub fn same_site(self, same_site: SameSite) -> Self {
        self.change(|config| config.transport.same_site = same_site)
    }

    /// Transports grants in the header `name`, in both directions, for clients that are not browsers. Default: a
    /// cookie.
    ///
    /// Of two lines neither is used. The header is forwarded to the inner service: keep it out of logs.
    pub fn header(self, name: HeaderName) -> Self {
        self.change(|config| config.transport.location = GrantLocation::Header(name))
    }

    /// Keeps grants in the extensions of requests as [`Grant`], for applications that store them in their own sessions.
    /// Default: a cookie.
    ///
    /// Code outside the layer reads the grant from the session and inserts it. After a success the request that reaches
    /// the handler has the new one in its extensions, and the handler stores it. See the example `sessions`.
    pub fn in_extensions(self) -> Self {
        self.change(|config| config.transport.location = GrantLocation::Extensions)
    }

    /// Sets the maximum age of a factor, whatever a route's [`max_age`](crate::ToopherLayer::max_age) is. Default: 15
    /// minutes. Set it to the longest `max_age` of all routes. A long lifetime extends the use of a stolen grant on the
    /// most lenient route.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        self.change(|config| config.lifetime = lifetime)
    }

    /// Sets the clock. Default: the system clock. A clock that is set back extends the validity of grants.
    pub fn clock(self, clock: impl Into<Clock>) -> Self {
        self.change(|config| config.clock = clock.into())
    }

    /// The value of `Set-Cookie` that deletes the cookie in the browser, for a logout. `None` if grants are not in a
    /// cookie.
    ///
    /// It does not invalidate stolen copies. The end of the session and a new epoch do.
    #[must_use]
    pub fn clear_cookie(&self) -> Option<HeaderValue> {
        self.0.transport.set_cookie("", Duration::ZERO)
    }

    /// The value of `Set-Cookie` that stores `grant` in the browser. `None` if grants are not in a cookie.
    ///
    /// It is for grants that a handler has [issued](Self::issue). Caches must not store the response: set
    /// `Cache-Control: no-store`.
    #[must_use]
    pub fn set_cookie(&self, grant: &Grant) -> Option<HeaderValue> {
        self.0.transport.set_cookie(grant.as_str(), self.0.lifetime)
    }

    pub(in crate::middleware) fn max_age(&self) -> Duration {
        self.0.lifetime
    }

    pub(in crate::middleware) fn time_source(&self) -> &Clock {
        &self.0.clock
    }

    /// The header in which clients send grants, unless they are in a cookie or in extensions.
    pub(in crate::middleware) fn header_name(&self) -> Option<&HeaderName> {
        match &self.0.transport.location {
            GrantLocation::Header(name) => Some(name),
            GrantLocation::Cookie(_) | GrantLocation::Extensions => None,
        }
    }

    pub(super) fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    pub(super) fn transport(&self) -> &GrantTransport {
        &self.0.transport
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("transport", &self.0.transport)
            .field("lifetime", &self.0.lifetime)
            .finish_non_exhaustive()
    }
}
