//! The API of phones: a device registers, shows a phrase, and answers its requests.
//!
//! All calls except the registration carry the token of the device as a bearer token (RFC 6750). A device only sees its
//! own pairings and their requests. [`mod@page`] is a client for browsers.

mod automations;
mod device;
mod events;
mod page;
mod pairings;
mod register;
mod requests;

use axum::extract::State;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::models::Device;
use crate::state::Server;

pub(crate) use self::page::router as page;

/// The calls. Their responses contain tokens and secrets, so no cache may store them.
pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/devices", post(register::register))
        .route("/phrases", post(register::new_phrase))
        .route("/claims", post(pairings::claim))
        .route("/overview", get(overview))
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
        .layer(map_response(no_store))
}

/// All that a phone shows, in one call.
async fn overview(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let (pairings, requests, automations) = tokio::try_join!(
        pairings::pairings(State(server.clone()), device.clone()),
        requests::requests(State(server.clone()), device.clone()),
        automations::automations(State(server.clone()), device.clone()),
    )?;
    Ok(Json(json!({ "pairings": pairings.0, "requests": requests.0, "automations": automations.0 })))
}

async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
