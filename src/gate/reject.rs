//! How a refusal looks, inside and outside.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::challenge;
use super::problem::Problem;
use crate::{FaultKind, Pending};

/// Why the gate answered instead of the inner service.
///
/// It is opaque, so that more can be told later without breaking anyone. The gate puts it into the extensions of every
/// response of its own, whatever hook made that response: logs and metrics outside the gate find the truth there, and
/// the client does not.
#[derive(Clone)]
pub struct Rejection {
    pub(super) kind: RejectionKind,
    pub(super) problem: &'static Problem,
    pub(super) retry_after: Option<Duration>,
    pub(super) www_authenticate: Option<HeaderValue>,
    pub(super) step_up: Option<Arc<HeaderValue>>,
    pub(super) pending: Option<Arc<Pending>>,
    pub(super) fault: Option<FaultKind>,
    pub(super) source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The true reason of a [`Rejection`].
///
/// To the outside several of them look alike (see [`Rejection::code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The first factor has not said who this is. Neither verifier nor store was asked.
    Unidentified,
    /// There was no OTP, and the verifier cannot do without.
    OtpRequired,
    /// The OTP was empty, or not spelt like one. The verifier was not asked.
    MalformedOtp,
    /// There was more than one OTP. The verifier was not asked.
    AmbiguousOtp,
    /// The OTP is not the user's at this time.
    WrongOtp,
    /// The OTP has been used.
    ReplayedOtp,
    /// The verifier does not know the user.
    UnknownUser,
    /// The user has no second factor.
    NotEnrolled,
    /// The person who was asked said no.
    Refused,
    /// The challenge is not one for this request: made up, altered, another's, too old, or used.
    UnknownApproval,
    /// Another approval of this user is waited for.
    AlreadyPending,
    /// Too many failures: the OTP was not looked at, and not spent.
    Throttled,
    /// Too many failures in a row: only an administrator unlocks.
    LockedOut,
    /// The person has been asked, and has not answered yet.
    Pending,
    /// The body broke off, or is not what it says it is. The verifier was not asked.
    UnreadableBody,
    /// The body is over the limit. The verifier was not asked.
    BodyTooLarge,
    /// The verifier could not tell. [`Rejection::source`] has its error.
    Unavailable,
}

impl RejectionKind {
    /// A name that stays, for logs and metrics: the variant's, as in `wrong_otp`. Keep it from the client, as the kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::OtpRequired => "otp_required",
            Self::MalformedOtp => "malformed_otp",
            Self::AmbiguousOtp => "ambiguous_otp",
            Self::WrongOtp => "wrong_otp",
            Self::ReplayedOtp => "replayed_otp",
            Self::UnknownUser => "unknown_user",
            Self::NotEnrolled => "not_enrolled",
            Self::Refused => "refused",
            Self::UnknownApproval => "unknown_approval",
            Self::AlreadyPending => "already_pending",
            Self::Throttled => "throttled",
            Self::LockedOut => "locked_out",
            Self::Pending => "pending",
            Self::UnreadableBody => "unreadable_body",
            Self::BodyTooLarge => "body_too_large",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Rejection {
    /// The true reason. Keep it from the client: it tells a wrong code from a used one, and both from an unknown user.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The status for the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.problem.status
    }

    /// The stable, machine-readable reason for the client, such as `otp_invalid`. It is the `error` of
    /// `WWW-Authenticate` and the end of the problem's `type`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.problem.code
    }

    /// A sentence for the client.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.problem.title
    }

    /// How long the client should wait, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The approval that is waited for, where the kind is [`Pending`](RejectionKind::Pending).
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_deref()
    }

    /// What kind of trouble the verifier is in, where the kind is [`Unavailable`](RejectionKind::Unavailable) and that is
    /// known.
    #[must_use]
    pub fn fault(&self) -> Option<FaultKind> {
        self.fault
    }

    /// A response with this rejection's status and headers (`WWW-Authenticate`, `Retry-After`, `Toopher-Challenge`,
    /// `Location`, `Cache-Control: no-store`) around a body of your own.
    pub fn response<B>(&self, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.reserve(if self.pending.is_some() { 8 } else { 6 });
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = &self.www_authenticate {
            headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(challenge) = &self.step_up {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::clone(challenge));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds (RFC 9110 section 10.2.3), rounded up so that the wait is over when they are.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(pending) = &self.pending {
            challenge::write(pending, headers);
        }
        response
    }

    /// The problem document.
    fn json(&self) -> Bytes {
        let json = Bytes::from_static(self.problem.json.as_bytes());
        let Some(pending) = self.pending.as_deref() else { return json };
        // Nothing of these needs to be escaped: letters, digits, and an address that is a header's value.
        let mut members = String::new();
        if let Some(challenge) = pending.challenge() {
            members += &format!(",\"challenge\":\"{}\"", challenge.as_str());
        }
        if let Some(number) = pending.number() {
            members += &format!(",\"number\":\"{number:02}\"");
        }
        if let Some(url) = pending.status_url() {
            members += &format!(",\"status_url\":\"{url}\"");
        }
        match self.problem.json.strip_suffix('}') {
            Some(open) if !members.is_empty() => format!("{open}{members}}}").into(),
            _ => json,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by the second-factor gate: {:?}", self.kind)
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("kind", &self.kind)
            .field("status", &self.status())
            .field("retry_after", &self.retry_after)
            .field("pending", &self.pending)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Makes the response to a refused request.
///
/// [`ProblemJson`] is the default. Any `Fn(&Rejection, &Parts) -> Response<B>` is one too; start from
/// [`Rejection::response`] to keep the status and the headers. Whatever it returns is sent (but for
/// [`Profile::ForwardAuth`](crate::Profile::ForwardAuth), which turns a success into 401), and a status of 2xx tells
/// the client that the request was carried out: it was not.
pub trait Reject<B> {
    /// Makes the response. `request` is the request without its body.
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B>;
}

impl<F, B> Reject<B> for F
where
    F: Fn(&Rejection, &Parts) -> Response<B>,
{
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        self(rejection, request)
    }
}

/// Answers with `application/problem+json` (RFC 9457), with no body to `HEAD`.
///
/// The inner service's response body must be `From<Bytes>`, as axum's `Body` and `Full<Bytes>` are.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a hook may fall back on it by its name")]
pub struct ProblemJson;

impl<B: From<Bytes>> Reject<B> for ProblemJson {
    fn reject(&self, rejection: &Rejection, request: &Parts) -> Response<B> {
        let json = rejection.json();
        let length = json.len();
        let body = if request.method == Method::HEAD { Bytes::new() } else { json };
        let mut response = rejection.response(B::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // Said here, since a server that sees the empty body of an answer to HEAD would say 0.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}
