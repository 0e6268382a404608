//! Points in time, and the clocks that give them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, as the duration since 1970-01-01 00:00 UTC. A [`Duration`] is never a point in time.
///
/// ```
/// use std::time::Duration;
/// use tower_toopher::time::UnixTime;
///
/// let issued = UnixTime::from_secs(1_111_111_109);
/// let now = issued + Duration::from_secs(90);
/// assert_eq!(now.saturating_duration_since(issued), Duration::from_secs(90));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// 1970-01-01 00:00 UTC.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// The time that is `since_epoch` after 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn from_duration(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// The time in seconds since the epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The time in milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The duration since the epoch.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// The time minus `duration`, at least the epoch.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }

    /// The duration since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The duration since `earlier`, `None` if `earlier` is later.
    #[must_use]
    pub const fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }
}

/// Saturates at the latest time that can be expressed.
impl std::ops::Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl TryFrom<SystemTime> for UnixTime {
    type Error = ClockError;

    fn try_from(time: SystemTime) -> Result<Self, ClockError> {
        time.duration_since(UNIX_EPOCH).map(Self).map_err(|_| ClockError {})
    }
}

/// A source of the current time. Default: the clock of the operating system.
///
/// Setters take `impl Into<Clock>`, so a function or the `ManualClock` of the feature `test-util` can be passed as
/// well. A clock that can be set back extends everything that expires.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Result<UnixTime, ClockError> + Send + Sync>>);

impl Clock {
    pub(crate) const SYSTEM: Self = Self(None);

    /// The clock of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that reads a [`SystemTime`], such as a clock of tests. It fails while that time is before the Unix
    /// epoch.
    #[must_use]
    pub fn from_system_time(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(move || now().try_into())))
    }

    /// The current time.
    ///
    /// # Errors
    ///
    /// [`ClockError`] when the clock is before the Unix epoch.
    pub fn now(&self) -> Result<UnixTime, ClockError> {
        match &self.0 {
            None => SystemTime::now().try_into(),
            Some(now) => now(),
        }
    }
}

impl<F: Fn() -> UnixTime + Send + Sync + 'static> From<F> for Clock {
    fn from(now: F) -> Self {
        Self(Some(Arc::new(move || Ok(now()))))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(<fn>)" } else { "Clock(<system>)" })
    }
}

/// How far a time may be in the future, because the clocks of two machines differ.
const MAX_SKEW: Duration = Duration::from_secs(30);

/// How long ago `at` was. `None` if it is in the future.
pub(crate) fn age(at: UnixTime, now: UnixTime) -> Option<Duration> {
    now.checked_duration_since(at).or_else(|| (at.saturating_duration_since(now) <= MAX_SKEW).then_some(Duration::ZERO))
}

/// The system clock is before the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockError {}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("system clock is before the Unix epoch")
    }
}

impl std::error::Error for ClockError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let (early, late) = (UnixTime::from_secs(10), UnixTime::from_secs(70));
        assert_eq!(late.saturating_duration_since(early), Duration::from_secs(60));
        assert_eq!(early.saturating_duration_since(late), Duration::ZERO);
        assert_eq!(early.checked_duration_since(late), None);
        assert_eq!(early.saturating_sub(Duration::from_secs(60)), UnixTime::EPOCH);
        assert_eq!((late + Duration::MAX).since_epoch(), Duration::MAX);
    }

    #[test]
    fn ages() {
        for (at, now, expected) in [
            (0, 0, Some(0)),
            (100, 160, Some(60)),
            (130, 100, Some(0)),
            (131, 100, None),
            (u64::MAX, 0, None),
            (0, u64::MAX, Some(u64::MAX)),
        ] {
            let age = age(UnixTime::from_secs(at), UnixTime::from_secs(now));
            assert_eq!(age, expected.map(Duration::from_secs), "{at} {now}");
        }
    }

    #[test]
    fn a_time_before_the_epoch_is_an_error() {
        assert_eq!(UnixTime::try_from(UNIX_EPOCH - Duration::from_secs(1)), Err(ClockError {}));
        assert_eq!(UnixTime::try_from(UNIX_EPOCH + Duration::from_secs(1)), Ok(UnixTime::from_secs(1)));
        assert!(Clock::system().now().unwrap() > UnixTime::from_secs(1_700_000_000));
        assert_eq!(Clock::from(|| UnixTime::from_secs(7)).now(), Ok(UnixTime::from_secs(7)));
        assert_eq!(Clock::from_system_time(|| UNIX_EPOCH - Duration::from_secs(1)).now(), Err(ClockError {}));
    }
}
