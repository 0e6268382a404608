//! The state of a login, read once for each request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use tower_toopher::verify::{ApprovalToken, OtpKind, SessionId};
use tower_toopher::{Factor, UserId};

use super::step::Step;

/// The stage of the login. It is a single value of the session, so a session is always in exactly one stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Stage {
    #[default]
    LoggedOut,
    /// The password was verified, and the second factor was not.
    Pending(PendingLogin),
    /// Both factors were verified.
    LoggedIn(Login),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    pub(crate) user: String,
    /// Approvals of this login are bound to this value. The session's id would not do, since it changes after the
    /// login. The value is never sent to the client.
    pub(crate) approval_session: String,
    /// The time until which the second factor must follow.
    pub(crate) until: u64,
    /// That of the account when the password was verified. The login ends when the account has another one.
    pub(crate) epoch: u64,
    /// Whether the user wants this browser to be remembered.
    pub(crate) remember: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) by: By,
    /// As that of a pending login.
    pub(crate) approval_session: String,
    pub(crate) epoch: u64,
    /// When the second factor was shown. `None` on a remembered browser, where it is too long ago for any change.
    pub(crate) factor_time: Option<u64>,
}

/// The second factor of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    Code,
    RecoveryCode,
    Phone,
}

impl By {
    pub(crate) fn new(factor: Factor) -> Self {
        match factor {
            Factor::RecoveryCode => Self::RecoveryCode,
            Factor::Push => Self::Phone,
            _ => Self::Code,
        }
    }

    pub(crate) fn factor(self) -> Factor {
        match self {
            Self::Code => Factor::Totp,
            Self::RecoveryCode => Factor::RecoveryCode,
            Self::Phone => Factor::Push,
        }
    }
}

impl PendingLogin {
    pub(crate) fn is_expired(&self) -> bool {
        self.seconds_left() == 0
    }

    pub(crate) fn seconds_left(&self) -> u64 {
        self.until.saturating_sub(now())
    }
}

/// Why a login that the session contains is no longer valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The second factor did not follow in time.
    Expired,
    /// The second factors of the user were changed in another session.
    Revoked,
}

/// What the user typed as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Code,
    RecoveryCode,
    /// Neither.
    Malformed,
}

/// The session's values, read once for each request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) stage: Stage,
    /// Why the user is logged out, if the session contains a login.
    pub(crate) ended: Option<Ended>,
    /// The token in every form of this session.
    pub(crate) csrf: Arc<str>,
    /// The approval token in the submitted form, so that the next page still shows the pending approval.
    pub(crate) approval_token: Option<ApprovalToken>,
    /// Whether the form asks for another request to the phone, in place of the pending one.
    pub(crate) asks_again: bool,
    pub(crate) typed: Option<Typed>,
}

impl Visit {
    /// The login whose password was verified, and whose second factor was not.
    pub(crate) fn pending_login(&self) -> Option<(&PendingLogin, UserId)> {
        match &self.stage {
            Stage::Pending(login) => Some((login, UserId::new(login.user.as_str()).ok()?)),
            _ => None,
        }
    }

    /// The user whose two factors were verified.
    pub(crate) fn logged_in(&self) -> Option<(&Login, UserId)> {
        match &self.stage {
            Stage::LoggedIn(login) => Some((login, UserId::new(login.user.as_str()).ok()?)),
            _ => None,
        }
    }

    /// The user who shows a second factor for this step.
    pub(crate) fn user(&self, step: Step) -> Option<UserId> {
        match step {
            Step::LogIn => self.pending_login().map(|(_, user)| user),
            Step::Change => self.logged_in().map(|(_, user)| user),
        }
    }

    /// The id that approvals are bound to.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        let id = match &self.stage {
            Stage::LoggedOut => return None,
            Stage::Pending(login) => &login.approval_session,
            Stage::LoggedIn(login) => &login.approval_session,
        };
        SessionId::new(id.as_str()).ok()
    }
}

impl Typed {
    pub(crate) fn new(text: &str) -> Self {
        match text.parse::<tower_toopher::Otp>().map(|otp| otp.kind()) {
            Ok(OtpKind::RecoveryCode) => Self::RecoveryCode,
            Ok(_) => Self::Code,
            Err(_) => Self::Malformed,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |now| now.as_secs())
}
