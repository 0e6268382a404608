use std::future::{Ready, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use http_body::Body;

use super::{Extract, ExtractError, Extracted, take_line};
use crate::Otp;

/// Takes the OTP from one header, `Toopher-OTP` by default. No body is read.
///
/// The header is removed before the request goes on, so that nothing behind the gate logs the code. Two lines of it
/// are refused, even if they are equal. A request that is let through unasked, because it is skipped or has passed an
/// outer gate, goes on as it came, header and all: a gate further in may want it.
///
/// Since no body is read, an approval is asked for only with requests that have none: see
/// [`ToopherLayer::approvals`](crate::ToopherLayer::approvals).
///
/// ```
/// use http::HeaderName;
/// use tower_toopher::Header;
///
/// let default = Header::default();
/// let own = Header::named(HeaderName::from_static("x-otp"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Header {
    name: HeaderName,
}

impl Header {
    /// Takes the OTP from the header `name` instead of `Toopher-OTP`.
    ///
    /// Choose one that no proxy in front of the service writes to its log.
    pub fn named(name: HeaderName) -> Self {
        Self { name }
    }

    /// Takes the OTP out of `headers`.
    pub(super) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Otp>, ExtractError> {
        let line = take_line(headers, &self.name)?;
        line.map(|line| Otp::parse(line.as_bytes())).transpose().map_err(ExtractError::Malformed)
    }
}

impl Default for Header {
    fn default() -> Self {
        Self::named(HeaderName::from_static("toopher-otp"))
    }
}

impl<B: Body> Extract<B> for Header {
    type Body = B;
    type Future = Ready<Result<Extracted<B>, ExtractError>>;

    fn extract(&self, parts: &mut Parts, body: B) -> Self::Future {
        let otp = self.take(&mut parts.headers);
        ready(otp.map(|otp| {
            let whole = body.is_end_stream().then(Bytes::new);
            Extracted::new(otp, body).with_whole_body(whole)
        }))
    }

    fn pass(&self, body: B) -> B {
        body
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::ParseOtpError;

    fn take(lines: &[&[u8]]) -> (Result<Option<Otp>, ExtractError>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("Toopher-OTP", HeaderValue::from_bytes(line).unwrap());
        }
        (Header::default().take(&mut headers), headers)
    }

    #[test]
    fn one_line_is_taken_out() {
        let (otp, headers) = take(&[b"081 804"]);
        assert_eq!(otp.unwrap().unwrap().as_str(), "081804");
        assert!(headers.is_empty());
        assert!(take(&[]).0.unwrap().is_none());
    }

    #[test]
    fn two_lines_are_ambiguous_in_any_order() {
        for lines in [[&b"000000"[..], b"081804"], [b"081804", b"000000"], [b"081804", b"081804"], [b"", b"081804"]] {
            let (taken, headers) = take(&lines);
            assert!(matches!(taken, Err(ExtractError::Ambiguous)) && headers.is_empty(), "{lines:?}");
        }
        assert!(matches!(take(&[b"000000, 081804"]).0, Err(ExtractError::Ambiguous)));
    }

    #[test]
    fn an_empty_line_is_malformed_and_not_absent() {
        for line in [&b""[..], b"   ", b"\t"] {
            assert!(matches!(take(&[line]).0, Err(ExtractError::Malformed(ParseOtpError::Empty))));
        }
        assert!(matches!(take(&[b"08180\xff"]).0, Err(ExtractError::Malformed(ParseOtpError::NotText))));
        assert!(take(&[b"junk"]).1.is_empty());
    }
}
