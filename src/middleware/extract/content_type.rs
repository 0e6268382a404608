//! The content type of a request body.

use std::fmt;

use http::{HeaderMap, header};

use crate::headers::{split_list, unquote};

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
/// compressed. A content type that only *contains* the name of a form's media type, such as
/// `application/x-www-form-urlencodedx` or `application/x-www-form-urlencoded, text/plain`, is ambiguous: axum's `Form`
/// compares the beginning of the line and reads such a body as a form, and other readers do not.
pub fn is_form(headers: &HeaderMap) -> Result<bool, UnreadableForm> {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter().map(|line| line.as_bytes());
    let Some(first) = lines.next() else { return Ok(false) };
    let mut others = lines.peekable();
    if others.peek().is_some() {
        // The inner service may use either line.
        let form = contains_form(first) || others.any(contains_form);
        return if form { Err(UnreadableForm::TwoTypes) } else { Ok(false) };
    }
    let mut parts = split_list(first, b';');
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(FORM)) {
        return if contains_form(first) { Err(UnreadableForm::InexactType) } else { Ok(false) };
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    // Empty elements of a list have no meaning (RFC 9110 section 5.6.1.2).
    let is_coding = |coding: &[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
    if codings.any(|line| split_list(line.as_bytes(), b',').any(is_coding)) {
        return Err(UnreadableForm::Encoded);
    }
    for parameter in parts {
        // `application/x-www-form-urlencoded, text/plain` behind a parameter.
        if parameter.contains(&b',') && !parameter.contains(&b'"') {
            return Err(UnreadableForm::InexactType);
        }
        let mut halves = parameter.splitn(2, |&b| b == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = unquote(halves.next().unwrap_or_default().trim_ascii());
        if name.eq_ignore_ascii_case(b"charset")
            && ![&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err(UnreadableForm::NotUtf8);
        }
    }
    Ok(true)
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Whether some reader could take the content type for that of a form.
fn contains_form(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"x-www-form-urlencoded";
    // Most requests have another content type, or the exact one.
    content_type.len() >= NAME.len() && content_type.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME))
}

/// The error of [`is_form`]: the body is a form that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnreadableForm {
    /// There are several `Content-Type` lines, and one of them is that of a form.
    TwoTypes,
    /// The content type contains the name of a form's media type, and is not exactly that type.
    InexactType,
    /// The `charset` parameter names another encoding than UTF-8.
    NotUtf8,
    /// There is a `Content-Encoding` other than `identity`.
    Encoded,
}

impl fmt::Display for UnreadableForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoTypes => "the form has two content types",
            Self::InexactType => "the content type is not exactly that of a form",
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
    fn codings() {
        let form = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            for line in lines {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            is_form(&headers)
        };
        for none in [&[][..], &[""], &[" "], &["identity"], &["Identity", ""], &[",", "identity , "]] {
            assert_eq!(form(none), Ok(true), "{none:?}");
        }
        for coded in [&["gzip"][..], &["", "br"], &["identity, gzip"], &[",gzip"], &["identity;q=0"], &["\"\""]] {
            assert_eq!(form(coded), Err(UnreadableForm::Encoded), "{coded:?}");
        }
    }

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
            b"application/x-www-form-urlencoded; a=\"; charset=utf-16, text/plain\"",
        ] {
            assert_eq!(form(&[yes]), Ok(true), "{yes:?}");
        }
        for no in
            [&b""[..], b"application/json", b"multipart/form-data; boundary=abc", b"application/x-www-form", b"\xff"]
        {
            assert_eq!(form(&[no]), Ok(false), "{no:?}");
        }
        assert_eq!(form(&[]), Ok(false));
        assert_eq!(form(&[b"text/plain", b"application/json"]), Ok(false));
        for unreadable in ["utf-16", "\"iso-8859-1\"", "", "shift_jis"] {
            let line = format!("application/x-www-form-urlencoded; charset={unreadable}");
            assert!(form(&[line.as_bytes()]).is_err(), "{unreadable}");
        }
        for inexact in [
            &b"multipart/form-data; boundary=application/x-www-form-urlencoded"[..],
            b"text/plain; application/x-www-form-urlencoded",
            b"application/x-www-form-urlencoded, text/plain",
            b"application/x-www-form-urlencoded; a=b, text/plain",
            b"text/plain, application/x-www-form-urlencoded",
            b"application/x-www-form-urlencodedx",
            b"APPLICATION/X-WWW-FORM-URLENCODED+x",
            b"\"application/x-www-form-urlencoded\"",
            b"application/x-www-form-urlencoded charset=utf-8",
            b"application /x-www-form-urlencoded",
            b"x-www-form-urlencoded",
            b"application/x-www-form-urlencoded\xff",
        ] {
            let error = UnreadableForm::InexactType.to_string();
            assert_eq!(form(&[inexact]), Err(error), "{inexact:?}");
        }
        assert!(form(&[b"text/plain", b"application/x-www-form-urlencodedx"]).is_err());
        assert!(form(&[b"text/plain", b"application/x-www-form-urlencoded"]).is_err());
        assert!(form(&[b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded"]).is_err());
    }
}
