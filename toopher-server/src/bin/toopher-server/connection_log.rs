//! The log of reached limits: at most one line in ten seconds, whatever strangers do.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct LimitLog(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    /// Since the last line.
    closed: u64,
    refused: u64,
}

impl LimitLog {
    /// Counts a connection that was closed or refused at the limit of a client (`scope`) or of all connections.
    pub(crate) fn limit_reached(&self, scope: Option<IpAddr>, open: usize, refused: bool) {
        let Some((closed, refused)) = self.count(Instant::now(), refused) else { return };
        match scope {
            Some(client) => {
                tracing::warn!(%client, open, closed, refused, "connection limit of a client address reached");
            }
            None => tracing::warn!(open, closed, refused, "connection limit reached"),
        }
    }

    /// The counts for a line, if it is time for one.
    fn count(&self, now: Instant, refused: bool) -> Option<(u64, u64)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused {
            state.refused += 1;
        } else {
            state.closed += 1;
        }
        if state.last.is_some_and(|last| now < last + INTERVAL) {
            return None;
        }
        let counts = (state.closed, state.refused);
        *state = State { last: Some(now), closed: 0, refused: 0 };
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds() {
        let (log, start) = (LimitLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.count(at(0), true), Some((0, 1)));
        for second in 1..10 {
            assert_eq!(log.count(at(second), second % 3 == 0), None);
        }
        assert_eq!(log.count(at(10), false), Some((7, 3)));
    }
}
