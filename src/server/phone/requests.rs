//! What waits for a phone, and its answers.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Device, body};
use crate::Factor;
use crate::server::audit::{Audit, Outcome};
use crate::server::error::ApiError;
use crate::server::id::Id;
use crate::server::objects::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS};
use crate::server::{Server, new_id, of_user};
use crate::store::{Row, query};

/// An answer that allows, without the number that it needs. One that is missing is wrong.
const WRONG: &str = "($1 = 'granted' AND number IS NOT NULL AND number IS DISTINCT FROM $6)";

/// What waits for this device.
pub(super) async fn requests(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.waiting(&device, None).await?.iter().map(|(row, [name, _])| row.for_phone(name)).collect()))
}

impl Server {
    /// The requests that wait for a device, or the one of this id, each with the name of the requester and its key.
    async fn waiting(&self, device: &Device, id: Option<&str>) -> Result<Vec<(RequestRow, [String; 2])>, ApiError> {
        let text = format!(
            "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS}, q.name AS requester, q.consumer_key FROM requests r
             JOIN users u ON u.id = r.user_id JOIN requesters q ON q.id = u.requester_id
             JOIN terminals t ON t.id = r.terminal_id JOIN actions a ON a.id = r.action_id
             JOIN pairings p ON p.id = r.pairing_id
             WHERE p.device_id = $2 AND p.state = 'enabled' AND u.enabled AND r.state = 'pending' AND r.expires > $1
                AND ($3 IS NULL OR r.id = $3) ORDER BY r.created, r.id LIMIT 100"
        );
        let rows = query(text).bind(self.now_i64()?).bind(&device.id).bind(id).rows(&self.database).await?;
        let read = |row: &Row| Ok::<_, sqlx::Error>((row.read()?, [row.get("requester")?, row.get("consumer_key")?]));
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn answer(&self, device: &Device, id: &str, allow: bool, answer: Answer) -> Result<Json<Value>, ApiError> {
        let mut audit = Audit::of_request().by("phone");
        let answered = self.answer_once(device, id, allow, answer, &mut audit).await;
        audit.close(answered)
    }

    async fn answer_once(
        &self,
        device: &Device,
        id: &str,
        allow: bool,
        answer: Answer,
        audit: &mut Audit,
    ) -> Result<Json<Value>, ApiError> {
        let now = self.now_i64()?;
        let (request, [_, requester]) = self.waiting(device, Some(id)).await?.pop().ok_or(ApiError::DECIDED)?;
        request.note(audit);
        audit.requester = Some(requester);
        let mut number = None;
        if allow {
            self.refuse_if_locked(request.terminal.user_id()).await?;
            // What cannot be right is no guess, and leaves the request waiting.
            number = answer.number.filter(|number| number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()));
            if request.number().is_some() && number.is_none() {
                return Err(ApiError::bad_request("Send the number of two digits that the site shows, as \"number\"."));
            }
        }
        let state = if allow { "granted" } else { "denied" };
        let reason = if allow { "" } else { "The request was denied on the phone." };
        // A rule must not be made for a terminal that has just become another one.
        let mut transaction = self.database.begin(&of_user(request.terminal.user_id())).await?;
        // Whose it is, that the pairing is still good, and that the number is right, is part of the statement that
        // decides. A wrong number decides, too: guesses at two digits must not go on until one is right.
        let statement = format!(
            "UPDATE requests SET modified = $3, state = CASE WHEN {WRONG} THEN 'denied' ELSE $1 END,
                reason = CASE WHEN {WRONG} THEN 'The number was wrong.' ELSE $2 END
             WHERE id = $4 AND state = 'pending' AND expires > $3 AND pairing_id IN
                (SELECT p.id FROM pairings p JOIN users u ON u.id = p.user_id
                 WHERE p.device_id = $5 AND p.state = 'enabled' AND u.enabled) RETURNING state, reason"
        );
        let decided = query(statement);
        let decided = decided.bind(state).bind(reason).bind(now).bind(id).bind(&device.id).bind(number);
        let Some(decided) = decided.one::<(String, String)>(&mut transaction).await? else {
            transaction.rollback().await?;
            return Err(ApiError::DECIDED);
        };
        let (decided, reason) = decided;
        // A rule is what a person meant to say. Only for a terminal that is told apart by more than its name, which
        // anybody can guess, and only if that is still what it was when the request was made.
        let mut automated = 0;
        if answer.automate && decided == state {
            automated = query(
                "INSERT INTO automations (id, pairing_id, terminal_id, action_id, terminal_name, allow, created)
                 SELECT $1, r.pairing_id, r.terminal_id, r.action_id, t.name, $2, $3 FROM requests r
                 JOIN terminals t ON t.id = r.terminal_id WHERE r.id = $4 AND r.automation_allowed
                    AND t.discriminator = r.discriminator AND t.discriminator <> ''
                 ON CONFLICT (pairing_id, terminal_id, action_id)
                    DO UPDATE SET allow = excluded.allow, terminal_name = excluded.terminal_name",
            )
            .bind(new_id())
            .bind(allow)
            .bind(now)
            .bind(id)
            .execute(&mut transaction)
            .await?;
        }
        transaction.commit().await?;
        audit.automates = automated > 0;
        audit.settle(match (decided.as_str(), allow) {
            ("granted", _) => Outcome::Granted(Factor::Push.name()),
            (_, true) => Outcome::Denied("wrong_number"),
            (_, false) => Outcome::Denied("refused"),
        });
        self.notify(Some(&device.id)).await;
        Ok(Json(json!({
            "id": id,
            "granted": decided == "granted",
            "reason": reason,
            "automated_from_now_on": automated > 0,
        })))
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Answer {
    /// "Automate here": answer the same from now on, for this user, terminal and action.
    #[serde(default)]
    automate: bool,
    /// What the site shows, where it is asked for.
    number: Option<String>,
}

pub(super) async fn allow(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    answer: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, true, body(answer)?).await
}

pub(super) async fn deny(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    answer: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, false, body(answer)?).await
}
