//! The phone's side: a device registers, shows a phrase, and answers what waits for it.
//!
//! All calls but the registration carry the device's token as a bearer token (RFC 6750). A device sees its own pairings
//! and their requests, and nothing else exists for it.

use std::convert::Infallible;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::BASE32_NOPAD;
use futures_util::{Stream, StreamExt, stream};
use http::header;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::Row;
use tokio::sync::broadcast::error::RecvError;

use super::error::ApiError;
use super::id::Id;
use super::objects::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS};
use super::pairings::{digest, token};
use super::{Server, new_id, phrases};

/// How many phones are registered at the most without being paired; they are removed after a day.
const MAX_UNPAIRED: i64 = 10_000;
/// How many phrases a phone gets in a day.
const MAX_PHRASES: i64 = 100;
/// How long a phrase can be used.
const PHRASE_LIFETIME: i64 = 300;
/// How long a pairing waits to be allowed.
const PAIRING_LIFETIME: i64 = 600;
const MAX_DEVICE_NAME: usize = 200;

pub(super) fn router() -> Router<Server> {
    Router::new()
        .route("/devices", post(register))
        .route("/phrases", post(new_phrase))
        .route("/claims", post(claim))
        .route("/pairings", get(pairings))
        .route("/pairings/{id}/allow", post(allow_pairing))
        .route("/pairings/{id}/deny", post(deny_pairing))
        .route("/pairings/{id}/remove", post(remove_pairing))
        .route("/requests", get(requests))
        .route("/requests/{id}/allow", post(allow))
        .route("/requests/{id}/deny", post(deny))
        .route("/automations", get(automations))
        .route("/automations/{id}/remove", post(remove_automation))
        .route("/events", get(events))
}

/// The device that calls.
struct Device {
    id: String,
}

impl FromRequestParts<Server> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, ApiError> {
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return Err(ApiError::NO_DEVICE) };
        let token = header.to_str().ok().and_then(|text| text.split_once(' '));
        let Some((scheme, token)) = token else { return Err(ApiError::NO_DEVICE) };
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(ApiError::NO_DEVICE);
        }
        let id = sqlx::query_scalar("SELECT id FROM devices WHERE token_digest = ?")
            .bind(digest(token.trim()))
            .fetch_optional(server.pool())
            .await?;
        id.map(|id| Self { id }).ok_or(ApiError::NO_DEVICE)
    }
}

impl Server {
    pub(super) async fn notify_pairing(&self, pairing: Option<&str>) -> Result<(), ApiError> {
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

fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    body.map(|Json(body)| body).map_err(|_| ApiError::bad_request("Send a JSON object with the members of this call."))
}

#[derive(Deserialize)]
struct Registration {
    name: String,
}

/// The answer holds the token, which is shown once.
async fn register(
    State(server): State<Server>,
    registration: Result<Json<Registration>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let name = body(registration)?.name;
    if name.trim().is_empty() || name.len() > MAX_DEVICE_NAME {
        return Err(ApiError::bad_request("The name of a device has 1 to 200 bytes."));
    }
    let (id, token) = (new_id(), token()?);
    // Anybody may register, so what that takes is bounded.
    let registered = sqlx::query(
        "INSERT INTO devices (id, name, token_digest, created) SELECT ?, ?, ?, ? WHERE
            (SELECT count(*) FROM devices WHERE id NOT IN
                (SELECT device_id FROM pairings WHERE device_id IS NOT NULL)) < ?",
    )
    .bind(&id)
    .bind(&name)
    .bind(digest(&token))
    .bind(server.now_i64()?)
    .bind(MAX_UNPAIRED)
    .execute(server.pool())
    .await?
    .rows_affected();
    if registered == 0 {
        return Err(ApiError::too_many(None));
    }
    Ok(Json(json!({ "id": id, "name": name, "token": token })))
}

/// A new phrase, in place of the device's last.
async fn new_phrase(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    let now = server.now_i64()?;
    let expires = now.saturating_add(PHRASE_LIFETIME);
    sqlx::query("UPDATE phrases SET expires = ?1 WHERE device_id = ?2 AND expires > ?1")
        .bind(now)
        .bind(&device.id)
        .execute(server.pool())
        .await?;
    for _ in 0..20 {
        let phrase = phrases::deal()?;
        // One that another phone has shown within a day is taken: a person may still have it in mind.
        let taken = sqlx::query(
            "INSERT OR IGNORE INTO phrases (phrase, device_id, expires)
             SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM phrases WHERE device_id = ?2) < ?4",
        );
        let taken = taken.bind(&phrase).bind(&device.id).bind(expires).bind(MAX_PHRASES);
        if taken.execute(server.pool()).await?.rows_affected() > 0 {
            return Ok(Json(json!({ "phrase": phrase, "expires": expires })));
        }
    }
    Err(ApiError::too_many(None))
}

#[derive(Deserialize)]
struct Claim {
    claim: String,
}

