//! What the browser sends about itself and the site: its cookie, the frame, and the origin.

use http::{HeaderMap, Uri};
use toopher_oauth1::BaseUri;
use tower_toopher::headers::cookie;

use crate::api_error::ApiError;

/// The cookie that distinguishes browsers. It contains nothing about the user.
pub(super) const TERMINAL_COOKIE: &str = "__Host-toopher_terminal";

/// Rejects requests for a page outside a frame. A page of its own would lend the server's address to an attacker who
/// sends a user there.
pub(super) fn require_frame(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("sec-fetch-dest") {
        Some(destination) if destination == "document" => Err(ApiError::NO_FRAME),
        _ => Ok(()),
    }
}

/// The maximum length of a host and a port: longer than a name in DNS (253 bytes), and short enough for an index.
const MAX_AUTHORITY: usize = 260;

/// The origin of a URL, as browsers serialize it.
pub(super) fn origin(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let (scheme, authority) = (url.scheme_str()?, url.authority()?.as_str());
    // The origin becomes part of a content security policy, where other characters have a meaning.
    if authority.len() > MAX_AUTHORITY
        || !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    {
        return None;
    }
    let site = BaseUri::new(scheme, authority, "/").ok()?;
    Some(site.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn terminal_cookie(headers: &HeaderMap) -> Option<String> {
    let value = cookie(headers, TERMINAL_COOKIE)?;
    // Only the format of this server's tokens: the value becomes part of a discriminator.
    let valid = value.len() == 43 && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if valid { std::str::from_utf8(value).ok().map(str::to_owned) } else { None }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn foreign_cookies_do_not_hide_the_terminal() {
        let value = "a".repeat(43);
        let read = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            terminal_cookie(&headers)
        };
        let own = format!("{TERMINAL_COOKIE}={value}");
        for lines in [&["name=Zo\u{eb}", &own][..], &[&format!("name=Zo\u{eb}; {own}; b=\u{ff}")]] {
            assert_eq!(read(lines).as_deref(), Some(&*value), "{lines:?}");
        }
        let double = format!("{own}; {TERMINAL_COOKIE}={}", "b".repeat(43));
        for lines in [&[&*double][..], &[&format!("{own}0")], &[]] {
            assert_eq!(read(lines), None, "{lines:?}");
        }
    }
}
