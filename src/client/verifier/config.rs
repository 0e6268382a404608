//! The settings of the verifier, and the denials that they determine.

use std::time::Duration;

use crate::client::api_error_kind::ApiErrorKind;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::verify::DenyReason;

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) poll_interval: Duration,
    pub(super) default_retry_after: Duration,
    pub(super) automation: bool,
    pub(super) lock_pattern: bool,
    pub(super) number_matching: bool,
    pub(super) create_terminals: bool,
    pub(super) opted_out: DenyReason,
    pub(super) unknown_user: DenyReason,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(2),
            default_retry_after: Duration::from_secs(30),
            automation: true,
            lock_pattern: false,
            number_matching: false,
            create_terminals: false,
            opted_out: DenyReason::UnknownUser,
            unknown_user: DenyReason::UnknownUser,
        }
    }
}

impl Config {
    /// The denial that an error of a call means. `None` if the error says nothing about the user.
    pub(super) fn denial(&self, error: &ClientError, has_otp: bool) -> Option<DenyReason> {
        let kind = match error.kind() {
            ClientErrorKind::RateLimited => {
                let retry_after = error.retry_after().unwrap_or(self.default_retry_after);
                return Some(DenyReason::Throttled { retry_after });
            }
            ClientErrorKind::Api(kind) => kind,
            _ => return None,
        };
        match kind {
            ApiErrorKind::UserOptedOut => Some(self.opted_out),
            ApiErrorKind::UserUnknown => Some(self.unknown_user),
            ApiErrorKind::PairingDeactivated => Some(DenyReason::NotEnrolled),
            // Not as a user without enrollment, whom a layer may allow: the id may be unknown because the API is the
            // wrong one, for all users at once.
            ApiErrorKind::PairingUnknown => Some(DenyReason::UnknownUser),
            // The API sends no push for an unknown terminal. It verifies an OTP from any terminal.
            ApiErrorKind::TerminalUnknown | ApiErrorKind::OtpRequired if !has_otp => Some(DenyReason::OtpRequired),
            _ => None,
        }
    }
}
