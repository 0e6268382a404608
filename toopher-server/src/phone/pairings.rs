//! The pairings of a phone: it claims, allows, denies and removes them.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE32_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use toopher_sql::{Row, SqlError, query};

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::body::JsonBody;
use crate::crypto::digest;
use crate::id::Id;
use crate::models::Device;
use crate::state::Server;

/// How long a pairing can be allowed, in seconds.
const PAIRING_LIFETIME: i64 = 600;

impl Server {
    /// Notifies the device of a pairing.
    pub(crate) async fn notify_pairing(&self, pairing: Option<&str>) -> Result<(), ApiError> {
        let device: Option<Option<String>> =
            query("SELECT device_id FROM pairings WHERE id = $1").bind(pairing).scalar(&self.database).await?;
        self.notify(device.flatten().as_deref()).await;
        Ok(())
    }

    /// Adds the pairing, its user and its requester to the audit of a decision. Returns the id of the user. With a
    /// device, only finds pairings of that device.
    pub(crate) async fn describe_pairing(
        &self,
        id: &str,
        device: Option<&str>,
        audit: &mut Audit,
    ) -> Result<String, ApiError> {
        let row = query(
            "SELECT u.id, u.name, q.consumer_key FROM pairings p JOIN users u ON u.id = p.user_id
             JOIN requesters q ON q.id = u.requester_id WHERE p.id = $1 AND ($2 IS NULL OR p.device_id = $2)",
        );
        let row = row.bind(id).bind(device).row(&self.database).await?;
        let row = row.ok_or(ApiError::NOT_FOUND)?;
        audit.pairing = Some(id.to_owned());
        audit.user = Some(row.get("name")?);
        audit.requester = Some(row.get("consumer_key")?);
        Ok(row.get("id")?)
    }

    /// Changes the state of a pairing of this device, in one statement.
    async fn change_pairing(
        &self,
        device: &Device,
        id: &str,
        [from, to]: [&str; 2],
        outcome: Outcome,
    ) -> Result<Json<Value>, ApiError> {
        let mut audit = Audit::for_pairing().decided_by("phone");
        let changed = async {
            self.describe_pairing(id, Some(&device.id), &mut audit).await?;
            let changed = query(
                "UPDATE pairings SET state = $1, modified = $2
                 WHERE id = $3 AND device_id = $4 AND (state = $5 OR $6 = 'any')",
            );
            let changed = changed.bind(to).bind(self.now_i64()?).bind(id).bind(&device.id).bind(from).bind(from);
            if changed.execute(&self.database).await? == 0 {
                return Err(ApiError::NOT_FOUND.with_reason("not_pending"));
            }
            audit.settle(outcome);
            // The other pages and event streams of the device.
            self.notify(Some(&device.id)).await;
            Ok(Json(json!({})))
        };
        let changed = changed.await;
        audit.close(changed)
    }
}

#[derive(Deserialize)]
pub(super) struct Claim {
    claim: String,
}

/// Assigns a pairing to the device that has scanned its QR code. The user still has to allow it.
pub(super) async fn claim(
    State(server): State<Server>,
    device: Device,
    JsonBody(claim): JsonBody<Claim>,
) -> Result<Json<Value>, ApiError> {
    let now = server.now_i64()?;
    let claim = digest(&claim.claim);
    // Of a claim that does not exist, nothing is written: it must not delay the writes of signed calls.
    let known = query("SELECT id FROM pairings WHERE claim_digest = $1").bind(&claim).row(&server.database).await?;
    known.ok_or(ApiError::NOT_FOUND)?;
    let insert_device = server.insert_device(&device)?;
    let assign = query(
        "UPDATE pairings SET device_id = $1, claim_digest = NULL, sealed_claim = NULL, modified = $2
         WHERE claim_digest = $3 AND claim_expires > $2 AND device_id IS NULL AND state = 'pending' RETURNING id",
    )
    .bind(&device.id)
    .bind(now)
    .bind(claim);
    let id = server.database.transaction(format!("device {}", device.id), |connection| {
        Box::pin(async {
            if insert_device.scalar(&mut *connection).await? != Some(false) {
                return Err(ApiError::NOT_FOUND);
            }
            assign.scalar::<String>(connection).await?.ok_or(ApiError::NOT_FOUND)
        })
    });
    Ok(Json(json!({ "id": id.await? })))
}

