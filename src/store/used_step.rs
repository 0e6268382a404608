use std::sync::Arc;

use crate::time::UnixTime;

/// A time step (RFC 6238) whose code was verified, for [`Store::record_step`](super::Store::record_step).
///
/// It contains the step and never the code, because a code can be written in several ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedStep {
    device: Arc<str>,
    step: u64,
    keep_until: UnixTime,
}

impl UsedStep {
    /// A step of the user's `device`, whose record the store keeps at least until `keep_until`.
    ///
    /// `TotpVerifier` passes a digest of the secret as the device, so that a code is used up for all devices that have
    /// this secret.
    #[must_use]
    pub fn new(device: impl Into<Arc<str>>, step: u64, keep_until: UnixTime) -> Self {
        Self { device: device.into(), step, keep_until }
    }

    /// The device that computed the code. Used steps of two devices are independent.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The number of the step.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The minimum time until which the store keeps the record.
    #[must_use]
    pub fn keep_until(&self) -> UnixTime {
        self.keep_until
    }
}

/// Whether a time step was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum StepOutcome {
    /// The step was not used before. It is recorded as used now.
    Fresh,
    /// The step, or a later one, was used before.
    Replayed,
}
