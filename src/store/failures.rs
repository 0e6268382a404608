use std::time::Duration;

use super::encoding::{Reader, push_time};
use super::throttle::Throttle;
use crate::time::UnixTime;

/// The version of the bytes of [`Failures`].
const VERSION: u8 = 1;

/// Whether an attempt may be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Admission {
    /// The attempt may be verified, and was counted.
    Admitted,
    /// The attempt may not be verified now.
    Throttled {
        /// How long until the next attempt is admitted.
        retry_after: Duration,
    },
    /// No attempt is admitted until an administrator unlocks the account.
    LockedOut,
}

/// The failures of one user, and the rules by which they are counted.
///
/// Every [`Store`](super::Store) counts with [`try_record`](Self::try_record), [`release`](Self::release) and
/// [`succeed`](Self::succeed). A store decides only how it keeps the record, and how it makes reading, changing and
/// writing one atomic step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Failures in a row.
    pub(super) count: u32,
    /// Whether only an administrator can unlock the account.
    pub(super) locked_out: bool,
    /// When the last failure was counted.
    pub(super) last: UnixTime,
    /// No attempt is admitted before. The epoch if there is no delay.
    pub(super) until: UnixTime,
    /// Failures that a success does not delete, and that expire one by one.
    pub(super) recent: u32,
    /// When the last one of these expired, or the first one was counted.
    pub(super) recent_since: UnixTime,
}

impl Failures {
    /// Counts an attempt as a failure, if it is admitted.
    pub fn try_record(&mut self, throttle: &Throttle, now: UnixTime) -> Admission {
        let delay = match self.delay(throttle, now) {
            Admission::Admitted => Duration::ZERO,
            Admission::Throttled { retry_after } => retry_after,
            Admission::LockedOut => return Admission::LockedOut,
        };
        self.expire_recent(throttle, now);
        let retry_after = delay.max(self.recent_delay(throttle, now));
        if !retry_after.is_zero() {
            return Admission::Throttled { retry_after };
        }
        if self.recent == 0 {
            self.recent_since = now;
        }
        self.recent += 1;
        self.count += 1;
        self.locked_out = self.count >= throttle.lock_after();
        self.last = now;
        let delay = throttle.delay_after(self.count);
        self.until = if delay.is_zero() { UnixTime::EPOCH } else { now + delay };
        Admission::Admitted
    }

    /// Whether a factor that cannot be guessed, such as an approval, may be used now: unless a delay or a lock-out
    /// applies. Recent failures limit the number of guesses only, so they do not apply. It counts nothing.
    pub fn check_other_factor(mut self, throttle: &Throttle, now: UnixTime) -> Admission {
        self.delay(throttle, now)
    }

    fn delay(&mut self, throttle: &Throttle, now: UnixTime) -> Admission {
        if self.is_expired(now) {
            *self = Self::default();
        }
        // If the clock was set back, the delay is not longer than that of the failures.
        self.until = self.until.min(now + throttle.delay_after(self.count));
        // A lock-out remains, even under a throttle that would not have locked the account yet.
        if self.locked_out || self.count >= throttle.lock_after() {
            self.locked_out = true;
            return Admission::LockedOut;
        }
        let retry_after = self.until.saturating_duration_since(now);
        if retry_after.is_zero() { Admission::Admitted } else { Admission::Throttled { retry_after } }
    }

    /// Removes one recent failure for each interval that has passed.
    fn expire_recent(&mut self, throttle: &Throttle, now: UnixTime) {
        let interval = throttle.recent_interval();
        let expired = now.saturating_duration_since(self.recent_since).as_millis() / interval.as_millis();
        match self.recent.checked_sub(u32::try_from(expired).unwrap_or(u32::MAX)) {
            Some(recent @ 1..) if self.recent_since <= now => {
                self.recent_since = self.recent_since + interval * (self.recent - recent);
                self.recent = recent;
            }
            // If the clock was set back, the interval begins again.
            Some(1..) => self.recent_since = now,
            _ => self.recent = 0,
        }
    }

