//! The pairings of a phone: what it takes, allows, denies and removes.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use data_encoding::BASE32_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Device, body};
use crate::server::error::ApiError;
use crate::server::id::Id;
use crate::server::pairings::digest;
use crate::server::{Server, of_user};
use crate::store::{Row, query};

/// How long a pairing waits to be allowed.
const PAIRING_LIFETIME: i64 = 600;

impl Server {
    pub(in crate::server) async fn notify_pairing(&self, pairing: Option<&str>) -> Result<(), ApiError> {
        let device: Option<Option<String>> =
            query("SELECT device_id FROM pairings WHERE id = $1").bind(pairing).scalar(&self.database).await?;
        self.notify(device.flatten().as_deref()).await;
        Ok(())
    }

    /// Moves a pairing of this device from one state to another, in one statement; says whether it was there.
    async fn move_pairing(&self, device: &Device, id: &str, from: &str, to: &str) -> Result<bool, ApiError> {
        let moved = query(
            "UPDATE pairings SET state = $1, modified = $2 WHERE id = $3 AND device_id = $4 AND (state = $5 OR $6 = 'any')",
        );
        let moved = moved.bind(to).bind(self.now_i64()?).bind(id).bind(&device.id).bind(from).bind(from);
        Ok(moved.execute(&self.database).await? > 0)
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
    let id: Option<String> = query(
        "UPDATE pairings SET device_id = $1, claim_digest = NULL, sealed_claim = NULL, modified = $2
         WHERE claim_digest = $3 AND claim_expires > $2 AND device_id IS NULL AND state = 'pending' RETURNING id",
    )
    .bind(&device.id)
    .bind(now)
    .bind(digest(&body(claim)?.claim))
    .scalar(&server.database)
    .await?;
    Ok(Json(json!({ "id": id.ok_or(ApiError::NOT_FOUND)? })))
}

pub(super) async fn pairings(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let rows = query(
        "SELECT p.id, p.state, p.created, u.name AS user, r.name AS requester FROM pairings p
         JOIN users u ON u.id = p.user_id JOIN requesters r ON r.id = u.requester_id
         WHERE p.device_id = $1 AND p.state IN ('pending', 'enabled') ORDER BY p.created, p.id",
    )
    .bind(&device.id)
    .rows(&server.database)
    .await?;
    let pairing = |row: &Row| {
        Ok::<_, sqlx::Error>(json!({
            "id": row.get::<String>("id")?,
            "pending": row.get::<String>("state")? == "pending",
            "requester": row.get::<String>("requester")?,
            "user": row.get::<String>("user")?,
            "created": row.get::<i64>("created")?,
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
    let user = query("SELECT user_id FROM pairings WHERE id = $1 AND device_id = $2").bind(&id).bind(&device.id);
    let user: String = user.scalar(&server.database).await?.ok_or(ApiError::NOT_FOUND)?;
    let mut transaction = server.database.begin(&of_user(&user)).await?;
    // Not for ever, and one that was asked for on a page only if there is no other: else it would wait for its day. Of two
    // that are allowed at once there is one first.
    let sealed: Option<Vec<u8>> = query(
        "UPDATE pairings SET state = 'enabled', modified = $1
         WHERE id = $2 AND device_id = $3 AND state = 'pending' AND modified > $1 - $4
            AND (NOT from_page OR NOT EXISTS
                (SELECT 1 FROM pairings o WHERE o.user_id = pairings.user_id AND o.state = 'enabled'))
         RETURNING sealed_secret",
    )
    .bind(server.now_i64()?)
    .bind(&id)
    .bind(&device.id)
    .bind(PAIRING_LIFETIME)
    .scalar(&mut transaction)
    .await?;
    transaction.commit().await?;
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
