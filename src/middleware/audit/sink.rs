use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::event::AuditEvent;

type Sink = dyn Fn(&AuditEvent) + Send + Sync;

/// The audit settings of a layer.
#[derive(Clone, Default)]
pub(in crate::middleware) struct Audit {
    pub(in crate::middleware) sink: Option<Arc<Sink>>,
}

/// The sink panicked, so the event may not have been recorded.
#[derive(Debug)]
pub(in crate::middleware) struct SinkPanicked;

impl Audit {
    /// Calls the sink. A panic of the sink must not change a decision, so it is caught.
    pub(super) fn call_sink(&self, event: &AuditEvent) -> Result<(), SinkPanicked> {
        let Some(sink) = &self.sink else { return Ok(()) };
        // The state that the sink leaves behind belongs to the sink.
        if catch_unwind(AssertUnwindSafe(|| sink(event))).is_ok() {
            return Ok(());
        }
        #[cfg(feature = "tracing")]
        super::tracing::sink_panicked();
        #[cfg(feature = "metrics")]
        super::metrics::sink_panicked();
        Err(SinkPanicked)
    }
}
