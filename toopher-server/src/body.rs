//! Reads request bodies, with a limit of size and time.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::api_error::ApiError;

/// The maximum time in which a body must arrive.
const MAX_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let read = timeout(MAX_TIME, to_bytes(body, limit));
    read.await.map_err(|_| ApiError::TOO_SLOW)?.map_err(|error| {
        if error.source().is_some_and(|cause| cause.is::<LengthLimitError>()) {
            ApiError::TOO_LARGE
        } else {
            ApiError::bad_request("The request body is incomplete.")
        }
    })
}
