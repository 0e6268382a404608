//! Whether the database accepts writes.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use toopher_sql::{Database, query};
use tower_toopher::BoxError;

use crate::error::ServerError;

/// How long the result of a test write is used. Readiness probes need no signature, so a stranger could cause them.
const WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The latest test write: when it ended, and its error.
#[derive(Debug, Default)]
pub(crate) struct TestWrite(Mutex<Option<(Instant, Result<(), String>)>>);

impl TestWrite {
    /// Writes the time, or returns the result of the previous write. Concurrent callers wait for one write.
    pub(crate) async fn run(&self, database: &Database, now: i64) -> Result<(), ServerError> {
        let mut latest = self.0.lock().await;
        let result = match &*latest {
            Some((ended, result)) if ended.elapsed() < WRITE_INTERVAL => result.clone(),
            _ => {
                let written = query("UPDATE test_write SET written = $1").bind(now).execute(database).await;
                let result = written.map(drop).map_err(|error| format!("the database cannot be written: {error}"));
                *latest = Some((Instant::now(), result.clone()));
                result
            }
        };
        result.map_err(|error| BoxError::from(error).into())
    }
}
