//! `Prefer: wait` (RFC 7240).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the client prefers to wait for a response: `Prefer: wait=N` (RFC 7240 section 4.3). The first preference
/// counts, and an unreadable one is ignored (section 2).
pub(in crate::middleware) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    let wait = lines.flat_map(|line| line.split(',')).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    })?;
    if wait.is_empty() || !wait.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // A number that does not fit is longer than any wait.
    Some(Duration::from_secs(wait.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_that_the_client_prefers() {
        let wait = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, line.parse().unwrap());
            }
            preferred_wait(&headers).map(|wait| wait.as_secs())
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
}
