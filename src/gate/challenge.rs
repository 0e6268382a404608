//! What requests and responses say of an approval that is waited for.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::extract::{ExtractError, take_line};
use crate::{Challenge, Pending};

/// The header that carries the challenge, both ways.
pub(super) const CHALLENGE: HeaderName = HeaderName::from_static("toopher-challenge");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How sessions are told apart.
pub(super) type FindSession = dyn Fn(&Parts) -> Option<Arc<str>> + Send + Sync;

/// Takes the challenge out of `headers`.
pub(super) fn take(headers: &mut HeaderMap) -> Result<Option<Challenge>, ExtractError> {
    Ok(take_line(headers, &CHALLENGE)?.map(|line| Challenge::new(line.as_bytes())))
}

/// How long the client would like an answer to be waited for: `Prefer: wait=N` (RFC 7240 section 4.3). Of several the
/// first counts, and what cannot be read is no preference (section 2).
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let wait = lines.flat_map(|line| line.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    if wait.is_empty() || !wait.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are longer than anybody waits.
    Some(Duration::from_secs(wait.parse().unwrap_or(u64::MAX)))
}

/// Says in the head of a response what the client needs to come again.
pub(super) fn write(pending: &Pending, headers: &mut HeaderMap) {
    if let Some(challenge) = pending.challenge().and_then(|challenge| HeaderValue::from_str(challenge.as_str()).ok()) {
        headers.insert(CHALLENGE, challenge);
    }
    if let Some(url) = pending.status_url().and_then(|url| HeaderValue::from_str(url).ok()) {
        headers.insert(http::header::LOCATION, url);
    }
    if let Some(wait) = pending.waited().and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok())
    {
        headers.insert(PREFERENCE_APPLIED, wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::extract::one_of;

    #[test]
    fn the_wait_that_the_client_prefers() {
        let wait = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, line.parse().unwrap());
            }
            super::wait(&headers).map(|wait| wait.as_secs())
        };
        for ten in [&["wait=10"][..], &["respond-async, wait=10"], &["WAIT = \"10\"; x=1"], &["a=b", "wait=10, wait=3"]]
        {
            assert_eq!(wait(ten), Some(10), "{ten:?}");
        }
        for none in
            [&[][..], &["wait"], &["wait="], &["wait=-1"], &["wait=1.5"], &["wait=+1"], &["await=1"], &["w=wait=1"]]
        {
            assert_eq!(wait(none), None, "{none:?}");
        }
        assert_eq!(wait(&["wait=99999999999999999999999"]), Some(u64::MAX));
    }

    #[test]
    fn one_challenge_or_none() {
        let take = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CHALLENGE, line.parse().unwrap());
            }
            (super::take(&mut headers), headers.is_empty())
        };
        assert!(matches!(take(&[]), (Ok(None), true)));
        assert!(matches!(take(&["abc"]), (Ok(Some(challenge)), true) if challenge.as_str() == "abc"));
        assert!(matches!(take(&[""]), (Ok(Some(challenge)), true) if challenge.as_str().is_empty()));
        for two in [&["abc", "abc"][..], &["abc, def"], &["", "abc"]] {
            assert!(matches!(take(two), (Err(ExtractError::Ambiguous), true)), "{two:?}");
        }
        let challenge = |text: &str| Some(Challenge::new(text.as_bytes()));
        assert!(one_of(challenge("a"), challenge("b")).is_err());
        assert_eq!(one_of(challenge("a"), challenge("a")).unwrap(), challenge("a"));
        assert_eq!(one_of(None, challenge("a")).unwrap(), challenge("a"));
    }
}
