//! Registration of phones, and their pairing phrases.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::device::MAX_NAME;
use crate::api_error::ApiError;
use crate::body::JsonBody;
use crate::id::new_id;
use crate::models::Device;
use crate::qr;
use crate::state::Server;

#[derive(Deserialize)]
pub(super) struct Registration {
    name: String,
}

/// Registers a device. Only this response contains its token. It stores nothing: the device has a row once a pairing
/// belongs to it.
pub(super) async fn register(
    State(server): State<Server>,
    JsonBody(registration): JsonBody<Registration>,
) -> Result<Json<Value>, ApiError> {
    let name = registration.name;
    if name.trim().is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return Err(ApiError::bad_request("The name of a device has 1 to 200 bytes without NUL."));
    }
    let device = Device { id: new_id(), name, created: server.now_i64()? };
    let token = server.device_token(&device)?;
    Ok(Json(json!({ "id": device.id, "name": device.name, "token": token })))
}

/// Generates a phrase, which replaces the previous one of the device.
pub(super) async fn new_phrase(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let (phrase, expires) = server.phrases.show(&device, server.now_i64()?).await?;
    Ok(Json(json!({ "phrase": phrase, "expires": expires, "qr": qr::rows(&phrase)? })))
}