pub(super) async fn pairings(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    // One that can no longer be allowed is not pending for the phone.
    let rows = query(
        "SELECT p.id, p.state, p.created, p.modified, u.name AS user, r.name AS requester FROM pairings p
         JOIN users u ON u.id = p.user_id JOIN requesters r ON r.id = u.requester_id
         WHERE p.device_id = $1 AND (p.state = 'enabled' OR (p.state = 'pending' AND p.modified > $2))
         ORDER BY p.created, p.id",
    )
    .bind(&device.id)
    .bind(server.now_i64()?.saturating_sub(PAIRING_LIFETIME))
    .rows(&server.database)
    .await?;
    let pairing = |row: &Row| {
        let is_pending = row.get::<String>("state")? == "pending";
        let modified: i64 = row.get("modified")?;
        Ok::<_, SqlError>(json!({
            "id": row.get::<String>("id")?,
            "pending": is_pending,
            "expires": is_pending.then(|| modified.saturating_add(PAIRING_LIFETIME)),
            "requester": row.get::<String>("requester")?,
            "user": row.get::<String>("user")?,
            "created": row.get::<i64>("created")?,
        }))
    };
    Ok(Json(rows.iter().map(pairing).collect::<Result<_, _>>()?))
}

pub(super) async fn allow_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    let mut audit = Audit::for_pairing().decided_by("phone");
    let allowed = server.allow_pairing(&id, &device, &mut audit).await;
    audit.close(allowed)
}

impl Server {
    /// Allows a pairing. Only this response contains the secret from which the phone computes codes.
    async fn allow_pairing(&self, id: &str, device: &Device, audit: &mut Audit) -> Result<Json<Value>, ApiError> {
        let user = self.describe_pairing(id, Some(&device.id), audit).await?;
        // A pairing expires. One that was requested on a page, with the first factor alone, is only allowed if the user
        // has no other pairing, so an attacker cannot add one. Transactions of a user are serialized: of two concurrent
        // ones, one is first.
        let allow = query(
            "UPDATE pairings SET state = 'enabled', modified = $1
             WHERE id = $2 AND device_id = $3 AND state = 'pending' AND modified > $1 - $4
                AND EXISTS (SELECT 1 FROM devices d WHERE d.id = device_id AND NOT d.removed)
                AND (NOT from_page OR NOT EXISTS
                    (SELECT 1 FROM pairings o WHERE o.user_id = pairings.user_id AND o.state = 'enabled'))
             RETURNING sealed_secret",
        )
        .bind(self.now_i64()?)
        .bind(id)
        .bind(&device.id)
        .bind(PAIRING_LIFETIME);
        // Codes that were kept after the end of their pairing belong to this one from now on.
        let move_codes = query(
            "UPDATE recovery_codes SET pairing_id = $1 WHERE user_id = $2 AND pairing_id IS NOT NULL AND NOT EXISTS
                (SELECT 1 FROM pairings p WHERE p.id = recovery_codes.pairing_id AND p.state = 'enabled')",
        );
        let move_codes = move_codes.bind(id).bind(&user);
        let sealed = self.transaction_for_user(&user, |connection| {
            Box::pin(async {
                let sealed = allow.scalar::<Vec<u8>>(&mut *connection).await?;
                if sealed.is_some() {
                    move_codes.execute(connection).await?;
                }
                Ok::<_, SqlError>(sealed)
            })
        });
        let sealed = sealed.await?.ok_or(ApiError::NOT_FOUND.with_reason("not_pending"))?;
        audit.settle(Outcome::Paired);
        let secret = self.pairing_secret(id, &sealed)?;
        Ok(Json(json!({
            "id": id,
            "secret": BASE32_NOPAD.encode(secret.as_bytes()),
            "algorithm": "SHA1",
            "digits": 6,
            "period": 30,
        })))
    }
}

pub(super) async fn deny_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    server.change_pairing(&device, &id, ["pending", "denied"], Outcome::Denied("denied_by_user")).await
}

pub(super) async fn remove_pairing(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    server.change_pairing(&device, &id, ["any", "deactivated"], Outcome::Unpaired).await
}
