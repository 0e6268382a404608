//! What the headers of a response tell caches.

use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::headers::split_list;

/// `Vary` for the usual headers: the OTP, the approval token, and those of the first factor and of grants.
pub(in crate::middleware) const USUAL_VARY: HeaderValue =
    HeaderValue::from_static("toopher-otp, toopher-approval, authorization, cookie");
/// The same after the name of another header.
pub(in crate::middleware) const OTHER_VARY: &str = "toopher-approval, authorization, cookie";

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Marks the inner service's response as one that depends on the request's factor.
///
/// A response whose `Cache-Control` does not say who may store it becomes `no-store`, because a shared cache could give
/// it to a client without the factor. A response that any cache may store for a time (`max-age`, `no-cache`, `Expires`
/// alone) becomes `private`, because `Vary` does not suffice: a layer outside can append a line, and nginx before 1.23
/// reads only the last one. The inner service's other directives remain.
pub(in crate::middleware) fn mark_dependent(headers: &mut HeaderMap, vary: &HeaderValue) {
    let expires = headers.contains_key(header::EXPIRES);
    if let Entry::Vacant(entry) = headers.entry(header::CACHE_CONTROL) {
        entry.insert(if expires { PRIVATE } else { NO_STORE });
    } else if let Some(value) = restricted(headers) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    insert_vary(headers, vary);
}

/// `Cache-Control` with the directive that it lacks, in one line.
fn restricted(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::CACHE_CONTROL);
    let directives = || lines.iter().flat_map(|line| split_list(line.as_bytes(), b',')).filter(|one| !one.is_empty());
    // `private` and `no-cache` with an argument apply to single fields only.
    let is = |directive: &[u8], name: &str| directive.eq_ignore_ascii_case(name.as_bytes());
    let is_named =
        |directive: &[u8], name| is(directive.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii(), name);
    let decides = |one| ["no-store", "private", "public"].iter().any(|name| is(one, name)) || is_named(one, "s-maxage");
    if directives().any(decides) {
        return None;
    }
    let limited = directives().any(|one| is(one, "no-cache") || is_named(one, "max-age"));
    let added: &[u8] = if limited { b"private" } else { b"no-store" };
    // A cache may read only the first one of two equal directives (RFC 9111 section 4.2.1).
    let kept = directives().filter(|one| !is_named(one, "private"));
    let value = kept.chain([added]).collect::<Vec<_>>().join(&b", "[..]);
    Some(HeaderValue::from_bytes(&value).unwrap_or(NO_STORE))
}

/// Adds the names to `Vary`, in one line without duplicates: nginx before 1.23 reads only the last line. `*` remains
/// alone, because it contains all names.
pub(in crate::middleware) fn insert_vary(headers: &mut HeaderMap, vary: &HeaderValue) {
    match headers.entry(header::VARY) {
        Entry::Vacant(entry) => {
            entry.insert(vary.clone());
        }
        Entry::Occupied(mut entry) => {
            if !entry.iter().eq([vary]) {
                let merged = merge(entry.iter().chain([vary]));
                entry.insert(merged);
            }
        }
    }
}

fn merge<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> HeaderValue {
    const ANY: HeaderValue = HeaderValue::from_static("*");
    let mut names: Vec<&[u8]> = Vec::new();
    for name in lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii) {
        if name == b"*" {
            return ANY;
        }
        if !name.is_empty() && !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name);
        }
    }
    HeaderValue::from_bytes(&names.join(&b", "[..])).unwrap_or(ANY)
}

