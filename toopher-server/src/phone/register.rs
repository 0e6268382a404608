//! Registration of phones, and their pairing phrases.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};
use toopher_sql::query;

use super::device::{Device, json_body};
use crate::api_error::ApiError;
use crate::crypto::{digest, token};
use crate::id::new_id;
use crate::pairing_phrase;
use crate::state::Server;

/// The maximum number of registered phones without a pairing. They are deleted after a day.
const MAX_UNPAIRED: i64 = 10_000;
/// The maximum number of phrases of a phone per day.
const MAX_PHRASES: i64 = 100;
/// How long a phrase can be used, in seconds.
const PHRASE_LIFETIME: i64 = 300;
/// The maximum length of a device's name in bytes.
const MAX_DEVICE_NAME: usize = 200;

#[derive(Deserialize)]
pub(super) struct Registration {
    name: String,
}

/// Registers a device. Only this response contains its token.
pub(super) async fn register(
    State(server): State<Server>,
    registration: Result<Json<Registration>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let name = json_body(registration)?.name;
    if name.trim().is_empty() || name.len() > MAX_DEVICE_NAME || name.contains('\0') {
        return Err(ApiError::bad_request("The name of a device has 1 to 200 bytes without NUL."));
    }
    let (id, token) = (new_id(), token()?);
    // Registration needs no authentication, so its number is limited. Concurrent registrations may exceed the limit.
    let registered = query(
        "INSERT INTO devices (id, name, token_digest, created) SELECT $1, $2, $3, $4 WHERE
            (SELECT count(*) FROM devices d WHERE NOT EXISTS (SELECT 1 FROM pairings p WHERE p.device_id = d.id)) < $5",
    )
    .bind(&id)
    .bind(&name)
    .bind(digest(&token))
    .bind(server.now_i64()?)
    .bind(MAX_UNPAIRED)
    .execute(&server.database)
    .await?;
    if registered == 0 {
        return Err(ApiError::too_many(None));
    }
    Ok(Json(json!({ "id": id, "name": name, "token": token })))
}

/// Generates a phrase, which replaces the previous one of the device.
pub(super) async fn new_phrase(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let now = server.now_i64()?;
    let expires = now.saturating_add(PHRASE_LIFETIME);
    let mut transaction = server.database.begin(&format!("phrases of {}", device.id)).await?;
    query("UPDATE phrases SET expires = $1 WHERE device_id = $2 AND expires > $1")
        .bind(now)
        .bind(&device.id)
        .execute(&mut transaction)
        .await?;
    for _ in 0..20 {
        let phrase = pairing_phrase::generate()?;
        // A phrase that another phone has shown within a day is not used, since a person may still remember it.
        let taken = query(
            "INSERT INTO phrases (phrase, device_id, expires)
             SELECT $1, $2, $3 WHERE (SELECT count(*) FROM phrases WHERE device_id = $2) < $4
             ON CONFLICT (phrase) DO NOTHING",
        );
        let taken = taken.bind(&phrase).bind(&device.id).bind(expires).bind(MAX_PHRASES);
        if taken.execute(&mut transaction).await? > 0 {
            transaction.commit().await?;
            return Ok(Json(json!({ "phrase": phrase, "expires": expires, "qr": qr(&phrase)? })));
        }
    }
    // The previous phrase has expired, even if there is no new one.
    transaction.commit().await?;
    Err(ApiError::too_many(None))
}

/// A QR code as rows of `1` for dark and `0` for light, so that the page draws it without trusting markup.
fn qr(text: &str) -> Result<Vec<String>, ApiError> {
    let code = qrcode::QrCode::new(text).map_err(|error| ApiError::internal(&error))?;
    let modules = code.to_colors();
    let row = |row: &[qrcode::Color]| row.iter().map(|module| module.select('1', '0')).collect();
    Ok(modules.chunks(code.width()).map(row).collect())
}
