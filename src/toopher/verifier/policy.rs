//! What the verifier was told to do.

use std::time::Duration;

use crate::DenyReason;
use crate::toopher::{ApiErrorKind, ClientError};

#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) poll_after: Duration,
    pub(super) throttled_for: Duration,
    pub(super) automation: bool,
    pub(super) challenge: bool,
    pub(super) number_matching: bool,
    pub(super) create_terminals: bool,
    pub(super) opted_out: DenyReason,
    pub(super) unknown_user: DenyReason,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            poll_after: Duration::from_secs(2),
            throttled_for: Duration::from_secs(30),
            automation: true,
            challenge: false,
            number_matching: false,
            create_terminals: false,
            opted_out: DenyReason::UnknownUser,
            unknown_user: DenyReason::UnknownUser,
        }
    }
}

impl Policy {
    /// The denial that an error of the API is, if it is one; every other error is trouble.
    pub(super) fn denial(&self, error: &ClientError, otp_given: bool) -> Option<DenyReason> {
        if error.is_rate_limited() {
            return Some(DenyReason::Throttled { retry_after: error.retry_after().unwrap_or(self.throttled_for) });
        }
        // A server in trouble, or one that does not know us, knows nothing about the user.
        if error.is_server_error() || error.is_credentials() {
            return None;
        }
        match error.kind()? {
            ApiErrorKind::UserOptedOut => Some(self.opted_out),
            ApiErrorKind::UserUnknown => Some(self.unknown_user),
            ApiErrorKind::PairingDeactivated => Some(DenyReason::NotEnrolled),
            // Without a terminal that it knows the API does not push; an OTP is verified wherever it comes from.
            ApiErrorKind::TerminalUnknown | ApiErrorKind::OtpRequired if !otp_given => Some(DenyReason::OtpRequired),
            _ => None,
        }
    }
}
