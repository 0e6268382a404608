//! Calls about users.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use toopher_sql::{Executor, SqlError, query};
use tower_toopher::UserId;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::error::ServerError;
use crate::id::{Id, new_id};
use crate::models::{USER_COLUMNS, User};
use crate::recovery_codes::new_recovery_codes;
use crate::state::Server;

const NAME: &[&str] = &["name", "user_name"];

/// The user with this name, if there is one.
pub(crate) async fn find_user<'a>(
    on: impl Into<Executor<'a>>,
    requester: &str,
    name: &str,
) -> Result<Option<User>, SqlError> {
    let text = format!("SELECT {USER_COLUMNS} FROM users u WHERE u.requester_id = $1 AND u.name = $2");
    query(text).bind(requester).bind(name).one(on).await
}

impl Server {
    pub(crate) async fn user(&self, requester: &str, id: &str) -> Result<Option<User>, ApiError> {
        let text = format!("SELECT {USER_COLUMNS} FROM users u WHERE u.requester_id = $1 AND u.id = $2");
        Ok(query(text).bind(requester).bind(id).one(&self.database).await?)
    }

    /// The user with this name, who is created if there is none: sites name their users without registering them. Only
    /// a call that stores something about the user may create one. Others would store names that an attacker invents.
    pub(crate) async fn user_named(&self, requester: &str, name: &str) -> Result<User, ApiError> {
        if let Some(user) = find_user(&self.database, requester, name).await? {
            return Ok(user);
        }
        // On conflict, a concurrent call has created the same user.
        let id: String = query(
            "INSERT INTO users (id, requester_id, name, created, modified) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = excluded.name RETURNING id",
        )
        .bind(new_id())
        .bind(requester)
        .bind(name)
        .bind(self.now_i64()?)
        .scalar(&self.database)
        .await?
        .ok_or(ApiError::NO_USER)?;
        self.user(requester, &id).await?.ok_or(ApiError::NO_USER)
    }

    /// The user that a call names by `user_id` or by `user_name`. If the call has both, the user with the id is
    /// renamed.
    pub(crate) async fn named_user(&self, call: &AuthenticatedCall) -> Result<User, ApiError> {
        let Some(id) = call.params.get_not_empty(&["user_id"])? else {
            return self.user_named(&call.requester_id, call.params.require(&["user_name"])?).await;
        };
        if let Some(name) = call.params.get_not_empty(&["user_name"])? {
            let renamed = query("UPDATE users SET name = $1, modified = $2 WHERE requester_id = $3 AND id = $4");
            let renamed = renamed.bind(name).bind(self.now_i64()?).bind(&call.requester_id).bind(id);
            match renamed.execute(&self.database).await {
                Ok(0) => return Err(ApiError::NO_USER),
                Ok(_) => {}
                // Another user has this name.
                Err(error) if error.is_unique_violation() => return Err(ApiError::NO_USER),
                Err(error) => return Err(error.into()),
            }
        }
        self.user(&call.requester_id, id).await?.ok_or(ApiError::NO_USER)
    }

    /// Deactivates all pairings of a user, and deletes the recovery codes, which the same thief may have. Then clears
    /// the failures: there is no factor left to guess, and the user must be able to log in with the next pairing.
    pub(crate) async fn reset(&self, user: &str, audit: &mut Audit) -> Result<(), ServerError> {
        let now = self.admin_now()?;
        let deactivate = query(
            "UPDATE pairings SET state = 'deactivated', modified = $1, claim_digest = NULL, sealed_claim = NULL
             WHERE user_id = $2 AND state <> 'deactivated' RETURNING device_id",
        )
        .bind(now)
        .bind(user);
        let delete_codes = query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user);
        let devices = self.transaction_for_user(user, |connection| {
            Box::pin(async {
                let devices = deactivate.rows(&mut *connection).await?;
                delete_codes.execute(connection).await?;
                Ok::<_, SqlError>(devices)
            })
        });
        let devices = devices.await?;
        // After the commit: before it, the user would get more attempts at the old factors. If it fails, no factor is
        // left, and the reset can be repeated.
        let unlocked = self.verifier.unlock(&UserId::new(user)?).await;
        audit.settle(match unlocked {
            Ok(()) => Outcome::Reset,
            Err(_) => Outcome::Unavailable(Some("not_unlocked")),
        });
        for device in &devices {
            let device: Option<String> = device.get("device_id")?;
            self.notify(device.as_deref()).await;
        }
        unlocked.map_err(|error| ServerError::not_unlocked(&error))
    }
}

