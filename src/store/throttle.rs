use std::fmt;
use std::time::Duration;

/// The most failures in a row that any policy allows (NIST SP 800-63B, revision 3, section 5.2.2).
pub(crate) const MAX_IN_A_ROW: u32 = 100;
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many failures are free, how the waits grow after that, and where it ends.
///
/// By default five failures are free; then each further one doubles a wait that starts at 30 seconds and stops growing
/// at one hour; after 100 failures in a row only an administrator lets the user try again. A success forgets them all.
/// With six digits and three codes in the window, 100 guesses find a code with a chance of 1 in 3,300.
///
/// Failures without a success are forgotten a year after the last of them, except where the account is locked out. Up
/// to four that brought no wait are forgotten after 30 days, so that whoever sends wrong codes for invented names does not
/// fill a store for a year. That lets four guesses in 30 days through for as long as nobody logs in, without the lock-out
/// after 100: with six digits and three codes in the window a chance of 1 in 6,800 a year, of whoever has the password.
/// Accounts that are no longer used are better disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    free: u32,
    first_delay: Duration,
    max_delay: Duration,
    lock_after: u32,
}

impl Throttle {
    /// How long after the last of them failures are forgotten, unless the account is locked out: a year.
    pub const FORGET_AFTER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// How long after the last of them failures are forgotten that are fewer than [`FEW`](Self::FEW) and brought no
    /// wait: 30 days.
    pub const FORGET_FEW_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// So many failures are remembered for long under every policy, even one with more that are free: 5.
    pub const FEW: u32 = 5;

    /// A policy of `free` failures without a wait, waits that double from `first_delay` up to `max_delay`, and a lock
    /// that only an administrator lifts after `lock_after` failures in a row.
    ///
    /// Each guess that is let through faster is one for whoever has stolen a password; each wait and the lock are also
    /// what that thief can do to the account's owner.
    ///
    /// # Errors
    ///
    /// [`InvalidThrottle`] unless `1 <= free <= lock_after <= 100` and
    /// `1 second <= first_delay <= max_delay <= 24 hours`.
    pub fn new(
        free: u32,
        first_delay: Duration,
        max_delay: Duration,
        lock_after: u32,
    ) -> Result<Self, InvalidThrottle> {
        let counts = (1..=lock_after).contains(&free) && lock_after <= MAX_IN_A_ROW;
        let delays = Duration::from_secs(1) <= first_delay && first_delay <= max_delay && max_delay <= MAX_DELAY;
        if counts && delays { Ok(Self { free, first_delay, max_delay, lock_after }) } else { Err(InvalidThrottle) }
    }

    /// How many failures bring no wait.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.free
    }

    /// How many failures in a row lock the account until an administrator unlocks it.
    #[must_use]
    pub fn lock_after(&self) -> u32 {
        self.lock_after
    }

    /// The first wait.
    #[must_use]
    pub fn first_delay(&self) -> Duration {
        self.first_delay
    }

    /// The longest wait.
    #[must_use]
    pub fn max_delay(&self) -> Duration {
        self.max_delay
    }

    /// How long nothing is admitted after `failures` failures in a row.
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
            lock_after: MAX_IN_A_ROW,
        }
    }
}

/// Numbers that are no [`Throttle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidThrottle;

impl fmt::Display for InvalidThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a throttle needs 1 <= free <= lock_after <= 100 and 1 second <= first_delay <= max_delay <= 24 hours",
        )
    }
}

impl std::error::Error for InvalidThrottle {}

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
            assert_eq!(Throttle::new(free, first, max, lock), Err(InvalidThrottle));
        }
    }

    #[test]
    fn delays_never_overflow() {
        for failures in [0, 5, 36, 37, 1000, u32::MAX] {
            assert!(Throttle::default().delay_after(failures) <= Duration::from_secs(3600));
        }
    }
}
