//! Auditing: each decision emits one event, to the sink of the application, to `tracing`, and to `metrics`.

mod escape;
mod event;
#[cfg(feature = "metrics")]
mod metrics;
mod outcome;
mod scope;
mod sink;
#[cfg(feature = "tracing")]
mod tracing;

pub use self::escape::escape_for_log;
pub use self::event::AuditEvent;
#[cfg(feature = "metrics")]
pub use self::metrics::describe_metrics;
pub use self::outcome::Outcome;
pub(super) use self::scope::AuditScope;
pub(super) use self::sink::{Audit, SinkPanicked};
