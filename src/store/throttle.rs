use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum number of failures in a row that any throttle allows (NIST SP 800-63B, revision 3, section 5.2.2).
pub(crate) const MAX_FAILURES: u32 = 100;
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits on failures: how many cause no delay, how the delays grow, and how many lock the account.
///
/// By default five failures cause no delay. Each further failure doubles a delay that starts at 30 seconds and ends at
/// one hour. After 100 failures in a row only an administrator can unlock the account. A success deletes the failures.
/// With six digits and three codes in the window, 100 guesses find a code with a probability of 1 in 3,300.
///
/// Without a success, a store deletes failures a year after the last one, except for a lock-out. It deletes up to four
/// failures that caused no delay after 30 days, so that wrong codes for invented names do not fill the store for a
/// year. This allows four guesses in 30 days, as long as the user does not log in, without the lock-out after 100. With
/// six digits and three codes in the window, an attacker who has the password finds a code with a probability of 1 in
/// 6,800 a year. Disable accounts that are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    free: u32,
    first_delay: Duration,
    max_delay: Duration,
    lock_after: u32,
}

impl Throttle {
    /// How long failures are stored after the last one, unless the account is locked out: a year.
    pub const COUNT_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// How long failures are stored if there are fewer than [`SMALL_COUNT`](Self::SMALL_COUNT) and they caused no
    /// delay: 30 days.
    pub const SMALL_COUNT_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// The number of failures from which they are stored for [`COUNT_TTL`](Self::COUNT_TTL) under every throttle, even
    /// if more failures cause no delay: 5.
    pub const SMALL_COUNT: u32 = 5;

    /// Sets the limits: `free` failures cause no delay, further ones double a delay from `first_delay` up to
    /// `max_delay`, and `lock_after` failures in a row lock the account until an administrator unlocks it.
    ///
    /// Shorter delays give more guesses to an attacker with a stolen password. Longer delays and an earlier lock-out
    /// let the same attacker keep the user out.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `1 <= free <= lock_after <= 100` and
    /// `1 second <= first_delay <= max_delay <= 24 hours`.
    pub fn new(free: u32, first_delay: Duration, max_delay: Duration, lock_after: u32) -> Result<Self, ConfigError> {
        let counts = (1..=lock_after).contains(&free) && lock_after <= MAX_FAILURES;
        let delays = Duration::from_secs(1) <= first_delay && first_delay <= max_delay && max_delay <= MAX_DELAY;
        if counts && delays {
            Ok(Self { free, first_delay, max_delay, lock_after })
        } else {
            Err(ConfigError::new(ConfigErrorKind::Throttle))
        }
    }

    /// How many failures cause no delay.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.free
    }

    /// How many failures in a row lock the account until an administrator unlocks it.
    #[must_use]
    pub fn lock_after(&self) -> u32 {
        self.lock_after
    }

    /// The first delay.
    #[must_use]
    pub fn first_delay(&self) -> Duration {
        self.first_delay
    }

    /// The longest delay.
    #[must_use]
    pub fn max_delay(&self) -> Duration {
        self.max_delay
    }

    /// How long no attempt is admitted after `failures` failures in a row.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_toopher::store::Throttle;
    ///
    /// let throttle = Throttle::default();
    /// assert_eq!(throttle.delay_after(4), Duration::ZERO);
    /// assert_eq!(throttle.delay_after(5), Duration::from_secs(30));
    /// assert_eq!(throttle.delay_after(6), Duration::from_secs(60));
    /// assert_eq!(throttle.delay_after(50), Duration::from_secs(3600));
    /// ```
    #[must_use]
    pub fn delay_after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.max_delay)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            free: 5,
            first_delay: Duration::from_secs(30),
            max_delay: Duration::from_secs(60 * 60),
            lock_after: MAX_FAILURES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let s = Duration::from_secs;
        assert_eq!(Throttle::new(5, s(30), s(3600), 100), Ok(Throttle::default()));
        for (free, first, max, lock) in [
            (0, s(1), s(1), 1),
            (2, s(1), s(1), 1),
            (5, s(1), s(1), 101),
            (5, s(0), s(1), 10),
            (5, s(2), s(1), 10),
            (5, s(1), s(86_401), 10),
        ] {
            assert_eq!(Throttle::new(free, first, max, lock).unwrap_err().kind(), ConfigErrorKind::Throttle);
        }
    }

    #[test]
    fn delays_never_overflow() {
        for failures in [0, 5, 36, 37, 1000, u32::MAX] {
            assert!(Throttle::default().delay_after(failures) <= Duration::from_secs(3600));
        }
    }
}
