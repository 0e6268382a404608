//! What the browser sends about itself and the site: its cookie, the frame, and the origin.

use http::{HeaderMap, Uri, header};
use toopher_oauth1::BaseUri;

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

/// The origin of a URL, as browsers serialize it.
pub(super) fn origin(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let (scheme, authority) = (url.scheme_str()?, url.authority()?.as_str());
    // The origin becomes part of a content security policy, where other characters have a meaning.
    if !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
        return None;
    }
    let site = BaseUri::new(scheme, authority, "/").ok()?;
    Some(site.as_str().trim_end_matches('/').to_owned())
}

pub(super) fn terminal_cookie(headers: &HeaderMap) -> Option<String> {
    let mut pairs =
        headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(TERMINAL_COOKIE)?.strip_prefix('='))?;
    // Only the format of this server's tokens: the value becomes part of a discriminator.
    (value.len() == 43 && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
        .then(|| value.to_owned())
}
