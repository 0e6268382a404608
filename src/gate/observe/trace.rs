//! Decisions as `tracing` events, and a span around the verifier.

use tracing::{Level, Span};

use super::watch::Heard;
use super::{AuditEvent, AuditOutcome};
use crate::audit::{TARGET, plain};
use crate::gate::RejectionKind;

pub(super) fn listens() -> bool {
    tracing::enabled!(target: TARGET, Level::ERROR)
}

pub(super) fn span(heard: &Heard) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "second_factor",
        user = tracing::field::Empty,
        action = tracing::field::Empty,
        request_id = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let record = |name, text: Option<&str>| text.map(|text| span.record(name, &*plain(text)));
        record("user", heard.user.as_ref().map(|user| user.as_str()));
        record("action", heard.action.as_ref().map(|action| action.as_str()));
        record("request_id", heard.request_id.as_deref());
    }
    span
}

pub(super) fn tell(event: &AuditEvent) {
    macro_rules! event {
        ($level:ident) => {
            if tracing::enabled!(target: TARGET, Level::$level) {
                let text = |text: Option<&str>| text.map(|text| plain(text).into_owned());
                tracing::event!(
                    target: TARGET,
                    Level::$level,
                    outcome = event.outcome.name(),
                    reason = event.outcome.reason(),
                    factor = event.outcome.factor(),
                    user = text(event.user.as_ref().map(|user| user.as_str())),
                    action = text(event.action.as_ref().map(|action| action.as_str())),
                    terminal = text(event.terminal.as_ref().map(|terminal| terminal.name())),
                    method = text(Some(event.method.as_str())),
                    path = text(Some(&*event.path)),
                    request_id = text(event.request_id.as_deref()),
                    verifier_seconds = event.verifier_time.map(|time| time.as_secs_f64()),
                    "second factor"
                )
            }
        };
    }
    match event.outcome {
        AuditOutcome::AlreadyPassed | AuditOutcome::GrantedEarlier(_) | AuditOutcome::Skipped => event!(DEBUG),
        AuditOutcome::Granted(_)
        | AuditOutcome::Pending
        | AuditOutcome::Abandoned
        // The first half of every login.
        | AuditOutcome::Denied(RejectionKind::OtpRequired) => event!(INFO),
        AuditOutcome::Denied(_) | AuditOutcome::PassedUnprotected => event!(WARN),
        AuditOutcome::Unavailable(_) | AuditOutcome::FaultLetPass(_) => event!(ERROR),
    }
}

pub(super) fn panicked() {
    tracing::error!(target: TARGET, "the sink of audit events panicked");
}