    /// How long until one more recent failure is admitted.
    fn recent_delay(&self, throttle: &Throttle, now: UnixTime) -> Duration {
        let Some(over @ 1..) = self.recent.saturating_add(1).checked_sub(throttle.max_recent()) else {
            return Duration::ZERO;
        };
        (self.recent_since + throttle.recent_interval() * over).saturating_duration_since(now)
    }

    /// Deletes the failures in a row after an attempt that was counted and was right. Recent failures remain, except
    /// for that attempt. A second call for the same attempt changes nothing.
    pub fn succeed(&mut self) {
        if self.count > 0 {
            self.recent = self.recent.saturating_sub(1);
        }
        self.succeed_uncounted();
    }

    /// Deletes the failures in a row after a success that was not counted as an attempt: an approval.
    pub fn succeed_uncounted(&mut self) {
        *self = Self { recent: self.recent, recent_since: self.recent_since, last: self.last, ..Self::default() };
    }

    /// Whether there are no failures, so that a store needs no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.recent == 0 && !self.locked_out
    }

    /// Releases an attempt that was counted and could not be verified. After a success it changes nothing, because the
    /// success has released the attempt: the recent failures that remain are those of other attempts.
    pub fn release(&mut self, throttle: &Throttle) {
        if self.count > 0 {
            self.recent = self.recent.saturating_sub(1);
        }
        // A lock-out under a stricter throttle remains.
        let locked_elsewhere = self.locked_out && self.count != throttle.lock_after();
        self.count = self.count.saturating_sub(1);
        self.locked_out = locked_elsewhere || self.count >= throttle.lock_after();
        let delay = throttle.delay_after(self.count);
        self.until = if delay.is_zero() { UnixTime::EPOCH } else { self.until.min(self.last + delay) };
    }

    /// Whether the record can be deleted: after [`Throttle::COUNT_TTL`], or after [`Throttle::SMALL_COUNT_TTL`] if
    /// there are fewer failures than [`Throttle::SMALL_COUNT`] and they caused no delay. A lock-out never expires.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        let small = self.count < Throttle::SMALL_COUNT && self.until == UnixTime::EPOCH;
        let ttl = if small { Throttle::SMALL_COUNT_TTL } else { Throttle::COUNT_TTL };
        !self.locked_out && now.saturating_duration_since(self.last) > ttl
    }

    /// Whether a delay or a lock-out applies now.
    #[must_use]
    pub fn is_blocked(&self, now: UnixTime) -> bool {
        self.locked_out || self.until > now
    }

    /// The record as bytes, for a store that keeps it as one value.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.count.to_be_bytes());
        bytes.push(self.locked_out.into());
        push_time(&mut bytes, self.last);
        push_time(&mut bytes, self.until);
        bytes.extend_from_slice(&self.recent.to_be_bytes());
        push_time(&mut bytes, self.recent_since);
        bytes
    }

    /// Reads the bytes that [`to_bytes`](Self::to_bytes) returned. Returns `None` for other bytes, which a store must
    /// report as an error, and never treat as an empty record.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        let (count, locked_out) = (reader.u32()?, reader.flag()?);
        let (last, until) = (reader.time()?, reader.time()?);
        let failures = Self { count, locked_out, last, until, recent: reader.u32()?, recent_since: reader.time()? };
        reader.rest().is_empty().then_some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_and_nothing_else_is_a_record() {
        let mut failures = Failures::default();
        let odd = UnixTime::from_millis(1_111_111_109_123);
        for _ in 0..7 {
            let bytes = failures.to_bytes();
            assert_eq!(Failures::from_bytes(&bytes), Some(failures));
            let _ = failures.try_record(&Throttle::default(), odd);
        }
        let bytes = failures.to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Failures::from_bytes(&bytes[..length]), None);
        }
        for bad in [[&bytes[..], &[0]].concat(), [&[2], &bytes[1..]].concat()] {
            assert_eq!(Failures::from_bytes(&bad), None);
        }
    }
}
