//! Reads request bodies. No other code reads one, so each has a limit of size and time.

use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api_error::ApiError;

/// The maximum size of a body in bytes. Each parameter has at most 512.
const MAX_BODY: usize = 16 * 1024;
/// The maximum time in which a body must arrive.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Reads a body of at most 16 KiB within ten seconds.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    let read = timeout(MAX_TIME, to_bytes(body, MAX_BODY));
    read.await.map_err(|_| ApiError::TOO_SLOW)?.map_err(|error| {
        if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) {
            ApiError::TOO_LARGE
        } else {
            ApiError::bad_request("The request body is incomplete.")
        }
    })
}

/// The JSON of a body with the content type of JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = read_body(body).await?;
        let json = Json::from_request(Request::from_parts(parts, body.into()), state).await;
        let json = json.map_err(|_| ApiError::bad_request("Send a JSON object with the members of this call."));
        json.map(|Json(value)| Self(value))
    }
}
