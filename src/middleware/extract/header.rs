use std::future::{Ready, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

use super::credentials::Credentials;
use super::error::ExtractError;
use super::extractor::Extract;
use super::line::take_line;
use crate::verify::Otp;

/// Reads the OTP from one header, `Toopher-OTP` by default. It reads no body.
///
/// The header is removed before the request is forwarded, so that the inner service does not log the code. Two lines of
/// it are rejected, even if they are equal. A request that is forwarded without verification, because it is skipped or
/// was verified by an outer layer, keeps the header, because an inner layer may need it.
///
/// Because no body is read, an approval is requested only for requests without a body: see
/// [`ToopherLayer::approvals`](crate::ToopherLayer::approvals).
///
/// ```
/// use http::HeaderName;
/// use tower_toopher::Header;
///
/// let default = Header::default();
/// let own = Header::new(HeaderName::from_static("x-otp"));
/// # let _ = (default, own);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Header {
    name: HeaderName,
}

impl Header {
    /// Reads the OTP from the header `name`.
    ///
    /// Use a header that no proxy in front of the service logs.
    pub fn new(name: HeaderName) -> Self {
        Self { name }
    }

    /// The name of the header, as a value of `Vary`.
    pub(super) fn name(&self) -> HeaderValue {
        HeaderValue::from(self.name.clone())
    }

    /// Removes the OTP from `headers`.
    pub(super) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Otp>, ExtractError> {
        let line = take_line(headers, &self.name)?;
        line.map(|line| Otp::parse(line.as_bytes())).transpose().map_err(ExtractError::Malformed)
    }
}

/// The header `Toopher-OTP`.
impl Default for Header {
    fn default() -> Self {
        Self::new(HeaderName::from_static("toopher-otp"))
    }
}

impl<B: Body> Extract<B> for Header {
    type Body = B;
    type Future = Ready<Result<Credentials<B>, ExtractError>>;

    fn extract(&self, parts: &mut Parts, body: B) -> Self::Future {
        let otp = self.take(&mut parts.headers);
        ready(otp.map(|otp| {
            let bytes = body.is_end_stream().then(Bytes::new);
            Credentials::new(otp, body).with_body_bytes(bytes)
        }))
    }

    fn vary(&self) -> HeaderValue {
        self.name()
    }

    fn pass(&self, body: B) -> B {
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::ParseOtpError;

    fn take(lines: &[&[u8]]) -> (Result<Option<Otp>, ExtractError>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("Toopher-OTP", HeaderValue::from_bytes(line).unwrap());
        }
        (Header::default().take(&mut headers), headers)
    }

    #[test]
    fn one_line_is_removed() {
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
