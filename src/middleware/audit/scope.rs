use std::time::{Duration, Instant};

use http::request::Parts;

use super::escape::truncate;
use super::event::AuditEvent;
use super::outcome::Outcome;
use super::sink::{Audit, SinkPanicked};
use crate::middleware::response::RejectionKind;
use crate::verify::{AuditPath, RequestId, Subject};

/// Records the decision about one request. It measures the verifier's call and keeps the span around it.
#[derive(Default)]
pub(in crate::middleware) struct AuditScope {
    started: Option<Instant>,
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

impl AuditScope {
    /// Starts the measurement, and creates the span that the verifier runs in.
    pub(in crate::middleware) fn start(audit: &Audit, parts: &Parts, subject: &Subject) -> Self {
        let enabled = enabled(audit);
        #[cfg(not(feature = "tracing"))]
        let _ = (parts, subject);
        Self {
            started: (enabled || cfg!(feature = "metrics")).then(Instant::now),
            #[cfg(feature = "tracing")]
            span: enabled.then(|| super::tracing::span(subject, parts.extensions.get::<RequestId>())),
        }
    }

    /// Polls the verifier in its span.
    pub(in crate::middleware) fn in_scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.as_ref().map(tracing::Span::enter);
        poll()
    }

    /// Emits the event of the decision. If the sink panics at a request that is forwarded without a factor, the others
    /// receive `unavailable` instead, because the caller must reject the request then.
    pub(in crate::middleware) fn record(
        &self,
        audit: &Audit,
        parts: &Parts,
        subject: Option<&Subject>,
        outcome: Outcome,
    ) -> Result<(), SinkPanicked> {
        if !enabled(audit) {
            self.count(outcome);
            return Ok(());
        }
        let event = AuditEvent {
            outcome,
            subject: subject.cloned(),
            method: parts.method.clone(),
            path: parts
                .extensions
                .get::<AuditPath>()
                .map_or_else(|| truncate(parts.uri.path()), AuditPath::as_str)
                .into(),
            request_id: parts.extensions.get::<RequestId>().cloned(),
            verifier_duration: self.duration(),
        };
        let recorded = audit.call_sink(&event);
        let outcome = match recorded {
            Err(SinkPanicked) if outcome.is_bypass() => Outcome::Rejected(RejectionKind::Unavailable(None)),
            _ => outcome,
        };
        #[cfg(feature = "tracing")]
        super::tracing::emit(&AuditEvent { outcome, ..event });
        self.count(outcome);
        recorded
    }

    fn duration(&self) -> Option<Duration> {
        self.started.map(|started| started.elapsed())
    }

    #[cfg(feature = "metrics")]
    fn count(&self, outcome: Outcome) {
        super::metrics::count(outcome, self.duration());
    }

    #[cfg(not(feature = "metrics"))]
    fn count(&self, _: Outcome) {}
}

/// Whether anything needs more than the counters.
fn enabled(audit: &Audit) -> bool {
    #[cfg(feature = "tracing")]
    let traced = super::tracing::enabled();
    #[cfg(not(feature = "tracing"))]
    let traced = false;
    audit.sink.is_some() || traced
}
