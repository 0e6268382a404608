//! The state of a login, read once for each request.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use tower_toopher::UserId;
use tower_toopher::verify::{ApprovalToken, SessionId};

/// The time within which the second factor must follow the password, in seconds.
const LOGIN_LIFETIME: u64 = 10 * 60;
/// The stage of the login. It is a single value of the session, so a session is always in exactly one stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Stage {
    #[default]
    LoggedOut,
    /// The password was verified, and the second factor was not.
    Pending(PendingLogin),
    /// Both factors were verified.
    LoggedIn { user: String, by: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PendingLogin {
    pub(crate) user: String,
    /// Approvals of this login are bound to this value. The session's id would not do, since it changes after the
    /// login. The value is never sent to the client.
    pub(crate) approval_session: String,
    pub(crate) since: u64,
}

impl PendingLogin {
    /// The id for the layer and for the status service.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        SessionId::new(self.approval_session.as_str()).ok()
    }

    pub(crate) fn is_expired(&self) -> bool {
        now() >= self.since.saturating_add(LOGIN_LIFETIME)
    }
}

/// The session's values, read once for each request.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) stage: Stage,
    /// The token in every form of this session.
    pub(crate) csrf: Arc<str>,
    /// The approval token in the submitted form, so that the next page still shows the pending approval.
    pub(crate) approval_token: Option<ApprovalToken>,
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
    pub(crate) fn logged_in(&self) -> Option<UserId> {
        match &self.stage {
            Stage::LoggedIn { user, .. } => UserId::new(user.as_str()).ok(),
            _ => None,
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
