//! The transport of grants: a cookie, a header, or the extensions of requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::grant::{Grant, MAX_GRANT};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::headers::cookie;

const MAX_NAME: usize = 64;

/// The requests from other sites with which a browser sends the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// None. A user who follows a link from a mail must show a factor on the first page.
    #[default]
    Strict,
    /// Those that follow a link (`GET` and `HEAD`). It enables an attack where such a request *changes* something:
    /// another site makes the browser send it, and the grant is valid for it.
    Lax,
}

#[derive(Clone, Debug)]
pub(super) struct GrantTransport {
    pub(super) location: GrantLocation,
    pub(super) same_site: SameSite,
}

#[derive(Clone, Debug)]
pub(super) enum GrantLocation {
    Cookie(Arc<str>),
    Header(HeaderName),
    Extensions,
}

impl Default for GrantTransport {
    fn default() -> Self {
        Self { location: GrantLocation::Cookie("__Host-second-factor".into()), same_site: SameSite::default() }
    }
}

impl GrantLocation {
    pub(super) fn cookie(name: &str) -> Result<Self, ConfigError> {
        // Names of headers are tokens too.
        let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_token || name.len() > MAX_NAME {
            return Err(ConfigError::new(ConfigErrorKind::CookieName));
        }
        Ok(Self::Cookie(name.into()))
    }
}

impl GrantTransport {
    /// The grant of a request. Of two grants neither is used.
    pub(super) fn find<'a>(&self, parts: &'a Parts) -> Option<&'a [u8]> {
        let text = match &self.location {
            GrantLocation::Cookie(name) => cookie(&parts.headers, name)?,
            GrantLocation::Header(name) => {
                let mut lines = parts.headers.get_all(name).iter();
                lines.next().filter(|_| lines.next().is_none())?.as_bytes()
            }
            GrantLocation::Extensions => parts.extensions.get::<Grant>()?.as_str().as_bytes(),
        };
        (text.len() <= MAX_GRANT).then_some(text)
    }

    /// The value of `Set-Cookie`, if grants are in a cookie.
    pub(super) fn set_cookie(&self, value: &str, lifetime: Duration) -> Option<HeaderValue> {
        let GrantLocation::Cookie(name) = &self.location else { return None };
        // Rounded up: the browser may keep an expired grant for a moment, but never drops a valid one.
        let seconds = lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0));
        let same_site = self.same_site;
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}");
        let mut line = HeaderValue::try_from(text).ok()?;
        // So `Debug` of the response omits it, and HTTP/2 does not index it.
        line.set_sensitive(true);
        Some(line)
    }
}

impl fmt::Display for SameSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
        })
    }
}
