//! Calls about users.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::error::{ApiError, ServerError};
use super::id::Id;
use super::objects::{USER_COLUMNS, User};
use super::signed::Signed;
use super::{Server, new_id};
use crate::UserId;
use crate::totp::BackupCode;

const NAME: &[&str] = &["name", "user_name"];

impl Server {
    pub(super) async fn user(&self, requester: &str, id: &str) -> Result<Option<User>, ApiError> {
        let query = format!("SELECT {USER_COLUMNS} FROM users u WHERE u.requester_id = ? AND u.id = ?");
        Ok(sqlx::query_as(&query).bind(requester).bind(id).fetch_optional(self.pool()).await?)
    }

    /// The user of this name, who is made if there is none: a site names its users and registers nobody.
    pub(super) async fn user_named(&self, requester: &str, name: &str) -> Result<User, ApiError> {
        let id: String = sqlx::query_scalar(
            "INSERT INTO users (id, requester_id, name, created, modified) VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = name RETURNING id",
        )
        .bind(new_id())
        .bind(requester)
        .bind(name)
        .bind(self.now_i64()?)
        .fetch_all(self.pool())
        .await?
        .pop()
        .ok_or(ApiError::NO_USER)?;
        self.user(requester, &id).await?.ok_or(ApiError::NO_USER)
    }

    /// The user that a call names, by `user_id`, by `user_name`, or by both: then the one of that id takes the name.
    pub(super) async fn named_user(&self, call: &Signed) -> Result<User, ApiError> {
        let Some(id) = call.params.get(&["user_id"])? else {
            return self.user_named(&call.requester_id, call.params.require(&["user_name"])?).await;
        };
        if let Some(name) = call.params.get(&["user_name"])? {
            let renamed =
                sqlx::query("UPDATE OR IGNORE users SET name = ?1, modified = ?2 WHERE requester_id = ?3 AND id = ?4");
            let renamed = renamed.bind(name).bind(self.now_i64()?).bind(&call.requester_id).bind(id);
            if renamed.execute(self.pool()).await?.rows_affected() == 0 {
                // Unknown, or the name is another user's.
                return Err(ApiError::NO_USER);
            }
        }
        self.user(&call.requester_id, id).await?.ok_or(ApiError::NO_USER)
    }

    /// Ends all pairings of a user, and the printed codes, which are of the same time and may be with the same thief.
    /// Nothing is left to guess then, and the next pairing must be able to log in: the failures are forgotten.
    pub(super) async fn reset(&self, user: &str) -> Result<(), ServerError> {
        let now = self.now_i64().map_err(|_| "the clock stands before 1970")?;
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await?;
        let devices: Vec<Option<String>> = sqlx::query_scalar(
            "UPDATE pairings SET state = 'deactivated', modified = ?, claim_digest = NULL, sealed_claim = NULL
             WHERE user_id = ? AND state <> 'deactivated' RETURNING device_id",
        )
        .bind(now)
        .bind(user)
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM backup_codes WHERE user_id = ?").bind(user).execute(&mut *transaction).await?;
        transaction.commit().await?;
        for device in devices {
            self.notify(device.as_deref());
        }
        Ok(self.verifier.unlock(&UserId::new(user)?).await?)
    }
}

pub(super) async fn create(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.user_named(&call.requester_id, call.params.require(NAME)?).await?.json()))
}

pub(super) async fn find(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let name = call.params.get(NAME)?;
    let query = format!(
        "SELECT {USER_COLUMNS} FROM users u WHERE u.requester_id = ?1 AND (?2 IS NULL OR u.name = ?2)
         ORDER BY u.name LIMIT 1000"
    );
    let users: Vec<User> = sqlx::query_as(&query).bind(&call.requester_id).bind(name).fetch_all(server.pool()).await?;
    Ok(Json(users.iter().map(User::json).collect()))
}

pub(super) async fn status(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.user(&call.requester_id, &id).await?.ok_or(ApiError::NO_USER)?.json()))
}

/// Two generations say the same in opposite senses.
pub(super) async fn update(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let enabled = call.params.flag(&["toopher_authentication_enabled"])?;
    let disabled = call.params.flag(&["disable_toopher_auth"])?;
    let enabled = match (enabled, disabled) {
        (Some(enabled), Some(disabled)) if enabled == disabled => {
            return Err(ApiError::bad_request("The user is to be enabled and disabled at once."));
        }
        (enabled, disabled) => enabled.or(disabled.map(|disabled| !disabled)),
    };
    sqlx::query("UPDATE users SET enabled = coalesce(?, enabled), modified = ? WHERE requester_id = ? AND id = ?")
        .bind(enabled)
        .bind(server.now_i64()?)
        .bind(&call.requester_id)
        .bind(&id)
        .execute(server.pool())
        .await?;
    Ok(Json(server.user(&call.requester_id, &id).await?.ok_or(ApiError::NO_USER)?.json()))
}

/// Deactivates all pairings, so that the user must pair again.
pub(super) async fn reset(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let name = call.params.require(NAME)?;
    let id: Option<String> = sqlx::query_scalar("SELECT id FROM users WHERE requester_id = ? AND name = ?")
        .bind(&call.requester_id)
        .bind(name)
        .fetch_optional(server.pool())
        .await?;
    server.reset(&id.ok_or(ApiError::NO_USER)?).await.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(json!({})))
}

/// Makes ten new printed codes, in place of all before.
pub(super) async fn activate_next_otp_list(
    State(server): State<Server>,
    call: Signed,
) -> Result<Json<Value>, ApiError> {
    let name = call.params.require(&["user_name"])?;
    let create = call.params.flag(&["create_user_if_needed"])?.unwrap_or(false);
    let known: Option<String> = sqlx::query_scalar("SELECT id FROM users WHERE requester_id = ? AND name = ?")
        .bind(&call.requester_id)
        .bind(name)
        .fetch_optional(server.pool())
        .await?;
    let id = match known {
        Some(id) => id,
        None if create => server.user_named(&call.requester_id, name).await?.user_id,
        None => return Err(ApiError::NO_USER),
    };
    let codes = BackupCode::generate()?;
    let user = UserId::new(id.as_str()).map_err(|error| ApiError::internal(&error))?;
    let mut transaction = server.pool().begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM backup_codes WHERE user_id = ?").bind(&id).execute(&mut *transaction).await?;
    for code in &codes {
        sqlx::query("INSERT INTO backup_codes (user_id, digest) VALUES (?, ?)")
            .bind(&id)
            .bind(&code.digest(&user).as_bytes()[..])
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "otp_list": codes })))
}
