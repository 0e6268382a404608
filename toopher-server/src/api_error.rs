//! Error responses in the format that all versions of clients read: a status, and JSON with `error_code` and
//! `error_message`.

use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use toopher_oauth1::CheckError;
use toopher_sql::SqlError;
use tower_toopher::crypto::{DecryptError, NoRandomness};
use tower_toopher::totp::TotpError;
use tower_toopher::verify::ErrorClass;

use crate::error::error_chain;

/// An error response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: u16,
    message: &'static str,
    retry_after: Option<Duration>,
    /// The reason in audit events. The client does not see it.
    reason: Option<&'static str>,
}

impl ApiError {
    const fn new(status: StatusCode, code: u16, reason: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None, reason: Some(reason) }
    }

    /// The same response with another reason in audit events.
    pub(crate) const fn with_reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    pub(crate) const fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 400, "bad_request", message)
    }

    pub(crate) const UNSIGNED: Self =
        Self::new(StatusCode::UNAUTHORIZED, 401, "unsigned", "Not a valid OAuth signed request");
    pub(crate) const NO_DEVICE: Self =
        Self::new(StatusCode::UNAUTHORIZED, 401, "unknown_device", "Not the token of a registered device");
    pub(crate) const NO_EVENTS: Self = Self::new(
        StatusCode::FORBIDDEN,
        403,
        "not_enrolled",
        "Events need a pairing, or a pairing phrase that is valid.",
    );
    pub(crate) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, 404, "not_found", "No such resource exists.");
    pub(crate) const NOT_ALLOWED: Self =
        Self::new(StatusCode::METHOD_NOT_ALLOWED, 405, "method_not_allowed", "This method is not allowed here.");
    pub(crate) const TOO_SLOW: Self =
        Self::new(StatusCode::REQUEST_TIMEOUT, 408, "unreadable_body", "The request body took too long.");
    pub(crate) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, 413, "body_too_large", "The request body is too large.");
    pub(crate) const NO_FORM: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        415,
        "unreadable_body",
        "Send parameters as application/x-www-form-urlencoded in UTF-8.",
    );
    pub(crate) const NO_FORMAT: Self =
        Self::bad_request("This server responds in JSON only. Omit format, or send json.");
    pub(crate) const MISSING_PARAMETER: Self = Self::bad_request("A required parameter is missing.");
    pub(crate) const NO_UTF8: Self = Self::bad_request("A parameter is not in UTF-8.");
    /// No client depends on the status: all of them read the code and the message.
    pub(crate) const NO_PAIRING: Self =
        Self::new(StatusCode::NOT_FOUND, 601, "unknown_pairing", "No matching pairing exists.");
    pub(crate) const NOT_AUTHORIZED: Self =
        Self::new(StatusCode::CONFLICT, 601, "not_enrolled", "This pairing has not been authorized to authenticate.");
    pub(crate) const USER_DISABLED: Self = Self::new(
        StatusCode::CONFLICT,
        704,
        "user_disabled",
        "The specified user has disabled Toopher authentication.",
    );
    pub(crate) const NO_USER: Self = Self::new(StatusCode::CONFLICT, 705, "unknown_user", "No matching user exists.");
    /// The response of [`NOT_FOUND`](Self::NOT_FOUND).
    pub(crate) const NO_APPROVAL: Self = Self::NOT_FOUND.with_reason("invalid_approval");
    pub(crate) const NO_TERMINAL: Self =
        Self::new(StatusCode::CONFLICT, 706, "unknown_terminal", "No matching terminal exists.");
    pub(crate) const DEACTIVATED: Self =
        Self::new(StatusCode::CONFLICT, 707, "not_enrolled", "Not allowed: This pairing has been deactivated.");
    pub(crate) const NO_PHRASE: Self = Self::new(
        StatusCode::CONFLICT,
        601,
        "unknown_phrase",
        "No pending pairing requests with specified pairing_phrase",
    );
    pub(crate) const NO_MESSAGES: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "no_messages", "This server cannot send messages.");
    pub(crate) const DECIDED: Self = Self::new(StatusCode::CONFLICT, 409, "not_pending", "This is no longer pending.");

    pub(crate) fn too_many(retry_after: Option<Duration>) -> Self {
        let message = "Too many attempts. Retry after the time in Retry-After, or ask an administrator.";
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, 429, "too_many", message) }
    }

    /// The failures of a user delay every call that names this user.
    pub(crate) fn throttled(retry_after: Duration) -> Self {
        Self::too_many(Some(retry_after)).with_reason("throttled")
    }

    pub(crate) fn locked_out() -> Self {
        Self::too_many(None).with_reason("locked_out")
    }

    pub(crate) const NO_FRAME: Self = Self::new(
        StatusCode::FORBIDDEN,
        403,
        "not_in_a_frame",
        "This page is only shown within the site that you log in to.",
    );
    pub(crate) const OTHER_SITE: Self = Self::new(
        StatusCode::FORBIDDEN,
        403,
        "other_site",
        "This page belongs to another site. Go there, and start again.",
    );
    pub(crate) const INVALID_PAGE_URL: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        401,
        "unsigned",
        "This link is not valid, or was used before. Go back, and start again.",
    );
    pub(crate) const PAGE_EXPIRED: Self =
        Self::new(StatusCode::NOT_FOUND, 404, "page_expired", "This page has expired. Go back, and start again.");
    /// The page that clients name if they cannot sign the URL of a page.
    pub(crate) const UNSIGNABLE: Self =
        Self::bad_request("The site could not create the address of this page. Go back, and start again.");
    pub(crate) const EXPIRED: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "wrong_time", "This link has expired. Go back, and start again.");

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    pub(crate) fn message(&self) -> &'static str {
        self.message
    }

    /// Logs the cause. The client does not see it.
    pub(crate) fn internal(cause: &dyn Display) -> Self {
        tracing::error!(%cause, "request failed");
        let message = "Internal server error. Try again later.";
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: 503, message, retry_after: None, reason: None }
    }

    /// The database or the failure store has failed.
    pub(crate) fn store(cause: &dyn Display) -> Self {
        Self { reason: Some(ErrorClass::Store.name()), ..Self::internal(cause) }
    }

    /// The reason, as a stable name.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.reason
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Unsigned => Self::UNSIGNED,
            _ => Self::UNSIGNED.with_reason("unreadable_signature"),
        }
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        Self::store(&error)
    }
}

impl From<TotpError> for ApiError {
    fn from(error: TotpError) -> Self {
        // The error alone only names the failed operation.
        let internal = Self::internal(&error_chain(&error));
        Self { reason: ErrorClass::from_error(&error).map(ErrorClass::name), ..internal }
    }
}

impl From<DecryptError> for ApiError {
    fn from(error: DecryptError) -> Self {
        Self::internal(&error)
    }
}

impl From<NoRandomness> for ApiError {
    fn from(error: NoRandomness) -> Self {
        Self::internal(&error)
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> Self {
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
