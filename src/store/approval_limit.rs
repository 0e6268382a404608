use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum of [`ApprovalLimit::max`].
const MAX_APPROVALS: u32 = 100;

/// How many approvals of a user may be requested since the last success (NIST SP 800-63B, on push notifications).
///
/// The default is 5, and the count restarts a day after the last one. A higher limit gives an attacker with a stolen
/// password more pushes, until the user gives in. With a lower one, the attacker reaches the limit sooner, and the user
/// must enter an OTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalLimit {
    max: u32,
    reset_after: Duration,
}

impl ApprovalLimit {
    /// The maximum of [`reset_after`](Self::reset_after): 30 days.
    pub const MAX_RESET_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// A limit of `max` approvals. The count restarts `reset_after` after the last approval.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `1 <= max <= 100` and `1 minute <= reset_after <= 30 days`.
    pub fn new(max: u32, reset_after: Duration) -> Result<Self, ConfigError> {
        let valid_reset = (Duration::from_secs(60)..=Self::MAX_RESET_AFTER).contains(&reset_after);
        if !valid_reset || !(1..=MAX_APPROVALS).contains(&max) {
            return Err(ConfigError::new(ConfigErrorKind::ApprovalLimit));
        }
        Ok(Self { max, reset_after })
    }

    /// How many approvals may be requested.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max
    }

    /// How long after the last approval the count restarts.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.reset_after
    }
}

impl Default for ApprovalLimit {
    fn default() -> Self {
        Self { max: 5, reset_after: Duration::from_secs(24 * 60 * 60) }
    }
}
