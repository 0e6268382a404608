//! What a response contains about a pending approval.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::middleware::extract::APPROVAL_HEADER;
use crate::verify::PendingApproval;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Inserts the headers that the client needs to repeat the request.
pub(super) fn insert_pending_headers(pending: &PendingApproval, headers: &mut HeaderMap) {
    if let Some(token) = pending.token().and_then(|token| HeaderValue::from_str(token.as_str()).ok()) {
        headers.insert(APPROVAL_HEADER, token);
    }
    if let Some(url) = pending.status_url().and_then(|url| HeaderValue::from_str(url).ok()) {
        headers.insert(http::header::LOCATION, url);
    }
    if let Some(wait) = pending.waited().and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok())
    {
        headers.insert(PREFERENCE_APPLIED, wait);
    }
}

/// The members that a problem document gets for a pending approval, each after a comma. They need no escaping: letters,
/// digits, and a URL that is valid in a header.
pub(super) fn json_members(pending: &PendingApproval) -> String {
    let mut members = String::new();
    if let Some(token) = pending.token() {
        members += &format!(",\"approval_token\":\"{}\"", token.as_str());
    }
    if let Some(number) = pending.number() {
        members += &format!(",\"number\":\"{number:02}\"");
    }
    if let Some(url) = pending.status_url() {
        members += &format!(",\"status_url\":\"{url}\"");
    }
    members
}
