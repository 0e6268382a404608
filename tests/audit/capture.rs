//! Captures what one thread records: audit events, the lines of `tracing`, and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::Value;
pub use test_support::capture::{Lines, subscriber};
use tower_toopher::middleware::AuditEvent;

#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<AuditEvent>>>);

impl Events {
    pub fn sink(&self) -> impl Fn(&AuditEvent) + Send + Sync + 'static {
        let events = self.clone();
        move |event| events.0.lock().unwrap().push(event.clone())
    }

    pub fn take(&self) -> Vec<AuditEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// What [`capture`] recorded.
pub struct Captured {
    pub json: String,
    /// The number of records of each counter and histogram, by its name with its labels.
    pub metrics: BTreeMap<String, u64>,
}

/// A second dispatcher. `tracing` asks all dispatchers about a new call site if there are several. If there is only
/// one, it asks the dispatcher of the current thread, and a thread without a subscriber disables the call site for all.
static SECOND_DISPATCHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(subscriber(&Lines::default())));

/// Runs the closure and captures what this thread records meanwhile.
pub fn capture<T>(during: impl FnOnce() -> T) -> (T, Captured) {
    LazyLock::force(&SECOND_DISPATCHER);
    let lines = Lines::default();
    let subscriber = subscriber(&lines);
    let recorder = DebuggingRecorder::new();
    let value = {
        let _recording: LocalRecorderGuard<'_> = metrics::set_default_local_recorder(&recorder);
        tracing::subscriber::with_default(subscriber, during)
    };
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={:?}", label.key(), label.value())).collect();
        let times = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Gauge(_) => 1,
            DebugValue::Histogram(values) => values.len() as u64,
        };
        counted.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), times);
    }
    (value, Captured { json: lines.text(), metrics: counted })
}

impl Captured {
    pub fn lines(&self) -> Vec<Value> {
        self.json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines without the verifier's duration, whose digits could be those of a secret.
    pub fn untimed(&self) -> String {
        let untimed = |mut line: Value| {
            line["fields"].as_object_mut().map(|fields| fields.remove("verifier_duration"));
            line.to_string()
        };
        self.lines().into_iter().map(untimed).collect()
    }

    /// The decisions among the lines.
    pub fn decisions(&self) -> Vec<Value> {
        let is_decision =
            |line: &Value| line["target"] == "tower_toopher::audit" && line["fields"]["message"] == "second factor";
        self.lines().into_iter().filter(is_decision).collect()
    }
}
