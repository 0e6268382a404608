//! "Automate here": the rules of a phone.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use sqlx::Row;

use super::Device;
use crate::server::Server;
use crate::server::error::ApiError;
use crate::server::id::Id;

pub(super) async fn automations(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let rows = sqlx::query(
        "SELECT m.id, m.allow, q.name AS requester, u.name AS user, t.name AS terminal, a.name AS action
         FROM automations m JOIN pairings p ON p.id = m.pairing_id JOIN users u ON u.id = p.user_id
         JOIN requesters q ON q.id = u.requester_id JOIN terminals t ON t.id = m.terminal_id
         JOIN actions a ON a.id = m.action_id WHERE p.device_id = ? AND p.state = 'enabled' ORDER BY m.created, m.id",
    )
    .bind(&device.id)
    .fetch_all(server.pool())
    .await?;
    let rule = |row: &sqlx::sqlite::SqliteRow| {
        Ok::<_, sqlx::Error>(json!({
            "id": row.try_get::<String, _>("id")?,
            "allow": row.try_get::<bool, _>("allow")?,
            "requester": row.try_get::<String, _>("requester")?,
            "user": row.try_get::<String, _>("user")?,
            "terminal": row.try_get::<String, _>("terminal")?,
            "action": row.try_get::<String, _>("action")?,
        }))
    };
    Ok(Json(rows.iter().map(rule).collect::<Result<_, _>>()?))
}

pub(super) async fn remove_automation(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    let removed = sqlx::query(
        "DELETE FROM automations WHERE id = ? AND pairing_id IN (SELECT id FROM pairings WHERE device_id = ?)",
    );
    let removed = removed.bind(&id).bind(&device.id).execute(server.pool()).await?.rows_affected();
    if removed > 0 { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}
