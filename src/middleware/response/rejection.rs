use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::pending::insert_pending_headers;
use super::problem::Problem;
use super::rejection_headers::RejectionHeaders;
use crate::verify::{DenyReason, ErrorClass, PendingApproval};

/// Why the layer responded instead of the inner service.
///
/// The layer inserts it into the extensions of each of its responses, whichever hook built the response. Logs and
/// metrics outside the layer find the true reason there, and the client does not.
#[derive(Clone)]
pub struct Rejection {
    pub(super) kind: RejectionKind,
    pub(super) problem: &'static Problem,
    pub(super) headers: Arc<RejectionHeaders>,
    pub(super) retry_after: Option<Duration>,
    pub(super) pending: Option<Arc<PendingApproval>>,
    pub(super) source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The true reason of a [`Rejection`].
///
/// Several of them look alike from outside (see [`Rejection::code`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The first factor did not identify a user. Neither verifier nor store was called.
    Unidentified,
    /// The OTP was empty, or not an OTP. The verifier was not called.
    MalformedOtp,
    /// The request had more than one OTP or approval token. The verifier was not called.
    AmbiguousOtp,
    /// The body was incomplete, or not what its type says. The verifier was not called.
    UnreadableBody,
    /// The body was over the limit. The verifier was not called.
    BodyTooLarge,
    /// The verifier denied the attempt.
    Denied(DenyReason),
    /// An approval is pending.
    Pending,
    /// The verifier failed, with an error of this class if known. [`Rejection::source`] is its error.
    Unavailable(Option<ErrorClass>),
}

impl RejectionKind {
    /// The stable name in metrics and log fields, such as `wrong_otp`. Do not show it to the client.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::MalformedOtp => "malformed_otp",
            Self::AmbiguousOtp => "ambiguous_otp",
            Self::UnreadableBody => "unreadable_body",
            Self::BodyTooLarge => "body_too_large",
            Self::Denied(reason) => reason.name(),
            Self::Pending => "pending",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl Rejection {
    /// The true reason. Do not show it to the client: it distinguishes a wrong code from a used one, and both from an
    /// unknown user.
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

    /// How long the client should wait, if known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The pending approval, if the kind is [`Pending`](RejectionKind::Pending).
    #[must_use]
    pub fn pending(&self) -> Option<&PendingApproval> {
        self.pending.as_deref()
    }

    pub(super) fn problem(&self) -> &'static Problem {
        self.problem
    }

    /// The challenge of the layer in a 401.
    pub(super) fn challenge(&self) -> Option<&HeaderValue> {
        self.headers.challenge(self.problem)
    }

    /// Builds a response with this rejection's status and headers (`WWW-Authenticate`, `Retry-After`,
    /// `Toopher-Approval`, `Location`, `Cache-Control: no-store`, `Vary`) and the given body.
    pub fn response<B>(&self, body: B) -> Response<B> {
        self.response_with(self.headers.plain(self.problem), body)
    }

    /// Builds a response with the headers of a problem document.
    pub(super) fn document_response<B>(&self, body: B) -> Response<B> {
        self.response_with(self.headers.document(self.problem), body)
    }

    fn response_with<B>(&self, headers: HeaderMap, body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            // Whole seconds (RFC 9110 section 10.2.3), rounded up, so that the client does not retry too early.
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(pending) = &self.pending {
            insert_pending_headers(pending, headers);
        }
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "second factor rejected: {:?}", self.kind)
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
