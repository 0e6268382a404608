//! Calls about terminals: the browsers and computers that users log in from.

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use toopher_sql::{Connection, query};

use crate::api_error::ApiError;
use crate::authenticate::AuthenticatedCall;
use crate::id::{Id, new_id};
use crate::models::{TERMINAL_COLUMNS, TerminalRow, USER_COLUMNS};
use crate::state::Server;

/// The names under which clients send the discriminator of a terminal.
pub(crate) const DISCRIMINATOR: &[&str] =
    &["name_extra", "requester_specified_id", "terminal_name_extra", "requester_specified_terminal_id"];

impl Server {
    async fn terminal(&self, requester: &str, id: &str) -> Result<Option<TerminalRow>, ApiError> {
        let text = format!(
            "SELECT {TERMINAL_COLUMNS}, {USER_COLUMNS} FROM terminals t JOIN users u ON u.id = t.user_id
             WHERE u.requester_id = $1 AND t.id = $2"
        );
        Ok(query(text).bind(requester).bind(id).one(&self.database).await?)
    }

    /// The name and the discriminator of the user's terminal with this id.
    pub(crate) async fn terminal_of_user(&self, user: &str, id: &str) -> Result<Option<(String, String)>, ApiError> {
        let terminal = query("SELECT name, discriminator FROM terminals WHERE user_id = $1 AND id = $2");
        Ok(terminal.bind(user).bind(id).one(&self.database).await?)
    }

    pub(crate) async fn knows_terminal(&self, user: &str, discriminator: &str) -> Result<bool, ApiError> {
        let known: Option<String> =
            query("SELECT id FROM terminals WHERE user_id = $1 AND discriminator = $2 AND name <> ''")
                .bind(user)
                .bind(discriminator)
                .scalar(&self.database)
                .await?;
        Ok(known.is_some())
    }
}

/// The id of the user's terminal with this discriminator, or with this name if the discriminator is empty. The terminal
/// is created if there is none, and renamed if it has another name.
pub(crate) async fn terminal_of(
    connection: &mut Connection,
    user: &str,
    name: &str,
    discriminator: &str,
    now: i64,
) -> Result<String, ApiError> {
    let known = query(
        "SELECT id, name FROM terminals
         WHERE user_id = $1 AND discriminator = $2 AND (discriminator <> '' OR name = $3)",
    );
    let known = known.bind(user).bind(discriminator).bind(name).one::<(String, String)>(&mut *connection).await?;
    if let Some((id, known)) = known
        && (name.is_empty() || name == known)
    {
        return Ok(id);
    }
    let target = if discriminator.is_empty() {
        "(user_id, name) WHERE discriminator = ''"
    } else {
        "(user_id, discriminator) WHERE discriminator <> ''"
    };
    let text = format!(
        "INSERT INTO terminals (id, user_id, name, discriminator, created, modified) VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT {target} DO UPDATE SET name = excluded.name, modified = excluded.modified RETURNING id"
    );
    let id = query(text).bind(new_id()).bind(user).bind(name).bind(discriminator).bind(now);
    id.scalar(connection).await?.ok_or(ApiError::NO_TERMINAL)
}

/// Gives the user's terminal with this id another name.
pub(crate) async fn rename_terminal(
    connection: &mut Connection,
    user: &str,
    id: &str,
    name: &str,
    now: i64,
) -> Result<(), ApiError> {
    let renamed = query("UPDATE terminals SET name = $1, modified = $2 WHERE user_id = $3 AND id = $4 AND name <> $1");
    match renamed.bind(name).bind(now).bind(user).bind(id).execute(connection).await {
        // Terminals without a discriminator are distinguished by their names.
        Err(error) if error.is_unique_violation() => {
            Err(ApiError::bad_request("Another terminal of this user has this name."))
        }
        renamed => Ok(renamed.map(drop)?),
    }
}

/// The terminal that [`terminal_of`] returns, if there is one.
pub(crate) async fn find_terminal(
    connection: &mut Connection,
    user: &str,
    name: &str,
    discriminator: &str,
) -> Result<Option<TerminalRow>, ApiError> {
    let text = format!(
        "SELECT {TERMINAL_COLUMNS}, {USER_COLUMNS} FROM terminals t JOIN users u ON u.id = t.user_id
         WHERE t.user_id = $1 AND t.discriminator = $2 AND (t.discriminator <> '' OR t.name = $3)"
    );
    Ok(query(text).bind(user).bind(discriminator).bind(name).one(connection).await?)
}

pub(crate) async fn create(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let name = call.params.require(&["name", "terminal_name"])?;
    let discriminator = call.params.get(DISCRIMINATOR)?.unwrap_or_default();
    let user = server.user_named(&call.requester_id, call.params.require(&["user_name"])?).await?;
    let (user, name, discriminator) = (user.user_id, name.to_owned(), discriminator.to_owned());
    let (owner, now) = (user.clone(), server.now_i64()?);
    let id = server.transaction_for_user(&user, move |connection| {
        Box::pin(async move { terminal_of(connection, &owner, &name, &discriminator, now).await })
    });
    let id = id.await?;
    Ok(Json(server.terminal(&call.requester_id, &id).await?.ok_or(ApiError::NO_TERMINAL)?.json()))
}

pub(crate) async fn status(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.terminal(&call.requester_id, &id).await?.ok_or(ApiError::NO_TERMINAL)?.json()))
}

/// Changes the discriminator of a terminal, which deletes its rules.
pub(crate) async fn update(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let terminal = server.terminal(&call.requester_id, &id).await?.ok_or(ApiError::NO_TERMINAL)?;
    let Some(discriminator) = call.params.get(DISCRIMINATOR)? else { return Ok(Json(terminal.json())) };
    let delete_rules = query("DELETE FROM automations WHERE terminal_id = $1").bind(&id);
    // Another terminal with this discriminator gets a unique one.
    let replace = query(
        "UPDATE terminals SET discriminator = 'replaced ' || id WHERE discriminator = $1 AND id <> $2
            AND user_id = (SELECT user_id FROM terminals WHERE id = $2)",
    )
    .bind(discriminator)
    .bind(&id);
    let update = query("UPDATE terminals SET discriminator = $1, modified = $2 WHERE id = $3")
        .bind(discriminator)
        .bind(server.now_i64()?)
        .bind(&id);
    server.execute_for_user(terminal.user_id(), vec![delete_rules, replace, update]).await?;
    Ok(Json(server.terminal(&call.requester_id, &id).await?.ok_or(ApiError::NO_TERMINAL)?.json()))
}
