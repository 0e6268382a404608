//! The pairings of a phone: what it takes, allows, denies and removes.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use data_encoding::BASE32_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;

use super::{Device, body};
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::id::Id;
use crate::server::pairings::digest;

/// How long a pairing waits to be allowed.
const PAIRING_LIFETIME: i64 = 600;

impl Server {
    pub(in crate::server) async fn notify_pairing(&self, pairing: Option<&str>) -> Result<(), ApiError> {
        let device: Option<Option<String>> = sqlx::query_scalar("SELECT device_id FROM pairings WHERE id = ?")
            .bind(pairing)
            .fetch_optional(self.pool())
            .await?;
        self.notify(device.flatten().as_deref());
        Ok(())
    }

    /// Moves a pairing of this device from one state to another, in one statement; says whether it was there.
    async fn move_pairing(&self, device: &Device, id: &str, from: &str, to: &str) -> Result<bool, ApiError> {
        let moved = sqlx::query(
            "UPDATE pairings SET state = ?, modified = ? WHERE id = ? AND device_id = ? AND (state = ? OR ? = 'any')",
        );
        let moved = moved.bind(to).bind(self.now_i64()?).bind(id).bind(&device.id).bind(from).bind(from);
        Ok(moved.execute(self.pool()).await?.rows_affected() > 0)
    }
}

#[derive(Deserialize)]
pub(super) struct Claim {
    claim: String,
}

/// Takes a pairing whose QR code this phone has scanned. It then waits to be allowed like any other.
pub(super) async fn claim(
    State(server): State<Server>,
    device: Device,
    claim: Result<Json<Claim>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let now = server.now_i64()?;
    let id: Option<String> = sqlx::query_scalar(
        "UPDATE pairings SET device_id = ?1, claim_digest = NULL, sealed_claim = NULL, modified = ?2
         WHERE claim_digest = ?3 AND claim_expires > ?2 AND device_id IS NULL AND state = 'pending' RETURNING id",
    )
    .bind(&device.id)
    .bind(now)
    .bind(digest(&body(claim)?.claim))
    .fetch_all(server.pool())
    .await?
    .pop();
    Ok(Json(json!({ "id": id.ok_or(ApiError::NOT_FOUND)? })))
}

pub(super) async fn pairings(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let rows = sqlx::query(
        "SELECT p.id, p.state, p.created, u.name AS user, r.name AS requester FROM pairings p
         JOIN users u ON u.id = p.user_id JOIN requesters r ON r.id = u.requester_id
         WHERE p.device_id = ? AND p.state IN ('pending', 'enabled') ORDER BY p.created, p.id",
    )
    .bind(&device.id)
    .fetch_all(server.pool())
    .await?;
    let pairing = |row: &sqlx::sqlite::SqliteRow| {
        Ok::<_, sqlx::Error>(json!({
            "id": row.try_get::<String, _>("id")?,
            "pending": row.try_get::<&str, _>("state")? == "pending",
            "requester": row.try_get::<String, _>("requester")?,
            "user": row.try_get::<String, _>("user")?,
            "created": row.try_get::<i64, _>("created")?,
        }))
    };
    Ok(Json(rows.iter().map(pairing).collect::<Result<_, _>>()?))
}

/// Allows a pairing. The answer holds the secret from which the phone computes codes; it is delivered once.
pub(super) async fn allow_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    // Not for ever, and one that was asked for on a page only if there is no other: else it would wait for its day.
    let sealed: Option<Vec<u8>> = sqlx::query_scalar(
        "UPDATE pairings SET state = 'enabled', modified = ?1
         WHERE id = ?2 AND device_id = ?3 AND state = 'pending' AND modified > ?1 - ?4
            AND (NOT from_page OR NOT EXISTS
                (SELECT 1 FROM pairings o WHERE o.user_id = pairings.user_id AND o.state = 'enabled'))
         RETURNING sealed_secret",
    )
    .bind(server.now_i64()?)
    .bind(&id)
    .bind(&device.id)
    .bind(PAIRING_LIFETIME)
    .fetch_all(server.pool())
    .await?
    .pop();
    let secret = server.pairing_secret(&id, &sealed.ok_or(ApiError::NOT_FOUND)?)?;
    Ok(Json(json!({
        "id": id,
        "secret": BASE32_NOPAD.encode(secret.as_bytes()),
        "algorithm": "SHA1",
        "digits": 6,
        "period": 30,
    })))
}

pub(super) async fn deny_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    let denied = server.move_pairing(&device, &id, "pending", "refused").await?;
    if denied { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}

pub(super) async fn remove_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    let removed = server.move_pairing(&device, &id, "any", "deactivated").await?;
    if removed { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}
