use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum number of steps to either side.
const MAX_REACH: u8 = 10;

/// The time steps around the current one whose codes are accepted.
///
/// Each further step tolerates a clock that is off by another period, and gives a guess one more chance in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) past: u8,
    pub(super) future: u8,
}

impl Window {
    /// Only the current step: the 30 seconds that OWASP ASVS 5.0 requires (6.5.5). A code that changes while the user
    /// types it is rejected.
    pub const CURRENT: Self = Self { past: 0, future: 0 };
    /// The current step and the one before it: the one step of delay that RFC 6238 section 5.2 recommends.
    pub const ONE_BEHIND: Self = Self { past: 1, future: 0 };
    /// The current step and one to each side, for phones whose clock is a little fast or slow. The default.
    pub const ONE_AROUND: Self = Self { past: 1, future: 1 };

    /// Accepts `past` steps before the current one and `future` steps after it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when either is more than ten.
    pub const fn new(past: u8, future: u8) -> Result<Self, ConfigError> {
        if past > MAX_REACH || future > MAX_REACH {
            return Err(ConfigError::new(ConfigErrorKind::Window));
        }
        Ok(Self { past, future })
    }

    pub(super) const WIDEST: Self = Self { past: MAX_REACH, future: MAX_REACH };

    /// Whether `step` is before the window around the `current` step.
    pub(super) fn is_past(self, step: u64, current: u64) -> bool {
        step < current.saturating_sub(u64::from(self.past))
    }

    /// The number of steps.
    pub(super) fn steps(self) -> u32 {
        u32::from(self.past) + 1 + u32::from(self.future)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::ONE_AROUND
    }
}
