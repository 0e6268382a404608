//! Detects a clock that is ahead before rows are deleted by it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use toopher_sql::{Database, query};

use crate::error::ServerError;

/// The maximum difference between two clocks that are synchronized, in seconds.
pub(crate) const MAX_DIFFERENCE: i64 = 60;

/// The clock and the monotonic clock, which is never set, at the previous cleanup. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ClockCheck(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    seconds: i64,
    monotonic: Instant,
}

impl ClockCheck {
    pub(crate) fn new(seconds: i64) -> Self {
        Self(Arc::new(Mutex::new(Reading { seconds, monotonic: Instant::now() })))
    }

    /// Returns an error if the clock was set forward since the previous call, or is ahead of the clock of PostgreSQL.
    /// It may be wrong now, and right in the next moment.
    ///
    /// If the clock was right now and wrong before, the next call succeeds: the clock is then consistent with this one.
    pub(crate) async fn check(&self, seconds: i64, database: &Database) -> Result<(), ServerError> {
        let now = Reading { seconds, monotonic: Instant::now() };
        let previous = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now);
        let ahead = previous.set_forward(now);
        if ahead > MAX_DIFFERENCE {
            return Err(ServerError::clock_ahead(ahead, "the monotonic clock since the previous cleanup"));
        }
        match ahead_of_database(seconds, database).await? {
            ahead if ahead > MAX_DIFFERENCE => Err(ServerError::clock_ahead(ahead, "the clock of the database")),
            _ => Ok(()),
        }
    }
}

/// By how many seconds the time is ahead of the clock of PostgreSQL. Zero for SQLite, which has no clock of its own.
pub(crate) async fn ahead_of_database(seconds: i64, database: &Database) -> Result<i64, ServerError> {
    if !database.is_shared() {
        return Ok(0);
    }
    let theirs = query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)");
    let theirs: Option<i64> = theirs.scalar(database).await?;
    Ok(seconds.saturating_sub(theirs.unwrap_or(0)))
}

impl Reading {
    /// By how many seconds the clock advanced more than the monotonic clock.
    fn set_forward(self, now: Self) -> i64 {
        let elapsed: Duration = now.monotonic.saturating_duration_since(self.monotonic);
        let expected = self.seconds.saturating_add(i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
        now.seconds.saturating_sub(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_set_is_inconsistent() {
        let start = Reading { seconds: 1_000_000, monotonic: Instant::now() };
        let after = |seconds: i64, elapsed: u64| {
            start.set_forward(Reading { seconds, monotonic: start.monotonic + Duration::from_secs(elapsed) })
        };
        assert_eq!((after(1_000_300, 300), after(1_000_000, 0)), (0, 0));
        assert_eq!(after(1_086_700, 300), 86_400);
        assert_eq!(after(913_900, 300), -86_400);
        assert_eq!(after(i64::MAX, u64::MAX >> 32), i64::MAX - 1_000_000 - (u64::MAX >> 32).cast_signed());
    }
}
