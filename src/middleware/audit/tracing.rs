//! Decisions as `tracing` events, and a span around the verifier.

use tracing::{Level, Span};

use super::escape::escape_for_log;
use super::event::AuditEvent;
use super::outcome::Outcome;
use crate::middleware::response::RejectionKind;
use crate::verify::{BypassReason, DenyReason, RequestId, Subject};

/// The target of the events and the span.
const TARGET: &str = "tower_toopher::audit";

pub(super) fn enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::ERROR)
}

pub(super) fn span(subject: &Subject, request_id: Option<&RequestId>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "second_factor",
        user = tracing::field::Empty,
        action = tracing::field::Empty,
        request_id = tracing::field::Empty,
    );
    if !span.is_disabled() {
        span.record("user", &*escape_for_log(subject.user.as_str()));
        span.record("action", &*escape_for_log(subject.action.as_str()));
        request_id.map(|id| span.record("request_id", &*escape_for_log(id.as_str())));
    }
    span
}

pub(super) fn emit(event: &AuditEvent) {
    macro_rules! event {
        ($level:ident) => {
            if tracing::enabled!(target: TARGET, Level::$level) {
                let text = |text: Option<&str>| text.map(|text| escape_for_log(text).into_owned());
                tracing::event!(
                    target: TARGET,
                    Level::$level,
                    outcome = event.outcome.name(),
                    reason = event.outcome.reason(),
                    factor = event.outcome.factor(),
                    user = text(event.user().map(|user| user.as_str())),
                    action = text(event.action().map(|action| action.as_str())),
                    terminal = text(event.terminal().map(|terminal| terminal.name())),
                    method = text(Some(event.method.as_str())),
                    path = text(Some(&*event.path)),
                    request_id = text(event.request_id()),
                    verifier_duration = event.verifier_duration.map(|duration| duration.as_secs_f64()),
                    "second factor"
                )
            }
        };
    }
    match event.outcome {
        Outcome::AlreadyVerified | Outcome::Reused(_) | Outcome::Skipped => event!(DEBUG),
        Outcome::Granted(_) | Outcome::Cancelled => event!(INFO),
        Outcome::Bypassed(BypassReason::NotEnrolled) => event!(WARN),
        Outcome::Bypassed(BypassReason::FailOpen(_)) => event!(ERROR),
        Outcome::Rejected(kind) => match kind {
            // The first half of every login.
            RejectionKind::Pending | RejectionKind::Denied(DenyReason::OtpRequired) => event!(INFO),
            RejectionKind::Unavailable(_) => event!(ERROR),
            _ => event!(WARN),
        },
    }
}

pub(super) fn sink_panicked() {
    tracing::error!(target: TARGET, "the audit sink panicked");
}
