//! `Prefer: wait` (RFC 7240).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::headers::{split_list, unquote};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the client prefers to wait for a response: `Prefer: wait=N` (RFC 7240 section 4.3). The first preference
/// counts, and an unreadable one is ignored (section 2).
pub(in crate::middleware) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).iter().flat_map(|line| split_list(line.as_bytes(), b','));
    let wait = preferences.into_iter().find_map(|preference| {
        let preference = split_list(preference, b';').next()?;
        let equals = preference.iter().position(|&b| b == b'=')?;
        let (name, value) = (preference[..equals].trim_ascii(), preference[equals + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"wait").then(|| unquote(value))
    })?;
    if wait.is_empty() || !wait.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number that does not fit is longer than any wait.
    let seconds = std::str::from_utf8(wait).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds))
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
        for ten in [
            &["wait=10"][..],
            &["respond-async, wait=10"],
            &["WAIT = \"10\"; x=1"],
            &["a=b", "wait=10, wait=3"],
            &[r#"a="b, wait=3", wait=10"#],
            &[r#"a=b; c="\", wait=3", wait=10"#],
        ] {
            assert_eq!(wait(ten), Some(10), "{ten:?}");
        }
        for none in [
            &[][..],
            &["wait"],
            &["wait="],
            &["wait=-1"],
            &["wait=1.5"],
            &["wait=+1"],
            &["await=1"],
            &["w=wait=1"],
            &[r#"a="b, wait=10""#],
            &[r#"a="b, wait=10"#],
            &[r#"a; b="x, wait=10""#],
        ] {
            assert_eq!(wait(none), None, "{none:?}");
        }
        assert_eq!(wait(&["wait=99999999999999999999999"]), Some(u64::MAX));
    }
}
