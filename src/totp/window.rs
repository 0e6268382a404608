use std::fmt;

/// The furthest that a [`Window`] reaches to either side.
const MAX_REACH: u8 = 10;

/// Which steps around the present one are accepted.
///
/// Each further step helps a clock that is off by another period, and gives a guess one more chance in a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(super) past: u8,
    pub(super) future: u8,
}

impl Window {
    /// Only the present step, the 30 seconds that OWASP ASVS 5.0 asks for (6.5.5). A code that is typed as it
    /// changes is refused.
    pub const CURRENT: Self = Self { past: 0, future: 0 };
    /// The present step and the one before it: the one step of delay that RFC 6238 section 5.2 recommends.
    pub const ONE_BEHIND: Self = Self { past: 1, future: 0 };
    /// The present step and one to each side, for phones whose clock is a little fast or slow. The default.
    pub const ONE_AROUND: Self = Self { past: 1, future: 1 };

    /// Accepts `past` steps before the present one and `future` steps after it.
    ///
    /// # Errors
    ///
    /// [`InvalidWindow`] when either is more than ten.
    pub const fn new(past: u8, future: u8) -> Result<Self, InvalidWindow> {
        if past > MAX_REACH || future > MAX_REACH { Err(InvalidWindow) } else { Ok(Self { past, future }) }
    }

    /// The widest there is.
    pub(super) const WIDEST: Self = Self { past: MAX_REACH, future: MAX_REACH };

    /// Whether `step` lies before the window around `present`.
    pub(super) fn is_past(self, step: u64, present: u64) -> bool {
        step < present.saturating_sub(u64::from(self.past))
    }

    /// How many steps there are.
    pub(super) fn steps(self) -> u32 {
        u32::from(self.past) + 1 + u32::from(self.future)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::ONE_AROUND
    }
}

/// A window that reaches further than ten steps to one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidWindow;

impl fmt::Display for InvalidWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a window reaches at most {MAX_REACH} steps to either side")
    }
}

impl std::error::Error for InvalidWindow {}
