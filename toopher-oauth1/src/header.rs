//! The `Authorization: OAuth …` header (RFC 5849 section 3.5.1).

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::pairs::Pairs;

/// Returns the decoded parameters of a header without `realm`. Returns `None` if the header has another scheme, and an
/// error if it is malformed.
pub(crate) fn parse(header: &[u8]) -> Option<Result<Pairs, Malformed>> {
    let (scheme, rest) = header.split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case(b"OAuth") || !matches!(rest.first(), None | Some(b' ' | b'\t')) {
        return None;
    }
    Some(parameters(rest))
}

pub(crate) struct Malformed;

fn parameters(mut rest: &[u8]) -> Result<Pairs, Malformed> {
    let mut pairs = Pairs::with_capacity(rest.len());
    loop {
        // Empty list elements are skipped (RFC 9110 section 5.6.1.2): some clients send a comma at the end.
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Ok(pairs),
            [b',', after @ ..] => {
                rest = after;
                continue;
            }
            _ => {}
        }
        let equals = rest.iter().position(|&b| b == b'=').ok_or(Malformed)?;
        let name = rest[..equals].trim_ascii_end();
        let quoted = rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"").ok_or(Malformed)?;
        let (value, after) = quoted_string(quoted)?;
        rest = after.trim_ascii_start();
        if !matches!(rest.first(), None | Some(b',')) {
            return Err(Malformed);
        }
        if name.eq_ignore_ascii_case(b"realm") {
            continue;
        }
        pairs.push(&decode(name)?, &decode(value)?, true);
    }
}

/// Splits after the closing quote. A backslash escapes the next byte, for example in a realm.
fn quoted_string(text: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut at = 0;
    loop {
        match text.get(at).ok_or(Malformed)? {
            b'"' => return Ok((&text[..at], &text[at + 1..])),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Decodes percent-encoded text. Bytes outside the unreserved set must be encoded, with two hexadecimal digits.
fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let (mut bytes, mut is_plain) = (encoded.iter(), true);
    while let Some(&byte) = bytes.next() {
        let is_valid = match byte {
            b'%' => {
                is_plain = false;
                let mut hex = || bytes.next().is_some_and(u8::is_ascii_hexdigit);
                hex() && hex()
            }
            b'-' | b'.' | b'_' | b'~' => true,
            // Some clients do not encode these in a signature or a nonce.
            b'+' | b'/' | b'=' | b':' | b'*' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !is_valid {
            return Err(Malformed);
        }
    }
    if is_plain {
        return str::from_utf8(encoded).map(Cow::Borrowed).map_err(|_| Malformed);
    }
    percent_decode(encoded).decode_utf8().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(header: &str) -> Vec<(String, String)> {
        let Some(Ok(pairs)) = parse(header.as_bytes()) else { panic!("malformed: {header}") };
        pairs.iter().map(|pair| (pair.name.to_owned(), pair.value.to_owned())).collect()
    }

    #[test]
    fn valid_headers() {
        let expected = vec![("oauth_a".to_owned(), "1".to_owned()), ("oauth_b".to_owned(), "x y".to_owned())];
        for header in [
            r#"OAuth oauth_a="1", oauth_b="x%20y""#,
            r#"OAuth oauth_a="1",oauth_b="x%20y""#,
            r#"oauth  oauth_a = "1" , oauth_b= "x%20y",  "#,
            r#"OAUTH realm="http://h/", oauth_a="1", oauth_b="x%20y","#,
            "OAuth\toauth_a=\"1\",\t,, oauth_b=\"x%20y\"",
            r#"OAuth realm="a, \"b\" = \\", oauth_a="1", oauth_b="x%20y""#,
            r#"OAuth oauth_a="1", Realm="", oauth%5Fb="x%20y""#,
        ] {
            assert_eq!(pairs(header), expected, "{header}");
        }
        assert_eq!(pairs("OAuth"), []);
        assert_eq!(pairs(r#"OAuth a="""#), [("a".to_owned(), String::new())]);
    }

    #[test]
    fn malformed_headers() {
        for header in [
            "OAuth a",
            "OAuth a=1",
            "OAuth a=\"1",
            "OAuth a=\"1\" b=\"2\"",
            "OAuth a=\"%\"",
            "OAuth a=\"%4\"",
            "OAuth a=\"%zz\"",
            "OAuth a=\"x y\"",
            "OAuth a=\"%ff\"",
            "OAuth a=\"\\",
            "OAuth =\"1\"x",
            "OAuth a='1'",
            "OAuth a=\"\u{e9}\"",
            "OAuth a=\"1\";b=\"2\"",
            "OAuth a b=\"1\"",
        ] {
            assert!(matches!(parse(header.as_bytes()), Some(Err(Malformed))), "{header}");
        }
        for other in ["", "Basic x", "OAuthX a=\"1\"", "OAut", "Bearer OAuth"] {
            assert!(parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
