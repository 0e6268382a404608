//! The phone's side: a device registers, shows a phrase, and answers what waits for it.
//!
//! All calls but the registration carry the device's token as a bearer token (RFC 6750). A device sees its own pairings
//! and their requests, and nothing else exists for it. [`mod@page`] is a phone for everybody who has a browser.

mod automations;
mod devices;
mod events;
mod page;
mod pairings;
mod requests;

use axum::extract::FromRequestParts;
use axum::extract::rejection::JsonRejection;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderValue, header};

use super::Server;
use super::audit::Audit;
use super::error::ApiError;
use super::pairings::digest;
use crate::store::query;

pub(super) use self::page::router as page;

/// The calls, whose answers hold tokens and secrets: none of them is kept on the way.
pub(super) fn router() -> Router<Server> {
    Router::new()
        .route("/devices", post(devices::register))
        .route("/phrases", post(devices::new_phrase))
        .route("/claims", post(pairings::claim))
        .route("/pairings", get(pairings::pairings))
        .route("/pairings/{id}/allow", post(pairings::allow_pairing))
        .route("/pairings/{id}/deny", post(pairings::deny_pairing))
        .route("/pairings/{id}/remove", post(pairings::remove_pairing))
        .route("/requests", get(requests::requests))
        .route("/requests/{id}/allow", post(requests::allow))
        .route("/requests/{id}/deny", post(requests::deny))
        .route("/automations", get(automations::automations))
        .route("/automations/{id}/remove", post(automations::remove_automation))
        .route("/events", get(events::events))
        .layer(map_response(unkept))
}

async fn unkept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The device that calls.
struct Device {
    id: String,
}

impl FromRequestParts<Server> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, ApiError> {
        let device = Self::of_token(parts, server).await;
        Audit::of_call().close(device)
    }
}

impl Device {
    async fn of_token(parts: &Parts, server: &Server) -> Result<Self, ApiError> {
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

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    body.map(|Json(body)| body).map_err(|_| ApiError::bad_request("Send a JSON object with the members of this call."))
}