/// Takes a pairing whose QR code this phone has scanned. It then waits to be allowed like any other.
async fn claim(
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

async fn pairings(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
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
async fn allow_pairing(State(server): State<Server>, Id(id): Id, device: Device) -> Result<Json<Value>, ApiError> {
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

async fn deny_pairing(State(server): State<Server>, Id(id): Id, device: Device) -> Result<Json<Value>, ApiError> {
    let denied = server.move_pairing(&device, &id, "pending", "refused").await?;
    if denied { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}

async fn remove_pairing(State(server): State<Server>, Id(id): Id, device: Device) -> Result<Json<Value>, ApiError> {
    let removed = server.move_pairing(&device, &id, "any", "deactivated").await?;
    if removed { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}

/// What waits for this device.
async fn requests(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.waiting(&device, None).await?.iter().map(|(row, requester)| row.for_phone(requester)).collect()))
}

impl Server {
    /// The requests that wait for a device, or the one of this id.
    async fn waiting(&self, device: &Device, id: Option<&str>) -> Result<Vec<(RequestRow, String)>, ApiError> {
        let query = format!(
            "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS}, q.name AS requester FROM requests r
             JOIN users u ON u.id = r.user_id JOIN requesters q ON q.id = u.requester_id
             JOIN terminals t ON t.id = r.terminal_id JOIN actions a ON a.id = r.action_id
             JOIN pairings p ON p.id = r.pairing_id
             WHERE p.device_id = ?2 AND p.state = 'enabled' AND u.enabled AND r.state = 'pending' AND r.expires > ?1
                AND (?3 IS NULL OR r.id = ?3) ORDER BY r.created, r.id LIMIT 100"
        );
        let rows = sqlx::query(&query).bind(self.now_i64()?).bind(&device.id).bind(id).fetch_all(self.pool()).await?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            Ok::<_, sqlx::Error>((<RequestRow as sqlx::FromRow<'_, _>>::from_row(row)?, row.try_get("requester")?))
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn answer(&self, device: &Device, id: &str, allow: bool, automate: bool) -> Result<Json<Value>, ApiError> {
        let now = self.now_i64()?;
        if allow {
            let user: Option<String> = sqlx::query_scalar("SELECT user_id FROM requests WHERE id = ?")
                .bind(id)
                .fetch_optional(self.pool())
                .await?;
            self.refuse_if_locked(&user.ok_or(ApiError::DECIDED)?).await?;
        }
        let state = if allow { "granted" } else { "denied" };
        let reason = if allow { "" } else { "The request was denied on the phone." };
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await?;
        // Whose it is, and that the pairing is still good, is part of the statement that decides.
        let decided = sqlx::query(
            "UPDATE requests SET state = ?1, reason = ?2, modified = ?3
             WHERE id = ?4 AND state = 'pending' AND expires > ?3 AND pairing_id IN
                (SELECT p.id FROM pairings p JOIN users u ON u.id = p.user_id
                 WHERE p.device_id = ?5 AND p.state = 'enabled' AND u.enabled)",
        );
        let decided = decided.bind(state).bind(reason).bind(now).bind(id).bind(&device.id);
        if decided.execute(&mut *transaction).await?.rows_affected() == 0 {
            return Err(ApiError::DECIDED);
        }
        // Only for a terminal that is told apart by more than its name, which anybody can guess, and only if that is
        // still what it was when the request was made.
        let mut automated = 0;
        if automate {
            automated = sqlx::query(
                "INSERT INTO automations (id, pairing_id, terminal_id, action_id, terminal_name, allow, created)
                 SELECT ?1, r.pairing_id, r.terminal_id, r.action_id, t.name, ?2, ?3 FROM requests r
                 JOIN terminals t ON t.id = r.terminal_id WHERE r.id = ?4 AND r.automation_allowed
                    AND t.discriminator = r.discriminator AND t.discriminator <> ''
                 ON CONFLICT (pairing_id, terminal_id, action_id)
                    DO UPDATE SET allow = excluded.allow, terminal_name = excluded.terminal_name",
            )
            .bind(new_id())
            .bind(allow)
            .bind(now)
            .bind(id)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        }
        transaction.commit().await?;
        self.notify(Some(&device.id));
        Ok(Json(json!({ "id": id, "granted": allow, "automated_from_now_on": automated > 0 })))
    }
}

#[derive(Default, Deserialize)]
struct Answer {
    /// "Automate here": answer the same from now on, for this user, terminal and action.
    #[serde(default)]
    automate: bool,
}

async fn allow(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    answer: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, true, body(answer)?.automate).await
}

async fn deny(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    answer: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, false, body(answer)?.automate).await
}

async fn automations(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
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

async fn remove_automation(State(server): State<Server>, Id(id): Id, device: Device) -> Result<Json<Value>, ApiError> {
    let removed = sqlx::query(
        "DELETE FROM automations WHERE id = ? AND pairing_id IN (SELECT id FROM pairings WHERE device_id = ?)",
    );
    let removed = removed.bind(&id).bind(&device.id).execute(server.pool()).await?.rows_affected();
    if removed > 0 { Ok(Json(json!({}))) } else { Err(ApiError::NOT_FOUND) }
}

/// Says when to look again: server-sent events called `changed`, the first one at once.
async fn events(
    State(server): State<Server>,
    device: Device,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let listener = server.shared.listeners.clone().try_acquire_owned().map_err(|_| ApiError::too_many(None))?;
    let events = server.shared.events.subscribe();
    let changes = stream::unfold((events, device.id, listener), |(mut events, id, listener)| async move {
        loop {
            match events.recv().await {
                Ok(changed) if *changed != *id => {}
                // Having missed some, this may have been among them.
                Ok(_) | Err(RecvError::Lagged(_)) => return Some(((), (events, id, listener))),
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let changes = stream::once(async {}).chain(changes);
    let events = changes.map(|()| Ok(Event::default().event("changed").data("{}")));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}
