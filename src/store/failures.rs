use std::time::Duration;

use super::{Admission, Throttle};

/// The failures in a row of one user, and the rules by which they are counted.
///
/// Every store counts by [`attempt`](Self::attempt) and [`take_back`](Self::take_back). Only how it keeps the fields,
/// and makes reading, counting and writing one atomic step, is its own. Times are since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// How many there are.
    pub count: u32,
    /// Whether only an administrator ends this.
    pub locked_out: bool,
    /// When the last one was counted.
    pub last: Duration,
    /// Nothing is admitted before.
    pub until: Duration,
}

impl Failures {
    /// Counts an attempt, if it is admitted.
    pub fn attempt(&mut self, throttle: &Throttle, now: Duration) -> Admission {
        if self.is_over(now) {
            *self = Self::default();
        }
        // A clock that was set back must not make a wait longer than any wait is.
        self.until = self.until.min(now.saturating_add(throttle.max_delay()));
        // Once locked out stays so, even under a throttle that would not have locked yet.
        if self.locked_out || self.count >= throttle.lock_after() {
            self.locked_out = true;
            return Admission::LockedOut;
        }
        let retry_after = self.until.saturating_sub(now);
        if !retry_after.is_zero() {
            return Admission::Throttled { retry_after };
        }
        self.count += 1;
        self.locked_out = self.count >= throttle.lock_after();
        self.last = now;
        let delay = throttle.delay_after(self.count);
        self.until = if delay.is_zero() { Duration::ZERO } else { now.saturating_add(delay) };
        Admission::Admitted
    }

    /// Takes back an attempt that was counted and could then not be verified.
    pub fn take_back(&mut self, throttle: &Throttle) {
        // A lock-out under a stricter throttle is not this one's to lift.
        let locked_elsewhere = self.locked_out && self.count != throttle.lock_after();
        self.count = self.count.saturating_sub(1);
        self.locked_out = locked_elsewhere || self.count >= throttle.lock_after();
        let delay = throttle.delay_after(self.count);
        self.until = if delay.is_zero() { Duration::ZERO } else { self.until.min(self.last.saturating_add(delay)) };
    }

    /// Whether they are old enough to be forgotten: after [`Throttle::FORGET_AFTER`], or
    /// [`Throttle::FORGET_FEW_AFTER`] where they are fewer than [`Throttle::FEW`] and brought no wait.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        let few = self.count < Throttle::FEW && self.until.is_zero();
        let kept = if few { Throttle::FORGET_FEW_AFTER } else { Throttle::FORGET_AFTER };
        !self.locked_out && now.saturating_sub(self.last) > kept
    }

    /// Whether nothing is admitted at the moment.
    #[must_use]
    pub fn is_active(&self, now: Duration) -> bool {
        self.locked_out || self.until > now
    }
}
