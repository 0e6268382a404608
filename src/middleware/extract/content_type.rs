//! The content type of a request body.

use std::fmt;

use http::{HeaderMap, header};

/// Returns whether the headers describe a body of type `application/x-www-form-urlencoded` (RFC 9110 section 8.3.1).
///
/// Implementations of [`Extract`](crate::middleware::Extract) that read forms call it before they read the body, so
/// that the extractor and the inner service agree on what the body is.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
/// use tower_toopher::middleware::is_form;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(is_form(&headers), Ok(false));
/// headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"));
/// assert_eq!(is_form(&headers), Ok(true));
/// ```
///
/// # Errors
///
/// [`UnreadableForm`] when the body is a form, but its content type is ambiguous, its charset is not UTF-8, or it is
/// compressed.
pub fn is_form(headers: &HeaderMap) -> Result<bool, UnreadableForm> {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter().map(|line| line.as_bytes());
    let Some(first) = lines.next() else { return Ok(false) };
    let mut others = lines.peekable();
    if others.peek().is_some() {
        // The inner service may use either line.
        let form = names_form(first) || others.any(names_form);
        return if form { Err(UnreadableForm::TwoTypes) } else { Ok(false) };
    }
    if !names_form(first) {
        return Ok(false);
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(UnreadableForm::Encoded);
    }
    for parameter in first.split(|&b| b == b';').skip(1) {
        let mut halves = parameter.splitn(2, |&b| b == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next().unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        if name.eq_ignore_ascii_case(b"charset")
            && ![&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err(UnreadableForm::NotUtf8);
        }
    }
    Ok(true)
}

fn names_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&b| b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The error of [`is_form`]: the body is a form that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreadableForm {
    /// There are several `Content-Type` lines, and one of them is that of a form.
    TwoTypes,
    /// The `charset` parameter names another encoding than UTF-8.
    NotUtf8,
    /// There is a `Content-Encoding` other than `identity`.
    Encoded,
}

impl fmt::Display for UnreadableForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoTypes => "the form has two content types",
            Self::NotUtf8 => "the form is not in UTF-8",
            Self::Encoded => "the form is compressed",
        })
    }
}

impl std::error::Error for UnreadableForm {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn media_types() {
        let form = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(line).unwrap());
            }
            is_form(&headers).map_err(|error| error.to_string())
        };
        for yes in [
            &b"application/x-www-form-urlencoded"[..],
            b"Application/X-WWW-Form-Urlencoded;charset=\"utf-8\"",
            b"application/x-www-form-urlencoded;",
            b" application/x-www-form-urlencoded ; Charset=UTF-8",
            b"application/x-www-form-urlencoded; foo=bar; charset=utf8",
            b"application/x-www-form-urlencoded; \xff",
        ] {
            assert_eq!(form(&[yes]), Ok(true), "{yes:?}");
        }
        for no in [
            &b""[..],
            b"application/json",
            b"multipart/form-data; boundary=application/x-www-form-urlencoded",
            b"text/plain; application/x-www-form-urlencoded",
            b"application/x-www-form-urlencoded, text/plain",
            b"application/x-www-form-urlencodedx",
            b"\xff",
        ] {
            assert_eq!(form(&[no]), Ok(false), "{no:?}");
        }
        assert_eq!(form(&[]), Ok(false));
        assert_eq!(form(&[b"text/plain", b"application/json"]), Ok(false));
        for unreadable in ["utf-16", "\"iso-8859-1\"", "", "shift_jis"] {
            let line = format!("application/x-www-form-urlencoded; charset={unreadable}");
            assert!(form(&[line.as_bytes()]).is_err(), "{unreadable}");
        }
        assert!(form(&[b"text/plain", b"application/x-www-form-urlencoded"]).is_err());
        assert!(form(&[b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded"]).is_err());
    }
}
