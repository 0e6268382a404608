//! Authentication of devices: the extractor of the calls of phones.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::rejection::JsonRejection;
use http::header;
use http::request::Parts;
use toopher_sql::query;

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::crypto::digest;
use crate::state::Server;

/// The device that has sent the call.
pub(super) struct Device {
    pub(super) id: String,
}

impl FromRequestParts<Server> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, ApiError> {
        let device = Self::find(parts, server).await;
        Audit::for_call().close(device)
    }
}

impl Device {
    async fn find(parts: &Parts, server: &Server) -> Result<Self, ApiError> {
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return Err(ApiError::NO_DEVICE) };
        let token = header.to_str().ok().and_then(|text| text.split_once(' '));
        let Some((scheme, token)) = token else { return Err(ApiError::NO_DEVICE) };
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(ApiError::NO_DEVICE);
        }
        let id = query("SELECT id FROM devices WHERE token_digest = $1")
            .bind(digest(token.trim()))
            .scalar(&server.database)
            .await?;
        id.map(|id| Self { id }).ok_or(ApiError::NO_DEVICE)
    }
}

pub(super) fn json_body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    body.map(|Json(body)| body).map_err(|_| ApiError::bad_request("Send a JSON object with the members of this call."))
}
