//! The settings of `Approvals`.

use std::sync::Arc;
use std::time::Duration;

use crate::store::{ApprovalLimit, Throttle};
use crate::time::Clock;

/// What happens to a second request of a user while an approval is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecondRequest {
    /// A request that is equal in everything an approval is bound to, including session and terminal, waits for the
    /// same decision. The first of them that fetches the decision is granted. Every other request is denied.
    #[default]
    Join,
    /// The request is denied, and must contain an OTP.
    Refuse,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) lifetime: Duration,
    pub(super) max_wait: Duration,
    pub(super) poll_interval: Duration,
    pub(super) second_request: SecondRequest,
    pub(super) limit: ApprovalLimit,
    pub(super) throttle: Throttle,
    pub(super) status_path: Option<Arc<str>>,
    pub(super) clock: Clock,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(120),
            max_wait: Duration::from_secs(30),
            poll_interval: Duration::from_secs(2),
            second_request: SecondRequest::default(),
            limit: ApprovalLimit::default(),
            throttle: Throttle::default(),
            status_path: None,
            clock: Clock::default(),
        }
    }
}
