//! Request headers that are read as bytes: the cookies of a request, and the elements of a list.
//!
//! The text that other applications write into a header, such as a cookie of another application that is not ASCII,
//! does not hide the part that is searched for.

use http::{HeaderMap, header};

/// The maximum number and total length of cookies. In larger requests no cookie is found.
const MAX_COOKIES: usize = 256;
const MAX_COOKIE_BYTES: usize = 16 * 1024;

/// Returns the value of the only cookie `name` of a request (RFC 6265 section 5.4), as bytes.
///
/// The cookies may be in one line or in several lines, as HTTP/2 clients send them (RFC 9113 section 8.2.3). Names are
/// compared exactly. Quotes are part of the value, as they are for browsers (section 5.2), and the value is not
/// validated.
///
/// Of two cookies of this name neither is returned, even if they are equal: the client sends them in an order that an
/// attacker can choose. Only a host of the same domain, and an attacker who can modify a request without TLS, can set a
/// second cookie, and only if the name does not begin with `__Host-`. Such an attacker can then prevent that the cookie
/// is read, and cannot replace its value. A host of the same domain can also prevent it for a cookie of any name,
/// `__Host-` included: it sets cookies for the domain until the request has more than 256 cookies or more than 16 KiB
/// of them.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::COOKIE};
/// use tower_toopher::headers::cookie;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(COOKIE, HeaderValue::from_bytes(b"name=Zo\xeb; __Host-terminal=5f2b")?);
/// assert_eq!(cookie(&headers, "__Host-terminal"), Some(&b"5f2b"[..]));
/// assert_eq!(cookie(&headers, "terminal"), None);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let (mut found, mut bytes, mut cookies) = (None, 0, 0);
    for line in headers.get_all(header::COOKIE) {
        bytes += line.len();
        if bytes > MAX_COOKIE_BYTES {
            return None;
        }
        // A cookie has no escapes, and a semicolon ends it even within quotes.
        for pair in line.as_bytes().split(|&b| b == b';') {
            cookies += 1;
            if cookies > MAX_COOKIES {
                return None;
            }
            let Some(equals) = pair.iter().position(|&b| b == b'=') else { continue };
            let is_name = pair[..equals].trim_ascii() == name.as_bytes();
            if is_name && found.replace(pair[equals + 1..].trim_ascii()).is_some() {
                return None;
            }
        }
    }
    found
}

/// Splits a list at `separator`, but not within quoted strings (RFC 9110 section 5.6.4), and trims white space. A
/// string without an end contains the rest of the line.
pub(crate) fn split_list(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut in_quotes, mut escaped) = (false, false);
    line.split(move |&b| {
        if escaped {
            escaped = false;
        } else if in_quotes && b == b'\\' {
            escaped = true;
        } else if b == b'"' {
            in_quotes = !in_quotes;
        }
        b == separator && !in_quotes
    })
    .map(<[u8]>::trim_ascii)
}

/// Removes quotes around a value. Escapes within remain.
pub(crate) fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_cookie_among_others_of_any_bytes() {
        let read = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
            }
            cookie(&headers, "ours").map(<[u8]>::to_vec)
        };
        for found in [
            &[&b"ours=1"[..]][..],
            &[b"a=\xe9; ours=1"],
            &[b"ours=1; b=\xff\xfe"],
            &[b"a=b", b"ours=1"],
            &[b"\xc3\xa9=\xc3\xa9", b"ours=1", b"\xff"],
            &[b"a=\"x\";ours=1;;c=d"],
            &[b"a=\"unfinished; ours=1"],
            &[b"ours2=2; xours=3; OURS=4; ours = 1"],
        ] {
            assert_eq!(read(found).as_deref(), Some(&b"1"[..]), "{found:?}");
        }
        for none in [
            &[][..],
            &[&b""[..]],
            &[b"ours"],
            &[b"ours=1; ours=2"],
            &[b"ours=1; ours=1"],
            &[b"ours=1", b"ours=2"],
            &[b"ours=\xff; ours=1"],
            &[b"Ours=1"],
        ] {
            assert_eq!(read(none), None, "{none:?}");
        }
        assert_eq!(read(&[b"ours=a=b"]).as_deref(), Some(&b"a=b"[..]));
        assert_eq!(read(&[b"ours="]).as_deref(), Some(&b""[..]));
        assert_eq!(read(&[b"ours=\"1\""]).as_deref(), Some(&b"\"1\""[..]));
        // Within bounds.
        let many = [b"a=b;".repeat(MAX_COOKIES - 1), b"ours=1".to_vec()].concat();
        assert!(read(&[&many]).is_some());
        assert!(read(&[b"a=b;".repeat(MAX_COOKIES).as_slice(), b"ours=1"]).is_none());
        assert!(read(&[&b"a".repeat(MAX_COOKIE_BYTES), b"ours=1"]).is_none());
    }

    #[test]
    fn separators_within_quotes_separate_nothing() {
        let split = |line: &'static str| -> Vec<_> {
            split_list(line.as_bytes(), b',').map(|part| std::str::from_utf8(part).unwrap()).collect()
        };
        assert_eq!(split("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(split(r#"a="x, y", b"#), [r#"a="x, y""#, "b"]);
        assert_eq!(split(r#"a="x\", y", b"#), [r#"a="x\", y""#, "b"]);
        assert_eq!(split(r#"a="x\\", b"#), [r#"a="x\\""#, "b"]);
        assert_eq!(split(r#"a="x, b"#), [r#"a="x, b"#]);
        // Outside of a string, a backslash escapes nothing.
        assert_eq!(split(r#"a\", b", c"#), [r#"a\", b""#, "c"]);
    }
}
