//! The URL of an API, in one spelling.

use std::fmt;
use std::str::FromStr;

use url::{Position, Url};

use crate::base::{BaseUri, InvalidBaseUri};

/// The URL of an API, normalized: client and server sign the same text, whichever spelling each of them was given.
///
/// Scheme and host are in lower case, the host is in ASCII (IDNA), an IPv6 address has its shortest form, and neither
/// the default port nor a trailing slash is left. What could be read in two ways is rejected with the reason: a path
/// with percent-encoding, dot segments or empty segments, credentials, a query, a fragment, port 0.
///
/// ```
/// use toopher_oauth1::ServiceUrl;
///
/// let url: ServiceUrl = "HTTPS://B\u{fc}cher.Example:443/mfa/".parse()?;
/// assert_eq!(url.as_str(), "https://xn--bcher-kva.example/mfa");
/// assert_eq!(url.join("/v1/users")?.as_str(), "https://xn--bcher-kva.example/mfa/v1/users");
/// assert!("https://mfa.example.com/v1?key=x".parse::<ServiceUrl>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    scheme: String,
    /// The host with the port.
    authority: String,
    /// Without a trailing slash; empty for the root.
    path: String,
    text: String,
}

impl ServiceUrl {
    /// The URL, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, without a trailing slash: empty for the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The signed URL of a resource under this one. `path` begins with a slash.
    ///
    /// # Errors
    ///
    /// [`InvalidBaseUri`] when `path` is not a path.
    pub fn join(&self, path: &str) -> Result<BaseUri, InvalidBaseUri> {
        BaseUri::new(&self.scheme, &self.authority, &format!("{}{path}", self.path))
    }
}

/// The error is an [`InvalidServiceUrl`], whose text is the reason.
impl FromStr for ServiceUrl {
    type Err = InvalidServiceUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServiceUrl> {
        let error = |reason| Err(InvalidServiceUrl(reason));
        // Before the parser, which drops or replaces some of these characters without an error.
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return error("a URL contains no spaces, control characters and backslashes");
        }
        let Some((scheme, rest)) = text.split_once("://") else { return error(NO_SCHEME) };
        if !["http", "https"].iter().any(|allowed| scheme.eq_ignore_ascii_case(allowed)) {
            return error(NO_SCHEME);
        }
        if rest.contains('?') {
            return error("the URL must not contain a query (?)");
        }
        if rest.contains('#') {
            return error("the URL must not contain a fragment (#)");
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return error("the URL must not contain a user or a password (@)");
        }
        if authority.is_empty() {
            return error("the URL has no host");
        }
        let path = path.trim_end_matches('/');
        if !is_plain(path) {
            return error(
                "the path of the URL must have plain segments: no percent-encoding, and no segment that is empty, \
                 `.` or `..`, also before a `;`",
            );
        }
        let Ok(url) = Url::parse(text) else { return error("the host or the port of the URL is invalid") };
        if url.port() == Some(0) {
            return error("the URL must not have port 0, which nothing listens on");
        }
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let Ok(base) = BaseUri::new(url.scheme(), authority, path) else {
            return error("the host or the port of the URL is invalid");
        };
        Ok(Self {
            scheme: url.scheme().into(),
            authority: authority.into(),
            path: path.into(),
            text: base.as_str().trim_end_matches('/').into(),
        })
    }
}

const NO_SCHEME: &str = "the URL must begin with http:// or https://";

/// Whether all URL parsers read this path in the same way: it has only characters of RFC 3986 section 3.3, no
/// percent-encoding, no dot segments, and no empty segments, which some proxies merge. Some servers remove the
/// parameters of a segment, from its `;` on, before they look for those.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    let has_name = |segment: &str| !matches!(segment.split(';').next(), None | Some("" | "." | ".."));
    path.bytes().all(plain) && path.split('/').skip(1).all(has_name)
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({})", self.text)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The error of parsing a [`ServiceUrl`]. Its text is the reason, without the URL, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidServiceUrl(&'static str);

impl fmt::Display for InvalidServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidServiceUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (text, expected) in [
            ("https://h", "https://h"),
            ("https://h/", "https://h"),
            ("https://h///", "https://h"),
            ("HTTPS://Mfa.Example.TEST:443/Mfa//", "https://mfa.example.test/Mfa"),
            ("http://h:80/a/b/", "http://h/a/b"),
            ("https://h:80", "https://h:80"),
            ("https://h:", "https://h"),
            ("https://h:08443/", "https://h:8443"),
            ("https://b\u{fc}cher.example/x", "https://xn--bcher-kva.example/x"),
            ("https://B\u{dc}CHER.example", "https://xn--bcher-kva.example"),
            ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example"),
            ("https://[2001:DB8:0:0::1]:443/", "https://[2001:db8::1]"),
            ("http://[0:0:0:0:0:0:0:1]:8080/v1", "http://[::1]:8080/v1"),
            ("http://127.1:8080", "http://127.0.0.1:8080"),
            ("http://h/a:b/~c;d", "http://h/a:b/~c;d"),
            ("http://h/.a/...;d", "http://h/.a/...;d"),
            ("http://h:10", "http://h:10"),
        ] {
            let url: ServiceUrl = text.parse().unwrap();
            assert_eq!(url.as_str(), expected, "{text}");
            assert_eq!(expected.parse::<ServiceUrl>().unwrap(), url);
            assert_eq!(url.join("/users").unwrap().as_str(), format!("{expected}/users"));
            assert!(expected.ends_with(url.path()));
        }
    }

    #[test]
    fn what_has_two_readings_is_rejected_with_the_reason() {
        for (text, reason) in [
            ("", "http://"),
            ("h/v1", "http://"),
            ("/v1", "http://"),
            ("ftp://h", "http://"),
            ("https:h", "http://"),
            ("https:/h", "http://"),
            ("javascript://h", "http://"),
            ("https://", "no host"),
            ("https:///h", "no host"),
            ("https://u@h", "password"),
            ("https://u:p@h/x", "password"),
            ("https://h/x?a=b", "query"),
            ("https://h?", "query"),
            ("https://h/x#a", "fragment"),
            ("https://h#", "fragment"),
            ("https://h/../x", "plain"),
            ("https://h/./x", "plain"),
            ("https://h/x/..", "plain"),
            ("https://h/%2e%2e/x", "plain"),
            ("https://h/%7Ex", "plain"),
            ("https://h/a//b", "plain"),
            ("https://h/\u{fc}", "plain"),
            ("https://h/{x}", "plain"),
            ("https://h/a b", "spaces"),
            (" https://h", "spaces"),
            ("https://h\n", "spaces"),
            ("https://h\\x", "spaces"),
            ("https://h:99999", "host or the port"),
            ("https://h:x", "host or the port"),
            ("https://h%2f", "host or the port"),
            ("https://[::1", "host or the port"),
            ("https://a<b", "host or the port"),
            ("https://h:0", "port 0"),
            ("http://h:00/x", "port 0"),
            ("https://[::1]:0", "port 0"),
            ("https://h/..;/x", "plain"),
            ("https://h/x/..;a=b", "plain"),
            ("https://h/.;/x", "plain"),
            ("https://h/;x", "plain"),
            ("https://h/a/;/b", "plain"),
        ] {
            let error = text.parse::<ServiceUrl>().unwrap_err();
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
    }
}