/// Prevents that any cache stores the response, whatever the inner service has set, because it contains a cookie or a
/// header that identifies one client: sets `Cache-Control: no-store`, and removes `Expires` and the headers for one
/// kind of cache, which have precedence there (`CDN-Cache-Control` of RFC 9213 and its relatives, `Surrogate-Control`,
/// `X-Accel-Expires`).
#[cfg_attr(
    not(any(feature = "client", feature = "client-hyper", feature = "grants")),
    allow(dead_code, reason = "only these features set such a cookie or header")
)]
pub(crate) fn prevent_caching(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_for_caches(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_for_caches(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || matches!(name, "expires" | "surrogate-control" | "x-accel-expires")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_dependent_response_is_private_unless_its_handler_decides() {
        for (before, cache_control) in [
            (&[][..], "no-store"),
            (&[("content-type", "text/html")], "no-store"),
            (&[("expires", "Thu, 01 Dec 2036 16:00:00 GMT")], "private"),
            (&[("cache-control", "private, max-age=60")], "private, max-age=60"),
            (&[("cache-control", "public, s-maxage=60")], "public, s-maxage=60"),
            (&[("cache-control", "s-maxage = 60")], "s-maxage = 60"),
            (&[("cache-control", "max-age=60"), ("cache-control", "Public")], "max-age=60"),
            (&[("cache-control", "no-store")], "no-store"),
            // Any cache may store these.
            (&[("cache-control", "max-age=60")], "max-age=60, private"),
            (&[("cache-control", "Max-Age=60"), ("cache-control", "immutable")], "Max-Age=60, immutable, private"),
            (&[("cache-control", "no-cache")], "no-cache, private"),
            (&[("cache-control", "max-age=60"), ("cdn-cache-control", "max-age=60")], "max-age=60, private"),
            (&[("cache-control", "private=\"a, b\", max-age=60")], "max-age=60, private"),
            // These say nothing about it.
            (&[("cache-control", "")], "no-store"),
            (&[("cache-control", "must-revalidate")], "must-revalidate, no-store"),
            (&[("cache-control", "proxy-revalidate"), ("expires", "0")], "proxy-revalidate, no-store"),
            (&[("cache-control", "x-public, a=\", public, \"")], "x-public, a=\", public, \", no-store"),
            (&[("cache-control", "no-cache=\"set-cookie\"")], "no-cache=\"set-cookie\", no-store"),
            (&[("cache-control", "private=\"set-cookie\"")], "no-store"),
            (&[("cache-control", "publicx, max-ages=1, no-stored")], "publicx, max-ages=1, no-stored, no-store"),
        ] {
            let mut headers = headers(before);
            for _ in 0..2 {
                mark_dependent(&mut headers, &USUAL_VARY);
            }
            assert_eq!(headers[header::CACHE_CONTROL], cache_control, "{before:?}");
            assert_eq!(headers.get_all(header::VARY).iter().collect::<Vec<_>>(), [USUAL_VARY]);
        }
    }

    #[test]
    fn vary_is_one_line_without_duplicates() {
        for (before, expected) in [
            (&["accept"][..], "accept, x-otp, cookie"),
            (&["accept", "Cookie,Origin ,, accept"], "accept, Cookie, Origin, x-otp"),
            (&["X-OTP, cookie"], "X-OTP, cookie"),
            (&["x-otp, cookie", "origin"], "x-otp, cookie, origin"),
            (&[""], "x-otp, cookie"),
            (&["*"], "*"),
            (&["accept", " * "], "*"),
            (&["accept, *"], "*"),
        ] {
            let lines: Vec<_> = before.iter().map(|line| ("vary", *line)).collect();
            let mut headers = headers(&lines);
            for _ in 0..2 {
                insert_vary(&mut headers, &HeaderValue::from_static("x-otp, cookie"));
                assert_eq!(headers.get_all(header::VARY).iter().collect::<Vec<_>>(), [expected], "{before:?}");
            }
        }
    }

    #[test]
    fn no_header_lets_a_cache_store_a_response_for_one_client() {
        let mut headers = headers(&[
            ("cache-control", "public, s-maxage=60"),
            ("cdn-cache-control", "max-age=60"),
            ("cloudflare-cdn-cache-control", "max-age=60"),
            ("surrogate-control", "max-age=60"),
            ("expires", "Thu, 01 Dec 2036 16:00:00 GMT"),
            ("x-accel-expires", "60"),
            ("etag", "\"1\""),
        ]);
        prevent_caching(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "etag"]);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    }
}
