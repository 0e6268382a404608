use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::ApiErrorKind;
use crate::BoxError;

/// The most characters of the API's message that are kept.
const MAX_MESSAGE: usize = 256;

/// Why a call came to nothing.
///
/// It holds what the API said, cut to a length and without control characters, and no parameter of the call: no OTP,
/// no secret, no address with a query.
pub struct ClientError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    trouble: Trouble,
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

#[derive(Debug)]
enum Trouble {
    /// The call could not be made as it was wanted.
    Call(&'static str),
    Clock,
    Randomness,
    Transport,
    Timeout,
    /// An answer that says nothing reliable.
    Answer(&'static str),
    /// An error of the API's own, with its code and text.
    Api {
        kind: ApiErrorKind,
        code: i64,
        message: String,
    },
}

impl ClientError {
    fn new(trouble: Trouble) -> Self {
        Self { inner: Box::new(Inner { trouble, status: None, retry_after: None, source: None }) }
    }

    pub(super) fn call(what: &'static str) -> Self {
        Self::new(Trouble::Call(what))
    }

    pub(super) fn clock() -> Self {
        Self::new(Trouble::Clock)
    }

    pub(super) fn randomness(source: impl Into<BoxError>) -> Self {
        Self::new(Trouble::Randomness).with_source(source)
    }

    pub(super) fn transport(source: impl Into<BoxError>) -> Self {
        Self::new(Trouble::Transport).with_source(source)
    }

    pub(super) fn timeout() -> Self {
        Self::new(Trouble::Timeout)
    }

    pub(super) fn answer(what: &'static str) -> Self {
        Self::new(Trouble::Answer(what))
    }

    /// `secrets` are taken out of the message, should the API repeat them.
    pub(super) fn api<'a>(code: i64, message: &str, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let kind = ApiErrorKind::of(code, message);
        Self::new(Trouble::Api { kind, code, message: presentable(message, secrets) })
    }

    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    pub(super) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.inner.retry_after = retry_after;
        self
    }

    pub(super) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Whether the call itself was impossible, such as one with an id that is no segment of a path. Nothing was sent.
    #[must_use]
    pub fn is_invalid_call(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Call(_))
    }

    /// Whether our own clock stands before 1970. Nothing was sent.
    #[must_use]
    pub fn is_clock(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Clock)
    }

    /// Whether the operating system had no random numbers for a nonce. Nothing was sent.
    #[must_use]
    pub fn is_randomness(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Randomness)
    }

    /// Whether the transport failed: no connection, or one that broke. The call may have arrived all the same.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Transport)
    }

    /// Whether the time was up before the whole answer was there. The call may have arrived all the same.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Timeout)
    }

    /// Whether the answer was not one that this API gives: not JSON, of the wrong shape, too large, a redirect, or an
    /// error without the API's error code.
    #[must_use]
    pub fn is_invalid_answer(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Answer(_))
    }

    /// Whether the API itself answered with an error of its own.
    #[must_use]
    pub fn is_api(&self) -> bool {
        matches!(self.inner.trouble, Trouble::Api { .. })
    }

    /// Whether the API does not accept our key, secret or clock: an operator's error, not a user's.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        self.is_api()
            && (self.inner.status == Some(StatusCode::UNAUTHORIZED) || self.kind() == Some(ApiErrorKind::Credentials))
    }

    /// Whether the API wants fewer calls (429), in its own words or not.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.inner.status == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether the server says that it is in trouble (5xx), in the API's own words or not.
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        self.inner.status.is_some_and(|status| status.is_server_error())
    }

    /// What the API's error means. None when there is none.
    #[must_use]
    pub fn kind(&self) -> Option<ApiErrorKind> {
        match self.inner.trouble {
            Trouble::Api { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// The API's `error_code`.
    #[must_use]
    pub fn error_code(&self) -> Option<i64> {
        match self.inner.trouble {
            Trouble::Api { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The API's `error_message`: at most 256 characters, without control characters and without this call's secrets.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match &self.inner.trouble {
            Trouble::Api { message, .. } => Some(message),
            _ => None,
        }
    }

    /// The status of the answer. None when there was no answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.status
    }

    /// How long to wait before the next call, where the answer says so in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }
}

/// What is left of a message that may go into a log line: no secrets, no control or directional characters, a bounded
/// length.
fn presentable<'a>(message: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
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

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientError")
            .field("trouble", &self.inner.trouble)
            .field("status", &self.inner.status)
            .field("retry_after", &self.inner.retry_after)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.trouble {
            Trouble::Call(what) => write!(f, "the Toopher API was not called: {what}")?,
            Trouble::Clock => f.write_str("the Toopher API was not called: the clock stands before 1970")?,
            Trouble::Randomness => f.write_str("the Toopher API was not called: no random numbers for a nonce")?,
            Trouble::Transport => f.write_str("the Toopher API could not be reached")?,
            Trouble::Timeout => f.write_str("the Toopher API did not answer in time")?,
            Trouble::Answer(what) => write!(f, "the answer was not one of the Toopher API: {what}")?,
            Trouble::Api { code, message, .. } => write!(f, "the Toopher API answered with error {code}: {message}")?,
        }
        match self.inner.status {
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
    fn messages_are_fit_for_a_log_line() {
        let error = ClientError::api(42, "bad\r\ncode 081804\u{202e}\u{1b}[2J", ["081804", ""]);
        assert_eq!(error.message(), Some("badcode <redacted>[2J"));
        let error = ClientError::api(42, &"\u{e9}".repeat(10_000), []);
        assert_eq!(error.message().map(|message| message.chars().count()), Some(MAX_MESSAGE));
    }
}
