//! The pending requests of a phone, and its answers.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use toopher_sql::{Row, SqlError, query};
use tower_toopher::Factor;

use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::audit::{Audit, Outcome};
use crate::body::JsonBody;
use crate::id::{Id, new_id};
use crate::models::{Device, REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS, WRONG_NUMBER};
use crate::state::Server;

/// True for an answer that allows a request with a wrong number. A missing number is wrong.
const IS_WRONG_NUMBER: &str = "($1 = 'granted' AND number IS NOT NULL AND number IS DISTINCT FROM $6)";

/// The pending requests of this device, the newest one first.
pub(super) async fn requests(State(server): State<Server>, device: Device) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.pending(&device, None).await?.iter().map(|(row, [name, _])| row.for_phone(name)).collect()))
}

impl Server {
    /// The pending requests of a device, or the one with this id, each with the name and the key of the requester.
    async fn pending(&self, device: &Device, id: Option<&str>) -> Result<Vec<(RequestRow, [String; 2])>, ApiError> {
        let text = format!(
            "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS}, q.name AS requester, q.consumer_key
             FROM requests r JOIN users u ON u.id = r.user_id JOIN requesters q ON q.id = u.requester_id
             JOIN terminals t ON t.id = r.terminal_id JOIN actions a ON a.id = r.action_id
             JOIN pairings p ON p.id = r.pairing_id
             WHERE p.device_id = $2 AND p.state = 'enabled' AND u.enabled AND r.state = 'pending' AND r.expires > $1
                AND ($3 IS NULL OR r.id = $3) ORDER BY r.created DESC, r.id LIMIT 100"
        );
        let rows = query(text).bind(self.now_i64()?).bind(&device.id).bind(id).rows(&self.database).await?;
        let read = |row: &Row| Ok::<_, SqlError>((row.read()?, [row.get("requester")?, row.get("consumer_key")?]));
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn answer(&self, device: &Device, id: &str, allow: bool, answer: Answer) -> Result<Json<Value>, ApiError> {
        let mut audit = Audit::for_request().decided_by("phone");
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
        let (request, [_, requester]) = self.pending(device, Some(id)).await?.pop().ok_or(ApiError::DECIDED)?;
        request.describe(audit);
        audit.requester = Some(requester);
        let mut number = None;
        if allow {
            self.reject_if_locked(request.terminal.user_id()).await?;
            // Text that is not a number of two digits does not count as a guess: the request stays pending.
            number = answer.number.filter(|number| number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit()));
            if request.number().is_some() && number.is_none() {
                return Err(ApiError::bad_request("Send the number of two digits that the site shows, as \"number\"."));
            }
        }
        let limits = if request.number().is_some() && allow {
            request.request_pairing_id.as_deref().map(Limit::on_numbers)
        } else {
            None
        };
        let limits = limits.as_ref().map_or(&[][..], |limits| &limits[..]);
        self.count_attempt(limits).await?;
        let state = if allow { "granted" } else { "denied" };
        let reason = if allow { "" } else { "The request was denied on the phone." };
        // The statement that decides also checks the device, the pairing and the number. A wrong number denies the
        // request: with two digits, further guesses would soon succeed.
        let statement = format!(
            "UPDATE requests SET modified = $3, state = CASE WHEN {IS_WRONG_NUMBER} THEN 'denied' ELSE $1 END,
                reason = CASE WHEN {IS_WRONG_NUMBER} THEN '{WRONG_NUMBER}' ELSE $2 END
             WHERE id = $4 AND state = 'pending' AND expires > $3 AND pairing_id IN
                (SELECT p.id FROM pairings p JOIN users u ON u.id = p.user_id
                 WHERE p.device_id = $5 AND p.state = 'enabled' AND u.enabled) RETURNING state, reason"
        );
        let decide = query(statement);
        let decide = decide.bind(state).bind(reason).bind(now).bind(id).bind(&device.id).bind(number);
        // A rule is created if the answer took effect. It needs a terminal with a discriminator, since its name can be
        // guessed, and the discriminator must be the one of the time of the request.
        let automate = query(
            "INSERT INTO automations (id, pairing_id, terminal_id, action_id, terminal_name, allow, created)
             SELECT $1, r.pairing_id, r.terminal_id, r.action_id, t.name, $2, $3 FROM requests r
             JOIN terminals t ON t.id = r.terminal_id WHERE r.id = $4 AND r.automation_allowed
                AND t.discriminator = r.discriminator AND t.discriminator <> ''
             ON CONFLICT (pairing_id, terminal_id, action_id)
                DO UPDATE SET allow = excluded.allow, terminal_name = excluded.terminal_name",
        );
        let automate = answer.automate.then(|| automate.bind(new_id()).bind(allow).bind(now).bind(id));
        // Serialized with changes of the terminal.
        let decided = self.transaction_for_user(request.terminal.user_id(), move |connection| {
            Box::pin(async move {
                let Some((decided, reason)) = decide.one::<(String, String)>(&mut *connection).await? else {
                    return Err(ApiError::DECIDED);
                };
                let automated = match automate {
                    Some(automate) if decided == state => automate.execute(connection).await?,
                    _ => 0,
                };
                Ok((decided, reason, automated))
            })
        });
        let (decided, reason, automated) = match decided.await {
            Ok(decided) => decided,
            Err(error) => {
                self.release_attempt(limits).await;
                return Err(error);
            }
        };
        audit.automates = automated > 0;
        audit.settle(match (decided.as_str(), allow) {
            ("granted", _) => Outcome::Granted(Factor::Push.name()),
            (_, true) => Outcome::Denied("wrong_number"),
            (_, false) => Outcome::Denied("denied_by_user"),
        });
        if decided == "granted" {
            self.release_attempt(limits).await;
        }
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
    /// Whether to create a rule that answers further requests of this user, terminal and action in the same way.
    #[serde(default)]
    automate: bool,
    /// The number that the site shows, if the request has one.
    number: Option<String>,
}

pub(super) async fn allow(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    JsonBody(answer): JsonBody<Answer>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, true, answer).await
}

pub(super) async fn deny(
    State(server): State<Server>,
    Id(id): Id,
    device: Device,
    JsonBody(answer): JsonBody<Answer>,
) -> Result<Json<Value>, ApiError> {
    server.answer(&device, &id, false, answer).await
}
