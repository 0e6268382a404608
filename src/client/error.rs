//! The error of a call.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::api_error_kind::ApiErrorKind;
use crate::verify::{BoxError, error_chain};

/// The maximum length of the API's message in characters.
const MAX_MESSAGE: usize = 256;

/// Why a call failed.
///
/// The error contains the API's message, truncated and without control characters. It contains no parameter of the
/// call: no OTP, no secret, and no URL with a query.
#[derive(Debug)]
pub struct ClientError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ClientErrorKind,
    /// What is invalid, for the text of the error.
    detail: &'static str,
    /// The API's code and message.
    api: Option<(i64, String)>,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

/// The kinds of [`ClientError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// The call is invalid: its id cannot be a segment of a path, for example. The client sent nothing.
    InvalidCall,
    /// The client's clock is before the Unix epoch. The client sent nothing.
    Clock,
    /// The operating system returned no random bytes for a nonce. The client sent nothing.
    Randomness,
    /// The connection failed or broke. The server may have received the call.
    Transport,
    /// The response was not complete within the time limit. The server may have received the call.
    Timeout,
    /// The response has status 429, with or without an error of the API.
    RateLimited,
    /// The response has a status of 500 to 599, with or without an error of the API.
    ServerError,
    /// The API returned this error, with another status than those above.
    Api(ApiErrorKind),
    /// The response is not one of this API: not JSON, malformed, too large, a redirect, or an error without the API's
    /// error code.
    InvalidResponse,
    /// The response is valid but does not fit the request, such as `pending` in response to an OTP.
    UnexpectedResponse,
}

impl ClientError {
    fn new(kind: ClientErrorKind) -> Self {
        Self { inner: Box::new(Inner { kind, detail: "", api: None, status: None, retry_after: None, source: None }) }
    }

    pub(super) fn invalid_call(detail: &'static str) -> Self {
        Self::new(ClientErrorKind::InvalidCall).with_detail(detail)
    }

    pub(super) fn clock(source: impl Into<BoxError>) -> Self {
        Self::new(ClientErrorKind::Clock).with_source(source)
    }

    pub(super) fn randomness(source: impl Into<BoxError>) -> Self {
        Self::new(ClientErrorKind::Randomness).with_source(source)
    }

    pub(super) fn transport(source: impl Into<BoxError>) -> Self {
        Self::new(ClientErrorKind::Transport).with_source(source)
    }

    pub(super) fn timeout() -> Self {
        Self::new(ClientErrorKind::Timeout)
    }

    pub(super) fn invalid_response(detail: &'static str) -> Self {
        Self::new(ClientErrorKind::InvalidResponse).with_detail(detail)
    }

    pub(super) fn unexpected_response() -> Self {
        Self::new(ClientErrorKind::UnexpectedResponse)
    }

    /// Removes `secrets` from the message, in case the API repeats them.
    pub(super) fn api<'a>(code: i64, message: &str, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut error = Self::new(ClientErrorKind::Api(ApiErrorKind::from_code(code, message)));
        error.inner.api = Some((code, sanitize_message(message, secrets)));
        error
    }

    /// Adds the status of the response, and changes the kind where the status determines it.
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        use ClientErrorKind::{Api, InvalidResponse, RateLimited, ServerError};
        self.inner.status = Some(status);
        self.inner.kind = match self.inner.kind {
            _ if status == StatusCode::TOO_MANY_REQUESTS => RateLimited,
            Api(_) | InvalidResponse if status.is_server_error() => ServerError,
            Api(_) if status == StatusCode::UNAUTHORIZED => Api(ApiErrorKind::Credentials),
            kind => kind,
        };
        self
    }

    pub(super) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.inner.retry_after = retry_after;
        self
    }

    fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    fn with_detail(mut self, detail: &'static str) -> Self {
        self.inner.detail = detail;
        self
    }

    /// The first `ClientError` among `error` and its sources. An error of a
    /// [`ToopherVerifier`](super::ToopherVerifier) has one unless the lookup of users, or a layer around the client,
    /// failed.
    #[must_use]
    pub fn find_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        error_chain(error).find_map(|error| error.downcast_ref())
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> ClientErrorKind {
        self.inner.kind
    }

    /// The API's `error_code`. `None` if the API returned no error of its own.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        self.inner.api.as_ref().map(|(code, _)| *code)
    }

    /// The API's `error_message`: at most 256 characters, without control characters and without this call's secrets.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.inner.api.as_ref().map(|(_, message)| message.as_str())
    }

    /// The status of the response. `None` if there was no response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// How long to wait before the next call, if the response says so in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }
}

/// Makes a message safe for a log line: removes secrets, control characters and directional characters, and limits its
/// length.
fn sanitize_message<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut message = message.to_owned();
    for secret in secrets {
        if !secret.is_empty() && message.contains(secret) {
            message = message.replace(secret, "<redacted>");
        }
    }
    let hidden = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    message.chars().filter(|c| !hidden(c)).take(MAX_MESSAGE).collect()
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, detail, api, status, .. } = &*self.inner;
        match (kind, api) {
            (_, Some((code, message))) => write!(f, "the Toopher API returned error {code}: {message}")?,
            (ClientErrorKind::InvalidCall, _) => write!(f, "invalid call of the Toopher API: {detail}")?,
            (ClientErrorKind::Clock, _) => f.write_str("system clock is before the Unix epoch")?,
            (ClientErrorKind::Randomness, _) => f.write_str("no random bytes for a nonce")?,
            (ClientErrorKind::Transport, _) => f.write_str("connection to the Toopher API failed")?,
            (ClientErrorKind::Timeout, _) => f.write_str("call of the Toopher API timed out")?,
            (ClientErrorKind::UnexpectedResponse, _) => {
                f.write_str("response of the Toopher API does not fit the call")?;
            }
            (_, None) if detail.is_empty() => f.write_str("call of the Toopher API failed")?,
            (_, None) => write!(f, "invalid response of the Toopher API: {detail}")?,
        }
        match status {
            Some(status) => write!(f, " (HTTP status {})", status.as_u16()),
            None => Ok(()),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_safe_for_a_log_line() {
        let error = ClientError::api(42, "bad\r\ncode 081804\u{202e}\u{1b}[2J", ["081804", ""]);
        assert_eq!(error.message(), Some("badcode <redacted>[2J"));
        let error = ClientError::api(42, &"\u{e9}".repeat(10_000), []);
        assert_eq!(error.message().map(|message| message.chars().count()), Some(MAX_MESSAGE));
    }

    #[test]
    fn the_status_determines_the_kind() {
        use ClientErrorKind::*;
        for (status, api, invalid, transport) in [
            (200, Api(ApiErrorKind::UserUnknown), InvalidResponse, Transport),
            (401, Api(ApiErrorKind::Credentials), InvalidResponse, Transport),
            (409, Api(ApiErrorKind::UserUnknown), InvalidResponse, Transport),
            (429, RateLimited, RateLimited, RateLimited),
            (500, ServerError, ServerError, Transport),
            (599, ServerError, ServerError, Transport),
            (601, Api(ApiErrorKind::UserUnknown), InvalidResponse, Transport),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ClientError::api(705, "", []).with_status(status).kind(), api, "{status}");
            assert_eq!(ClientError::invalid_response("").with_status(status).kind(), invalid, "{status}");
            assert_eq!(ClientError::transport("reset").with_status(status).kind(), transport, "{status}");
        }
    }
}
