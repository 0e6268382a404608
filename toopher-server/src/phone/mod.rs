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

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, header};

use crate::state::Server;

pub(crate) use self::page::router as page;

/// The calls. Their responses contain tokens and secrets, so no cache may store them.
pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/devices", post(register::register))
        .route("/phrases", post(register::new_phrase))
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
        .layer(map_response(no_store))
}

async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