pub(crate) async fn create(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.user_named(&call.requester_id, call.params.require(NAME)?).await?.json()))
}

pub(crate) async fn find(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let name = call.params.get_not_empty(NAME)?;
    let text = format!(
        "SELECT {USER_COLUMNS} FROM users u WHERE u.requester_id = $1 AND ($2 IS NULL OR u.name = $2)
         ORDER BY u.name LIMIT 1000"
    );
    let users: Vec<User> = query(text).bind(&call.requester_id).bind(name).all(&server.database).await?;
    Ok(Json(users.iter().map(User::json).collect()))
}

pub(crate) async fn status(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.user(&call.requester_id, &id).await?.ok_or(ApiError::NO_USER)?.json()))
}

/// Enables or disables a user. The two protocol versions have opposite parameters for it.
pub(crate) async fn update(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let enabled = call.params.flag(&["toopher_authentication_enabled"])?;
    let disabled = call.params.flag(&["disable_toopher_auth"])?;
    let enabled = match (enabled, disabled) {
        (Some(enabled), Some(disabled)) if enabled == disabled => {
            return Err(ApiError::bad_request("The parameters both enable and disable the user."));
        }
        (enabled, disabled) => enabled.or(disabled.map(|disabled| !disabled)),
    };
    let mut audit = call.audit(Audit::for_user().decided_by("site"));
    let updated = async {
        let updated = query(
            "UPDATE users SET enabled = coalesce($1, enabled), modified = $2 WHERE requester_id = $3 AND id = $4
             RETURNING name",
        );
        let updated = updated.bind(enabled).bind(server.now_i64()?).bind(&call.requester_id).bind(&id);
        audit.user = Some(updated.scalar(&server.database).await?.ok_or(ApiError::NO_USER)?);
        audit.settle(enabled.map(Outcome::from_enabled));
        // The requests of a disabled user are not pending on the phones.
        let devices = query("SELECT device_id FROM pairings WHERE user_id = $1 AND state = 'enabled'").bind(&id);
        for device in devices.rows(&server.database).await? {
            server.notify(device.get::<Option<String>>("device_id")?.as_deref()).await;
        }
        Ok(Json(server.user(&call.requester_id, &id).await?.ok_or(ApiError::NO_USER)?.json()))
    };
    let updated = updated.await;
    audit.close(updated)
}

/// Deactivates all pairings, so that the user must pair again.
pub(crate) async fn reset(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let name = call.params.require(NAME)?;
    let mut audit = call.audit(Audit::for_user().decided_by("site"));
    let reset = async {
        let id: Option<String> = query("SELECT id FROM users WHERE requester_id = $1 AND name = $2")
            .bind(&call.requester_id)
            .bind(name)
            .scalar(&server.database)
            .await?;
        let id = id.ok_or(ApiError::NO_USER)?;
        audit.user = Some(name.to_owned());
        server.reset(&id, &mut audit).await.map_err(|error| ApiError::internal(&error))?;
        Ok(Json(json!({})))
    };
    let reset = reset.await;
    audit.close(reset)
}

/// Generates ten recovery codes, which replace the previous ones.
pub(crate) async fn activate_next_otp_list(
    State(server): State<Server>,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let name = call.params.require(&["user_name"])?;
    let create = call.params.flag_or_if_empty(&["create_user_if_needed"], Some(false))?.unwrap_or(false);
    let mut audit = call.audit(Audit::for_user().decided_by("site"));
    let codes = server.new_recovery_codes(&call, name, create, &mut audit).await;
    audit.close(codes)
}

impl Server {
    async fn new_recovery_codes(
        &self,
        call: &AuthenticatedCall,
        name: &str,
        create: bool,
        audit: &mut Audit,
    ) -> Result<Json<Value>, ApiError> {
        let known: Option<String> = query("SELECT id FROM users WHERE requester_id = $1 AND name = $2")
            .bind(&call.requester_id)
            .bind(name)
            .scalar(&self.database)
            .await?;
        let id = match known {
            Some(id) => id,
            None if create => self.user_named(&call.requester_id, name).await?.user_id,
            None => return Err(ApiError::NO_USER),
        };
        audit.user = Some(name.to_owned());
        let (codes, statements) = new_recovery_codes(&id, None)?;
        self.execute_for_user(&id, statements).await?;
        audit.settle(Outcome::NewRecoveryCodes);
        Ok(Json(json!({ "otp_list": codes.lines().collect::<Vec<_>>() })))
    }
}
