//! The result of the readiness check, which is used for a second: a probe needs no signature, so a stranger can send
//! any number of them.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a result is used.
const INTERVAL: Duration = Duration::from_secs(1);

/// The latest result, and when its check ended.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// Returns the latest result, or calls `check` if it is too old. Concurrent callers wait for one check.
    pub(crate) async fn get(&self, check: impl AsyncFnOnce() -> bool) -> bool {
        let mut latest = self.0.lock().await;
        match *latest {
            Some((ended, is_ready)) if ended.elapsed() < INTERVAL => is_ready,
            _ => {
                let is_ready = check().await;
                *latest = Some((Instant::now(), is_ready));
                is_ready
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_check_runs_at_a_time_and_its_result_is_used_for_a_second() {
        let (readiness, checks) = (Readiness::default(), Cell::new(0));
        for is_ready in [true, false, true] {
            let check = async || {
                checks.set(checks.get() + 1);
                tokio::time::sleep(Duration::from_secs(8)).await;
                is_ready
            };
            let results = futures_util::future::join_all((0..100).map(|_| readiness.get(check))).await;
            assert!(results.iter().all(|result| *result == is_ready));
            tokio::time::advance(INTERVAL).await;
        }
        assert_eq!(checks.get(), 3);
        // A client that closes its connection ends its check, and has no effect on the others.
        let hanging = readiness.get(async || std::future::pending().await);
        assert!(tokio::time::timeout(INTERVAL, hanging).await.is_err());
        assert!(readiness.get(async || true).await);
    }
}
