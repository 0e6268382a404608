//! Where a grant travels: in a cookie, a header, or the extensions of requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::grant::{Grant, MAX_GRANT};

/// So much of a request's cookies is looked at; in more than that no grant is found.
const MOST_COOKIES: usize = 256;
const MOST_BYTES: usize = 16 * 1024;
const MAX_NAME: usize = 64;

/// With which requests of other sites a browser sends the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// With none. Who follows a link from a mail is asked for a factor on the first page.
    #[default]
    Strict,
    /// With those that follow a link (`GET` and `HEAD`). It opens an attack where such a request *does* something:
    /// another site has the browser send it, and the grant passes it.
    Lax,
}

#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub(super) place: Place,
    pub(super) same_site: SameSite,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Cookie(Arc<str>),
    Header(HeaderName),
    Extensions,
}

impl Default for Carrier {
    fn default() -> Self {
        Self { place: Place::Cookie("__Host-second-factor".into()), same_site: SameSite::default() }
    }
}

impl Place {
    pub(super) fn cookie(name: &str) -> Self {
        // The tokens are just the names that headers have.
        let is_token = HeaderName::from_bytes(name.as_bytes()).is_ok();
        assert!(is_token && name.len() <= MAX_NAME, "{name:?} cannot be the name of a cookie");
        Self::Cookie(name.into())
    }
}

impl Carrier {
    /// The grant of a request. Of two none is picked.
    pub(super) fn find<'a>(&self, parts: &'a Parts) -> Option<&'a [u8]> {
        let text = match &self.place {
            Place::Cookie(name) => cookie(&parts.headers, name.as_bytes())?,
            Place::Header(name) => {
                let mut lines = parts.headers.get_all(name).iter();
                lines.next().filter(|_| lines.next().is_none())?.as_bytes()
            }
            Place::Extensions => parts.extensions.get::<Grant>()?.as_str().as_bytes(),
        };
        (text.len() <= MAX_GRANT).then_some(text)
    }

    /// `Set-Cookie`, where it is one.
    pub(super) fn set_cookie(&self, value: &str, lifetime: Duration) -> Option<HeaderValue> {
        let Place::Cookie(name) = &self.place else { return None };
        // Rounded up: the browser keeps it for a moment in which it counts no more, and not the other way round.
        let seconds = lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0));
        let same_site = self.same_site;
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}");
        let mut line = HeaderValue::try_from(text).ok()?;
        // `Debug` of the response leaves it out, and HTTP/2 keeps it out of its table.
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

/// The value of the one cookie called `name` (RFC 6265 section 5.4: no quotes, no escapes).
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let (mut found, mut bytes, mut cookies) = (None, 0, 0);
    // HTTP/2 may send a line for each (RFC 9113 section 8.2.3).
    for line in headers.get_all(header::COOKIE) {
        bytes += line.len();
        if bytes > MOST_BYTES {
            return None;
        }
        for pair in line.as_bytes().split(|&b| b == b';') {
            cookies += 1;
            if cookies > MOST_COOKIES {
                return None;
            }
            let Some(equals) = pair.iter().position(|&b| b == b'=') else { continue };
            if pair[..equals].trim_ascii() == name && found.replace(pair[equals + 1..].trim_ascii()).is_some() {
                return None;
            }
        }
    }
    found
}
