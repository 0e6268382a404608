use std::time::Duration;

use super::{Admission, Throttle};

/// The failures in a row of one user. Every store counts by [`attempt`](Self::attempt), and only how it keeps the
/// result, and makes the step from one to the next atomic, is its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u32,
    /// Whether only an administrator ends this.
    pub(super) locked_out: bool,
    /// When the last one was counted.
    pub(super) last: Duration,
    /// Nothing is admitted before.
    pub(super) until: Duration,
}

impl Failures {
    /// Counts an attempt, if it is admitted.
    pub(super) fn attempt(&mut self, throttle: &Throttle, now: Duration) -> Admission {
        if self.is_over(now) {
            *self = Self::default();
        }
        // A clock that was set back must not make a wait longer than any wait is.
        self.until = self.until.min(now.saturating_add(throttle.max_delay()));
        if self.count >= throttle.lock_after() {
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

    pub(super) fn is_over(&self, now: Duration) -> bool {
        !self.locked_out && now.saturating_sub(self.last) > Throttle::FORGET_AFTER
    }

    pub(super) fn is_active(&self, now: Duration) -> bool {
        self.locked_out || self.until > now
    }
}
