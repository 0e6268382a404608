//! A phone registers, and shows a phrase.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Device, body};
use crate::server::error::ApiError;
use crate::server::pairings::{digest, token};
use crate::server::{Server, new_id, phrases};
use crate::store::query;

/// How many phones are registered at the most without being paired; they are removed after a day.
const MAX_UNPAIRED: i64 = 10_000;
/// How many phrases a phone gets in a day.
const MAX_PHRASES: i64 = 100;
/// How long a phrase can be used.
const PHRASE_LIFETIME: i64 = 300;
const MAX_DEVICE_NAME: usize = 200;

#[derive(Deserialize)]
pub(super) struct Registration {
    name: String,
}

/// The answer holds the token, which is shown once.
pub(super) async fn register(
    State(server): State<Server>,
    registration: Result<Json<Registration>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let name = body(registration)?.name;
    if name.trim().is_empty() || name.len() > MAX_DEVICE_NAME || name.contains('\0') {
        return Err(ApiError::bad_request("The name of a device has 1 to 200 bytes, and none of them is NUL."));
    }
    let (id, token) = (new_id(), token()?);
    // Anybody may register, so what that takes is bounded; by so many and as many more as register at the same moment.
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

/// A new phrase, in place of the device's last.
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
        let phrase = phrases::deal()?;
        // One that another phone has shown within a day is taken: a person may still have it in mind.
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
    // The last one is over, also where there is no other.
    transaction.commit().await?;
    Err(ApiError::too_many(None))
}

/// A QR code as rows of `1` for dark and `0` for light: whoever draws it has no markup to trust.
fn qr(text: &str) -> Result<Vec<String>, ApiError> {
    let code = qrcode::QrCode::new(text).map_err(|error| ApiError::internal(&error))?;
    let modules = code.to_colors();
    let row = |row: &[qrcode::Color]| row.iter().map(|module| module.select('1', '0')).collect();
    Ok(modules.chunks(code.width()).map(row).collect())
}
