//! Who hears of a decision: a function of the application's, `tracing`, and `metrics`.

mod event;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "tracing")]
mod trace;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Uri};

pub use self::event::{AuditEvent, AuditOutcome};
#[cfg(feature = "metrics")]
pub use self::meter::describe_metrics;
pub(super) use self::watch::Watch;
use crate::audit::cut;

type Sink = dyn Fn(&AuditEvent) + Send + Sync;
type FindText = dyn Fn(&Parts) -> Option<Arc<str>> + Send + Sync;

/// What the layer was told about who is to hear of its decisions.
#[derive(Clone, Default)]
pub(super) struct Observe {
    pub(super) sink: Option<Arc<Sink>>,
    pub(super) request_id: Option<Arc<FindText>>,
    pub(super) path: Option<Arc<FindText>>,
}

/// Whether whoever was to hear of a decision has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Told {
    Yes,
    /// The sink panicked.
    No,
}

impl Observe {
    /// Whether anybody wants to know more than how many there were.
    fn listens(&self) -> bool {
        #[cfg(feature = "tracing")]
        let traced = trace::listens();
        #[cfg(not(feature = "tracing"))]
        let traced = false;
        self.sink.is_some() || traced
    }

    /// Tells everybody. A request that passes without a factor must not do so unrecorded: where the sink panics at one,
    /// the answer says so, and the others hear of a refusal.
    pub(super) fn tell(&self, watch: &Watch, method: &Method, uri: &Uri, outcome: AuditOutcome) -> Told {
        let Some(heard) = watch.heard() else {
            count(outcome, watch);
            return Told::Yes;
        };
        let event = AuditEvent {
            outcome,
            user: heard.user.clone(),
            action: heard.action.clone(),
            terminal: heard.terminal.clone(),
            method: method.clone(),
            path: heard.path.clone().unwrap_or_else(|| cut(uri.path()).into()),
            request_id: heard.request_id.clone(),
            verifier_time: watch.verifier_time(),
        };
        let told = self.give(&event);
        let outcome = match told {
            Told::No if outcome.is_pass_without_factor() => AuditOutcome::Unavailable(None),
            _ => outcome,
        };
        #[cfg(feature = "tracing")]
        trace::tell(&AuditEvent { outcome, ..event });
        count(outcome, watch);
        told
    }

    fn give(&self, event: &AuditEvent) -> Told {
        let Some(sink) = &self.sink else { return Told::Yes };
        // What the sink has left half done is the sink's; nothing of ours is.
        if catch_unwind(AssertUnwindSafe(|| sink(event))).is_ok() {
            return Told::Yes;
        }
        #[cfg(feature = "tracing")]
        trace::panicked();
        #[cfg(feature = "metrics")]
        meter::panicked();
        Told::No
    }
}

#[cfg(feature = "metrics")]
fn count(outcome: AuditOutcome, watch: &Watch) {
    meter::count(outcome, watch.verifier_time());
}

#[cfg(not(feature = "metrics"))]
fn count(_: AuditOutcome, _: &Watch) {}
