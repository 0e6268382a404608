//! The rules of a phone: with "Automate here", the user lets the phone answer further requests in the same way.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use toopher_sql::{Row, SqlError, query};

use crate::api_error::ApiError;
use crate::id::Id;
use crate::models::Device;
use crate::state::Server;

pub(super) async fn automations(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let rows = query(
        "SELECT m.id, m.allow, q.name AS requester, u.name AS user, t.name AS terminal, a.name AS action
         FROM automations m JOIN pairings p ON p.id = m.pairing_id JOIN users u ON u.id = p.user_id
         JOIN requesters q ON q.id = u.requester_id JOIN terminals t ON t.id = m.terminal_id
         JOIN actions a ON a.id = m.action_id WHERE p.device_id = $1 AND p.state = 'enabled' ORDER BY m.created, m.id",
    )
    .bind(&device.id)
    .rows(&server.database)
    .await?;
    let rule = |row: &Row| {
        Ok::<_, SqlError>(json!({
            "id": row.get::<String>("id")?,
            "allow": row.get::<bool>("allow")?,
            "requester": row.get::<String>("requester")?,
            "user": row.get::<String>("user")?,
            "terminal": row.get::<String>("terminal")?,
            "action": row.get::<String>("action")?,
        }))
    };
    Ok(Json(rows.iter().map(rule).collect::<Result<_, _>>()?))
}

pub(super) async fn remove_automation(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
) -> Result<Json<Value>, ApiError> {
    const MINE: &str =
        "FROM automations WHERE id = $1 AND pairing_id IN (SELECT id FROM pairings WHERE device_id = $2)";
    // A deletion acquires the write lock of SQLite, also if it deletes nothing. Devices without a rule must not.
    if query(format!("SELECT id {MINE}")).bind(&id).bind(&device.id).row(&server.database).await?.is_none() {
        return Err(ApiError::NOT_FOUND);
    }
    let removed = query(format!("DELETE {MINE}"));
    let removed = removed.bind(&id).bind(&device.id).execute(&server.database).await?;
    if removed > 0 { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}
