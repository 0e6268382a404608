//! Everything that is heard of requests: audit events, what `tracing` writes, and metrics. It listens on one thread.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use metrics::LocalRecorderGuard;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::Value;
use tower_toopher::AuditEvent;
use tracing_subscriber::fmt::format::FmtSpan;

/// Where the lines of a subscriber go.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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

/// Listens from its making to the end of the closure that it is given.
pub struct Heard {
    pub json: String,
    /// Each counter and histogram: its name with its labels, and how often.
    pub metrics: BTreeMap<String, u64>,
}

/// Writes all that there is, as JSON.
pub fn subscriber(lines: &Lines) -> impl tracing::Subscriber + Send + Sync + 'static {
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        // Without times, whose digits may be anything.
        .without_time()
        .with_span_events(FmtSpan::NEW | FmtSpan::ENTER | FmtSpan::EXIT)
        .with_writer(move || writer.clone())
        .finish()
}

pub fn listen<T>(during: impl FnOnce() -> T) -> (T, Heard) {
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
    (value, Heard { json: lines.text(), metrics: counted })
}

impl Heard {
    pub fn lines(&self) -> Vec<Value> {
        self.json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All that was written, but for how long the verifier took, whose digits may be anything.
    pub fn untimed(&self) -> String {
        let untimed = |mut line: Value| {
            line["fields"].as_object_mut().map(|fields| fields.remove("verifier_seconds"));
            line.to_string()
        };
        self.lines().into_iter().map(untimed).collect()
    }

    /// The decisions that `tracing` heard of.
    pub fn decisions(&self) -> Vec<Value> {
        let is_decision =
            |line: &Value| line["target"] == "tower_toopher::audit" && line["fields"]["message"] == "second factor";
        self.lines().into_iter().filter(is_decision).collect()
    }
}
