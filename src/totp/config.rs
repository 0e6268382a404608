use super::code::Totp;
use super::secret::{Secret, SecretError};
use super::window::Window;
use crate::store::Throttle;
use crate::time::Clock;

/// The settings of a `TotpVerifier`.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) window: Window,
    pub(super) throttle: Throttle,
    pub(super) clock: Clock,
    /// Replaces the secret of users without one, so that the computation takes as long.
    pub(super) decoy: Totp,
}

impl Config {
    pub(super) fn new() -> Result<Self, SecretError> {
        Ok(Self {
            window: Window::default(),
            throttle: Throttle::default(),
            clock: Clock::default(),
            decoy: Totp::new(Secret::generate()?),
        })
    }
}
