//! The URL of an API.

use std::fmt;
use std::str::FromStr;

use toopher_oauth1::{BaseUri, InvalidBaseUri, ServiceUrl};

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum length of an id in bytes. A UUID has 36.
const MAX_ID: usize = 128;

/// The URL of an API: an `http` or `https` URL up to and including `/v1`, with or without a trailing slash.
///
/// ```
/// use tower_toopher::client::BaseUrl;
///
/// let url: BaseUrl = "https://MFA.example.com:443/v1/".parse()?;
/// assert_eq!(url.as_str(), "https://mfa.example.com/v1");
/// assert!("mfa.example.com/v1".parse::<BaseUrl>().is_err());
/// assert!("https://key:secret@mfa.example.com/v1".parse::<BaseUrl>().is_err());
/// # Ok::<(), tower_toopher::ConfigError>(())
/// ```
///
/// With `http` an attacker on the network can read the OTPs and can grant any request, because responses are not
/// signed.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(ServiceUrl);

impl BaseUrl {
    /// The URL as the client signs and sends it, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL of a resource. `path` has no leading slash.
    pub(super) fn join(&self, path: &str) -> Result<BaseUri, InvalidBaseUri> {
        self.0.join(&format!("/{path}"))
    }
}

/// The error is a [`ConfigError`] with [`ConfigErrorKind::BaseUrl`] unless the text is an absolute `http` or `https`
/// URL with a plain path, and without user, password, query and fragment.
impl FromStr for BaseUrl {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        text.parse().map(Self).map_err(|_| ConfigError::new(ConfigErrorKind::BaseUrl))
    }
}

/// Whether an id is exactly one segment of a path.
pub(super) fn is_segment(id: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(unreserved) && !matches!(id, "." | "..")
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized_or_rejected() {
        for (text, expected) in [
            ("https://h/v1", "https://h/v1/users"),
            ("https://h/v1/", "https://h/v1/users"),
            ("https://h/v1//", "https://h/v1/users"),
            ("HTTP://H:80", "http://h/users"),
            ("http://h/", "http://h/users"),
            ("https://b\u{fc}cher.example/v1", "https://xn--bcher-kva.example/v1/users"),
            ("https://[2001:DB8:0::1]:443/v1", "https://[2001:db8::1]/v1/users"),
            ("http://[::1]:8080/a/v1", "http://[::1]:8080/a/v1/users"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!(url.join("users").unwrap().as_str(), expected);
            assert_eq!(format!("{url}/users"), expected);
        }
        for text in [
            "",
            "/v1",
            "h",
            "h/v1",
            "ftp://h/v1",
            "https://",
            "https:///v1",
            "https://u@h/v1",
            "https://u:p@h/v1",
            "https://h/v1?a=b",
            "https://h/v1?",
            "https://h/v1#a",
            "https://h/v1#",
            "https://h/../v1",
            "https://h/./v1",
            "https://h/a//v1",
            "https:/h/v1",
            "https:h/v1",
            " https://h/v1",
            "https://h/v1\t",
            "https://h/%2e%2e/v1",
            "https://h/v1\\x",
            "https://h/v 1",
            "https://h:99999/v1",
            "https://h/{v}",
        ] {
            let error = text.parse::<BaseUrl>().map(drop).map_err(|error| error.kind());
            assert_eq!(error, Err(ConfigErrorKind::BaseUrl), "{text}");
        }
    }

    #[test]
    fn an_id_is_exactly_one_segment() {
        for id in ["1", "id", "12345678-1234-4123-8123-1234567890ab", "a.b_c~d-", "...", &"x".repeat(128)] {
            assert!(is_segment(id), "{id}");
        }
        for id in
            ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb", "\u{e9}", "a\\b", "a;b", &"x".repeat(129)]
        {
            assert!(!is_segment(id), "{id}");
        }
    }
}
