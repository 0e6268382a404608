use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::oauth1::{BaseUri, InvalidBaseUri};

/// Where the API is: an `http` or `https` address up to and including `/v1`, with a slash at the end or without.
///
/// ```
/// use tower_toopher::toopher::BaseUrl;
///
/// let url: BaseUrl = "https://MFA.example.com:443/v1/".parse()?;
/// assert_eq!(url.as_str(), "https://mfa.example.com/v1");
/// assert!("mfa.example.com/v1".parse::<BaseUrl>().is_err());
/// assert!("https://key:secret@mfa.example.com/v1".parse::<BaseUrl>().is_err());
/// # Ok::<(), tower_toopher::toopher::InvalidBaseUrl>(())
/// ```
///
/// Over `http` whoever is on the way reads the OTPs, and can grant what they like: an answer is not signed.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: String,
    authority: String,
    /// Without a slash at the end; empty for the root.
    path: String,
    text: String,
}

impl BaseUrl {
    /// The address as it is signed and sent, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address of a resource. `path` has no slash at its start.
    pub(super) fn join(&self, path: &str) -> Result<BaseUri, InvalidBaseUri> {
        BaseUri::new(&self.scheme, &self.authority, &format!("{}/{path}", self.path))
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        // `Uri` drops a fragment, and no path may be read by one as another than it is by the other.
        let uri: Uri = text.parse().map_err(|_| InvalidBaseUrl)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(InvalidBaseUrl) };
        let path = uri.path().trim_end_matches('/');
        if text.contains(['#', '?']) || !is_plain_path(path) {
            return Err(InvalidBaseUrl);
        }
        let base = BaseUri::new(scheme, authority.as_str(), path).map_err(|_| InvalidBaseUrl)?;
        Ok(Self {
            scheme: scheme.into(),
            authority: authority.as_str().into(),
            path: path.into(),
            text: base.as_str().trim_end_matches('/').into(),
        })
    }
}

/// Whether every reader of addresses reads this path alike: characters of RFC 3986 section 3.3, no dot segments and
/// none that are hidden behind an encoding.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
    path.bytes().all(plain) && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether an id can be one segment of a path, and nothing but that.
pub(super) fn is_segment(id: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(unreserved) && !matches!(id, "." | "..")
}

/// The most bytes of an id; a UUID has 36.
const MAX_ID: usize = 128;

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.text)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no [`BaseUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidBaseUrl;

impl fmt::Display for InvalidBaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an http or https address with a plain path, and without user, password, query and fragment")
    }
}

impl std::error::Error for InvalidBaseUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("https://h/v1", "https://h/v1/users"),
            ("https://h/v1/", "https://h/v1/users"),
            ("https://h/v1//", "https://h/v1/users"),
            ("HTTP://H:80", "http://h/users"),
            ("http://h/", "http://h/users"),
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
            "https://h/%2e%2e/v1",
            "https://h/v1\\x",
            "https://h/v 1",
            "https://h:99999/v1",
            "https://h/{v}",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn segments() {
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
