use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum number of failures in a row that any throttle allows (NIST SP 800-63B, revision 3, section 5.2.2).
pub(crate) const MAX_FAILURES: u32 = 100;
const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_PER_DAY: u32 = 5;
const MAX_PER_DAY: u32 = 1000;

/// The limits on failures: how many cause no delay, how the delays grow, how many lock the account, and how many are
/// admitted per day over a long time.
///
/// By default five failures cause no delay. Each further failure doubles a delay that starts at 30 seconds and ends at
/// one hour. After 100 failures in a row only an administrator can unlock the account. A success deletes the failures
/// in a row.
///
/// # Guesses beside a user who logs in
///
/// An attacker who has the password can guess between the logins of the user, who deletes the failures in a row each
/// time. So a second count, of *recent* failures, remains after a success: it is limited to 100, and one of them
/// expires after each 4.8 hours ([`per_day`](Self::per_day), default 5). In a year such an attacker has at most
/// 100 + 365 × 5 = 1,925 guesses. With `c` codes of six digits valid at a time, the probability that one is right is
/// `1 - (1 - c / 1,000,000)^1,925`:
///
/// | window | valid codes | probability in a year |
/// |---|---|---|
/// | [`Window::ONE_BEHIND`](crate::totp::Window::ONE_BEHIND) | 2 | 0.38 % |
/// | [`Window::ONE_AROUND`](crate::totp::Window::ONE_AROUND), the default | 3 | 0.58 % |
/// | two steps to each side, the default of `toopher-server` | 5 | 0.96 % |
///
/// The codes of each further authenticator of a user are valid too, so two authenticators double the probability. Use a
/// smaller `per_day` then.
///
/// # What the user notices
///
/// A user who mistypes a few codes a day notices nothing. During an attack the user waits for at most an hour in the
/// first three days, the longest delay; then 100 recent failures are counted, and the user waits for at most 4.8 hours
/// for the next attempt. An attacker who sends requests all the time can take that attempt first. No limit of attempts
/// can prevent that, because the attempts of both have the same name and the same password. So the user should change
/// the password, which ends the attack. Other ways in remain: an approval needs no attempt, so only the delays and a
/// lock-out apply to it, and a grant is reusable without an attempt. An administrator's
/// [`unlock`](crate::TotpVerifier::unlock) deletes both counts.
///
/// # Expiry
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
    per_day: u32,
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
            Ok(Self { free, first_delay, max_delay, lock_after, per_day: DEFAULT_PER_DAY })
        } else {
            Err(ConfigError::new(ConfigErrorKind::Throttle))
        }
    }

    /// Sets how many failures are admitted per day over a long time, whether or not the user succeeds in between.
    /// Default: 5. A success does not delete these recent failures.
    ///
    /// A user may have [`max_recent`](Self::max_recent) of them at once, and one of them expires after each
    /// [`recent_interval`](Self::recent_interval). A higher number gives more guesses to an attacker with a stolen
    /// password: with 8 a day the probability is 0.90 % a year if three codes are valid at a time, and with 9 a day
    /// 1.01 %. A lower number lets the user wait longer during an attack.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `1 <= failures <= 1,000`.
    pub fn per_day(mut self, failures: u32) -> Result<Self, ConfigError> {
        if !(1..=MAX_PER_DAY).contains(&failures) {
            return Err(ConfigError::new(ConfigErrorKind::Throttle));
        }
        self.per_day = failures;
        Ok(self)
    }

    /// How many recent failures a user may have: 100, or those of 30 days if these are fewer.
    #[must_use]
    pub fn max_recent(&self) -> u32 {
        // All of them expire within `SMALL_COUNT_TTL`, so no store deletes them early.
        MAX_FAILURES.min(self.per_day * 30)
    }

    /// After which time one recent failure expires.
    #[must_use]
    pub fn recent_interval(&self) -> Duration {
        // Whole milliseconds, rounded up, so that all stores compute the same.
        let millis = DAY.as_millis().div_ceil(self.per_day.into());
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
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
            per_day: DEFAULT_PER_DAY,
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
    fn recent_failures_expire_before_their_record_does() {
        for (per_day, max_recent, millis) in
            [(1, 30, 86_400_000), (5, 100, 17_280_000), (7, 100, 12_342_858), (1000, 100, 86_400)]
        {
            let throttle = Throttle::default().per_day(per_day).unwrap();
            assert_eq!(throttle.max_recent(), max_recent);
            assert_eq!(throttle.recent_interval(), Duration::from_millis(millis));
            assert!(throttle.recent_interval() * throttle.max_recent() <= Throttle::SMALL_COUNT_TTL);
        }
        for bad in [0, 1001, u32::MAX] {
            assert!(Throttle::default().per_day(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_documented_probabilities_are_right() {
        let guesses = |throttle: &Throttle| throttle.max_recent() + 365 * throttle.per_day;
        assert_eq!(guesses(&Throttle::default()), 1925);
        let percent = |per_day: u32, codes: u32| {
            let guesses = guesses(&Throttle::default().per_day(per_day).unwrap());
            (100.0 * (1.0 - (1.0 - f64::from(codes) / 1e6).powf(guesses.into())) * 100.0).round() / 100.0
        };
        for (per_day, codes, documented) in [(5, 2, 0.38), (5, 3, 0.58), (5, 5, 0.96), (8, 3, 0.90), (9, 3, 1.01)] {
            assert!((percent(per_day, codes) - documented).abs() < 0.001, "{per_day} {codes}");
        }
    }

    #[test]
    fn delays_never_overflow() {
        for failures in [0, 5, 36, 37, 1000, u32::MAX] {
            assert!(Throttle::default().delay_after(failures) <= Duration::from_secs(3600));
        }
    }
}
