use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::{Clock, UnixTime};

/// A clock that stands still until a test sets it. Clones are the same clock.
///
/// It counts seconds. Setters named `clock` accept it, by value or by reference.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock at this number of seconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn from_secs(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    /// Sets the clock, forwards or back, to this number of seconds since 1970-01-01 00:00 UTC.
    pub fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    /// Advances the clock by this number of seconds.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::SeqCst))
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self::from(move || clock.now())
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        clock.clone().into()
    }
}
