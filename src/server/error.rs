//! Errors in the shape that every generation of client reads: a status, and JSON with `error_code` and `error_message`.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::fault::chain;
use crate::oauth1::CheckError;
use crate::{BoxError, FaultKind};

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: u16,
    message: &'static str,
    retry_after: Option<Duration>,
    /// For the audit, and not for the client.
    reason: Option<&'static str>,
}

impl ApiError {
    const fn new(status: StatusCode, code: u16, reason: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None, reason: Some(reason) }
    }

    /// The same answer, for a reason of its own.
    pub(super) const fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub(super) const fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 400, "bad_request", message)
    }

    pub(super) const UNSIGNED: Self =
        Self::new(StatusCode::UNAUTHORIZED, 401, "unsigned", "Not a valid OAuth signed request");
    pub(super) const NO_DEVICE: Self =
        Self::new(StatusCode::UNAUTHORIZED, 401, "unknown_device", "Not the token of a registered device");
    pub(super) const NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, 404, "not_found", "There is nothing by this name.");
    pub(super) const NOT_ALLOWED: Self =
        Self::new(StatusCode::METHOD_NOT_ALLOWED, 405, "method_not_allowed", "This method is not allowed here.");
    pub(super) const TOO_SLOW: Self =
        Self::new(StatusCode::REQUEST_TIMEOUT, 408, "unreadable_body", "The request body took too long.");
    pub(super) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, 413, "body_too_large", "The request body is too large.");
    pub(super) const NO_FORM: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        415,
        "unreadable_body",
        "Send parameters as application/x-www-form-urlencoded in UTF-8.",
    );
    pub(super) const NO_PAIRING: Self =
        Self::new(StatusCode::CONFLICT, 601, "unknown_pairing", "No matching pairing exists.");
    pub(super) const NOT_AUTHORIZED: Self =
        Self::new(StatusCode::CONFLICT, 601, "not_enrolled", "This pairing has not been authorized to authenticate.");
    pub(super) const USER_DISABLED: Self = Self::new(
        StatusCode::CONFLICT,
        704,
        "user_disabled",
        "The specified user has disabled Toopher authentication.",
    );
    pub(super) const NO_USER: Self = Self::new(StatusCode::CONFLICT, 705, "unknown_user", "No matching user exists.");
    /// As [`NOT_FOUND`](Self::NOT_FOUND).
    pub(super) const NO_APPROVAL: Self = Self::NOT_FOUND.because("unknown_approval");
    pub(super) const NO_TERMINAL: Self =
        Self::new(StatusCode::CONFLICT, 706, "unknown_terminal", "No matching terminal exists.");
    pub(super) const DEACTIVATED: Self =
        Self::new(StatusCode::CONFLICT, 707, "not_enrolled", "Not allowed: This pairing has been deactivated.");
    pub(super) const NO_PHRASE: Self = Self::new(
        StatusCode::CONFLICT,
        601,
        "unknown_phrase",
        "No pending pairing requests with specified pairing_phrase",
    );
    pub(super) const NO_MESSAGES: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "no_messages", "This server has no way to send messages.");
    pub(super) const DECIDED: Self =
        Self::new(StatusCode::CONFLICT, 409, "not_waiting", "This is not waiting for an answer any more.");

    pub(super) fn too_many(retry_after: Option<Duration>) -> Self {
        let message = "Too many attempts. Wait as long as Retry-After says, or ask an administrator.";
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, 429, "too_many", message) }
    }

    /// Failures of this user make everybody wait who says that they are.
    pub(super) fn throttled(retry_after: Duration) -> Self {
        Self::too_many(Some(retry_after)).because("throttled")
    }

    pub(super) fn locked_out() -> Self {
        Self::too_many(None).because("locked_out")
    }

    pub(super) const NO_FRAME: Self = Self::new(
        StatusCode::FORBIDDEN,
        403,
        "not_in_a_frame",
        "This page is shown by the site that you log in to, and not on its own.",
    );
    pub(super) const OTHER_SITE: Self = Self::new(
        StatusCode::FORBIDDEN,
        403,
        "other_site",
        "This page belongs to another site. Go there, and start again.",
    );
    pub(super) const NO_ADDRESS: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        401,
        "unsigned",
        "This address is not valid, or it has been opened before. Go back, and start again.",
    );
    pub(super) const OVER: Self =
        Self::new(StatusCode::NOT_FOUND, 404, "page_over", "This page is over. Go back, and start again.");
    pub(super) const EXPIRED: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "wrong_time", "This address has expired. Go back, and start again.");

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> u16 {
        self.code
    }

    pub(super) fn message(&self) -> &'static str {
        self.message
    }

    /// The cause goes to the log, and nothing of it to the client.
    pub(super) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        let message = "The service is in trouble. Try again later.";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: 503, message, retry_after: None, reason: None }
    }

    /// The database is in trouble, or what remembers failures is.
    pub(super) fn store(cause: &dyn std::fmt::Display) -> Self {
        Self { reason: Some(FaultKind::Store.name()), ..Self::internal(cause) }
    }

    /// Why, as a name that stays.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.reason
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Unsigned => Self::UNSIGNED,
            _ => Self::UNSIGNED.because("unreadable_signature"),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::store(&error)
    }
}

impl From<crate::totp::TotpError> for ApiError {
    fn from(error: crate::totp::TotpError) -> Self {
        // By itself it says only what could not be asked.
        let internal = Self::internal(&with_causes(&error));
        Self { reason: FaultKind::of(&error).map(FaultKind::name), ..internal }
    }
}

impl From<crate::seal::Unsealable> for ApiError {
    fn from(error: crate::seal::Unsealable) -> Self {
        Self::internal(&error)
    }
}

impl From<crate::random::NoRandomness> for ApiError {
    fn from(error: crate::random::NoRandomness) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error_code": self.code, "error_message": self.message }));
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("OAuth realm=\"\""));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An error, and what it comes from.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why the server could not be opened, or administered.
#[derive(Debug)]
pub struct ServerError(BoxError);

impl ServerError {
    pub(super) fn elsewhere(place: &str, ours: &str) -> Self {
        Self(
            format!(
                "all servers on this database must keep failures and spent codes in one place: they are in {place}, and \
                 this one would keep them in {ours}; say the same to all (--guard), or stop all of them and move them \
                 (move-guard)"
            )
            .into(),
        )
    }

    /// A user who has nothing to log in with, and is locked out as before.
    pub(super) fn not_unlocked(cause: &crate::totp::TotpError) -> Self {
        Self(
            format!("the pairings are ended, but the account is not unlocked: do it again ({})", with_causes(cause))
                .into(),
        )
    }
}

macro_rules! server_error_from {
    ($($cause:ty),* $(,)?) => {$(
        impl From<$cause> for ServerError {
            fn from(cause: $cause) -> Self {
                Self(cause.into())
            }
        }
    )*};
}

server_error_from!(
    &'static str,
    BoxError,
    sqlx::Error,
    crate::InvalidUserId,
    crate::oauth1::EmptyCredentials,
    crate::random::NoRandomness,
    crate::totp::InvalidWindow,
    crate::totp::SecretError,
    crate::totp::TotpError,
);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
