//! What it was told to do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::store::{PushBudget, Throttle};

/// What becomes of a second request while the first one waits for the phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecondRequest {
    /// One that is the same in everything an approval is bound to, session and terminal among it, waits for the same
    /// answer; whichever comes for it first passes. Every other one is refused.
    #[default]
    Join,
    /// It is refused, and has to bring an OTP.
    Refuse,
}

#[derive(Clone)]
pub(super) struct Policy {
    pub(super) lifetime: Duration,
    pub(super) longest_wait: Duration,
    pub(super) poll_every: Duration,
    pub(super) second: SecondRequest,
    pub(super) budget: PushBudget,
    pub(super) throttle: Throttle,
    pub(super) status_path: Option<Arc<str>>,
    pub(super) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(120),
            longest_wait: Duration::from_secs(30),
            poll_every: Duration::from_secs(2),
            second: SecondRequest::default(),
            budget: PushBudget::default(),
            throttle: Throttle::default(),
            status_path: None,
            clock: Arc::new(SystemTime::now),
        }
    }
}
