use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::outcome::Outcome;
use crate::verify::{Action, RequestId, Subject, Terminal, UserId};

/// One decision of the layer: who, what, from where, and why.
///
/// [`ToopherLayer::audit`](crate::ToopherLayer::audit) calls a function of the application with each event. It contains
/// no OTP, no approval token, no header and no query, and neither does its `Debug`. **The path is that of the
/// request.** If paths contain secrets, such as a session id or the token of a link in a mail, insert an
/// [`AuditPath`](crate::verify::AuditPath) into the request's extensions.
///
/// User, path and terminal are text that clients can choose. `Debug` escapes line breaks and control characters;
/// `Display` of the parts does not: see [`escape_for_log`](crate::middleware::escape_for_log).
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub(super) outcome: Outcome,
    pub(super) subject: Option<Subject>,
    pub(super) method: Method,
    pub(super) path: Arc<str>,
    pub(super) request_id: Option<RequestId>,
    pub(super) verifier_duration: Option<Duration>,
}

impl AuditEvent {
    /// The decision and its reason.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The user. `None` if no user was identified, or if the request was skipped.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.subject.as_ref().map(|subject| &subject.user)
    }

    /// The action. `None` if no user was identified, or if the request was skipped.
    #[must_use]
    pub fn action(&self) -> Option<&Action> {
        self.subject.as_ref().map(|subject| &subject.action)
    }

    /// The terminal, if the application inserted one.
    #[must_use]
    pub fn terminal(&self) -> Option<&Terminal> {
        self.subject.as_ref()?.terminal.as_ref()
    }

    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path of the request without its query, truncated to 1,024 bytes. Inside a router's `nest` it has no prefix.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The id of the request, if the application inserted one.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(RequestId::as_str)
    }

    /// The duration of the verifier's call, including the wait for its readiness. `None` if it was not called.
    #[must_use]
    pub fn verifier_duration(&self) -> Option<Duration> {
        self.verifier_duration
    }
}
