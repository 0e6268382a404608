//! Errors in the shape that every generation of client reads: a status, and JSON with `error_code` and `error_message`.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::BoxError;
use crate::fault::chain;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: u16,
    message: &'static str,
    retry_after: Option<Duration>,
}

impl ApiError {
    const fn new(status: StatusCode, code: u16, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None }
    }

    pub(super) const fn bad_request(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 400, message)
    }

    pub(super) const UNSIGNED: Self = Self::new(StatusCode::UNAUTHORIZED, 401, "Not a valid OAuth signed request");
    pub(super) const NO_DEVICE: Self = Self::new(StatusCode::UNAUTHORIZED, 401, "Not the token of a registered device");
    pub(super) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, 404, "There is nothing by this name.");
    pub(super) const NOT_ALLOWED: Self =
        Self::new(StatusCode::METHOD_NOT_ALLOWED, 405, "This method is not allowed here.");
    pub(super) const TOO_SLOW: Self = Self::new(StatusCode::REQUEST_TIMEOUT, 408, "The request body took too long.");
    pub(super) const TOO_LARGE: Self = Self::new(StatusCode::PAYLOAD_TOO_LARGE, 413, "The request body is too large.");
    pub(super) const NO_FORM: Self = Self::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        415,
        "Send parameters as application/x-www-form-urlencoded in UTF-8.",
    );
    pub(super) const NO_PAIRING: Self = Self::new(StatusCode::CONFLICT, 601, "No matching pairing exists.");
    pub(super) const NOT_AUTHORIZED: Self =
        Self::new(StatusCode::CONFLICT, 601, "This pairing has not been authorized to authenticate.");
    pub(super) const USER_DISABLED: Self =
        Self::new(StatusCode::CONFLICT, 704, "The specified user has disabled Toopher authentication.");
    pub(super) const NO_USER: Self = Self::new(StatusCode::CONFLICT, 705, "No matching user exists.");
    pub(super) const NO_TERMINAL: Self = Self::new(StatusCode::CONFLICT, 706, "No matching terminal exists.");
    pub(super) const DEACTIVATED: Self =
        Self::new(StatusCode::CONFLICT, 707, "Not allowed: This pairing has been deactivated.");
    pub(super) const NO_PHRASE: Self =
        Self::new(StatusCode::CONFLICT, 601, "No pending pairing requests with specified pairing_phrase");
    pub(super) const NO_MESSAGES: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "This server has no way to send messages.");
    pub(super) const DECIDED: Self =
        Self::new(StatusCode::CONFLICT, 409, "This is not waiting for an answer any more.");

    pub(super) fn too_many(retry_after: Option<Duration>) -> Self {
        let message = "Too many attempts. Wait as long as Retry-After says, or ask an administrator.";
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, 429, message) }
    }

    pub(super) const NO_FRAME: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "This page is shown by the site that you log in to, and not on its own.");
    pub(super) const OTHER_SITE: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "This page belongs to another site. Go there, and start again.");
    pub(super) const NO_ADDRESS: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        401,
        "This address is not valid, or it has been opened before. Go back, and start again.",
    );
    pub(super) const OVER: Self = Self::new(StatusCode::NOT_FOUND, 404, "This page is over. Go back, and start again.");
    pub(super) const EXPIRED: Self =
        Self::new(StatusCode::FORBIDDEN, 403, "This address has expired. Go back, and start again.");

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
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 503, "The service is in trouble. Try again later.")
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<crate::totp::TotpError> for ApiError {
    fn from(error: crate::totp::TotpError) -> Self {
        // By itself it says only what could not be asked.
        Self::internal(&with_causes(&error))
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
