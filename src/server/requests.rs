//! Authentication requests: the question to a person, or to a one-time password.

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use sqlx::Row;

use super::error::ApiError;
use super::guard::OtpCheck;
use super::id::Id;
use super::objects::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS};
use super::signed::Signed;
use super::{REQUEST_LIFETIME, Server, new_id, terminals};

/// How many requests of one user wait at once: more is not a person who logs in.
const MAX_WAITING: i64 = 5;
/// How many are made for one user within ten minutes, whatever became of them: a phone that keeps asking wears its
/// owner out.
const MAX_RECENT: i64 = 30;
const RECENT: i64 = 600;

/// What is known of a request before it is made.
struct New<'a> {
    user: &'a str,
    pairing: Option<&'a str>,
    terminal: &'a str,
    discriminator: &'a str,
    action: &'a str,
    state: &'static str,
    automated: bool,
    totp_valid: bool,
    reason: &'a str,
    automation_allowed: bool,
    challenge_required: bool,
}

impl Server {
    pub(super) async fn request(&self, requester: &str, id: &str) -> Result<Option<RequestRow>, ApiError> {
        let query = format!(
            "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS} FROM requests r
             JOIN users u ON u.id = r.user_id JOIN terminals t ON t.id = r.terminal_id
             JOIN actions a ON a.id = r.action_id WHERE u.requester_id = ?2 AND r.id = ?3"
        );
        let row = sqlx::query_as(&query).bind(self.now_i64()?).bind(requester).bind(id);
        Ok(row.fetch_optional(self.pool()).await?)
    }

    async fn answer_request(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        Ok(Json(self.request(requester, id).await?.ok_or(ApiError::NOT_FOUND)?.json()))
    }

    /// Makes a request, in one statement that counts those that there are.
    async fn new_request(&self, new: New<'_>) -> Result<String, ApiError> {
        let (id, now) = (new_id(), self.now_i64()?);
        let made = sqlx::query(
            "INSERT INTO requests (id, user_id, pairing_id, terminal_id, action_id, state, automated, totp_valid, reason,
                automation_allowed, challenge_required, expires, created, modified, discriminator)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14
             WHERE ?6 <> 'pending' OR (
                (SELECT count(*) FROM requests WHERE user_id = ?2 AND state = 'pending' AND expires > ?13) < ?15
                AND (SELECT count(*) FROM requests WHERE user_id = ?2 AND created > ?16) < ?17)",
        )
        .bind(&id)
        .bind(new.user)
        .bind(new.pairing)
        .bind(new.terminal)
        .bind(new.action)
        .bind(new.state)
        .bind(new.automated)
        .bind(new.totp_valid)
        .bind(new.reason)
        .bind(new.automation_allowed)
        .bind(new.challenge_required)
        .bind(now.saturating_add(REQUEST_LIFETIME.cast_signed()))
        .bind(now)
        .bind(new.discriminator)
        .bind(MAX_WAITING)
        .bind(now.saturating_sub(RECENT))
        .bind(MAX_RECENT)
        .execute(self.pool())
        .await?
        .rows_affected();
        if made == 0 {
            return Err(ApiError::too_many(Some(std::time::Duration::from_secs(REQUEST_LIFETIME))));
        }
        Ok(id)
    }

    async fn action_named(&self, requester: &str, name: &str) -> Result<String, ApiError> {
        let id = sqlx::query_scalar(
            "INSERT INTO actions (id, requester_id, name, created) VALUES (?, ?, ?, ?)
             ON CONFLICT (requester_id, name) DO UPDATE SET name = name RETURNING id",
        );
        let id = id.bind(new_id()).bind(requester).bind(name).bind(self.now_i64()?);
        id.fetch_all(self.pool()).await?.pop().ok_or(ApiError::NOT_FOUND)
    }

    /// What a rule of the user's phone answers by itself.
    async fn automation(&self, pairing: &str, terminal: &str, action: &str) -> Result<Option<bool>, ApiError> {
        let rule = sqlx::query_scalar(
            "SELECT m.allow FROM automations m JOIN terminals t ON t.id = m.terminal_id
             WHERE m.pairing_id = ? AND m.terminal_id = ? AND m.action_id = ? AND t.discriminator <> ''
                AND m.terminal_name = t.name",
        );
        Ok(rule.bind(pairing).bind(terminal).bind(action).fetch_optional(self.pool()).await?)
    }

    /// Decides a request that still waits, in one statement: of two answers the first stands. Says whether this is it.
    pub(super) async fn decide(
        &self,
        id: &str,
        state: &'static str,
        totp_valid: bool,
        reason: &str,
    ) -> Result<bool, ApiError> {
        let now = self.now_i64()?;
        let decided = sqlx::query(
            "UPDATE requests SET state = ?1, totp_valid = ?2, reason = ?3, modified = ?4
             WHERE id = ?5 AND state = 'pending' AND expires > ?4 AND (?1 <> 'granted' OR pairing_id IN
                (SELECT p.id FROM pairings p JOIN users u ON u.id = p.user_id WHERE p.state = 'enabled' AND u.enabled))",
        );
        let decided = decided.bind(state).bind(totp_valid).bind(reason).bind(now).bind(id);
        Ok(decided.execute(self.pool()).await?.rows_affected() > 0)
    }

    /// The pairing that a call is about: named by its id, or the user's.
    async fn subject(&self, call: &Signed) -> Result<Subject, ApiError> {
        if let Some(id) = call.params.get(&["pairing_id"])? {
            let pairing = self.pairing(&call.requester_id, id).await?.ok_or(ApiError::NO_PAIRING)?;
            // Two names for whom it is about must agree: the site may go by either.
            if call.params.get(&["user_name"])?.is_some_and(|name| name != pairing.user.name()) {
                return Err(ApiError::bad_request("The pairing is not that user's."));
            }
            if !pairing.user.user_enabled {
                return Err(ApiError::USER_DISABLED);
            }
            return match pairing.pairing_state.as_str() {
                "enabled" => Ok(Subject {
                    user: pairing.user.user_id,
                    named: false,
                    pairing: id.to_owned(),
                    device: pairing.device_id,
                }),
                "deactivated" => Err(ApiError::DEACTIVATED),
                _ => Err(ApiError::NOT_AUTHORIZED),
            };
        }
        let name = call.params.require(&["user_name"])?;
        let user = self.user_named(&call.requester_id, name).await?;
        if !user.user_enabled {
            return Err(ApiError::USER_DISABLED);
        }
        let rows = sqlx::query("SELECT id, device_id, state FROM pairings WHERE user_id = ? ORDER BY created DESC, id")
            .bind(&user.user_id)
            .fetch_all(self.pool())
            .await?;
        let (mut enabled, mut deactivated) = (None, false);
        for row in &rows {
            match row.try_get::<&str, _>("state")? {
                "enabled" if enabled.is_none() => enabled = Some((row.try_get("id")?, row.try_get("device_id")?)),
                "deactivated" => deactivated = true,
                _ => {}
            }
        }
        match enabled {
            Some((pairing, device)) => Ok(Subject { user: user.user_id, named: true, pairing, device }),
            None if deactivated => Err(ApiError::DEACTIVATED),
            None => Err(ApiError::NO_USER),
        }
    }
}

/// A question to a person's phone.
pub(super) struct Ask<'a> {
    pub(super) requester: &'a str,
    pub(super) user: &'a str,
    pub(super) pairing: &'a str,
    pub(super) device: Option<&'a str>,
    pub(super) terminal_name: &'a str,
    pub(super) discriminator: &'a str,
    pub(super) action: &'a str,
    pub(super) automation_allowed: bool,
    pub(super) challenge_required: bool,
}

impl Server {
    /// Makes a request that waits for the phone, or is answered by what was automated on it. Returns its id.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<String, ApiError> {
        self.refuse_if_locked(ask.user).await?;
        let terminal = self.terminal_of(ask.user, ask.terminal_name, ask.discriminator).await?;
        let action = self.action_named(ask.requester, ask.action).await?;
        let mut new = New {
            user: ask.user,
            pairing: Some(ask.pairing),
            terminal: &terminal,
            discriminator: ask.discriminator,
            action: &action,
            state: "pending",
            automated: false,
            totp_valid: false,
            reason: "",
            automation_allowed: ask.automation_allowed,
            challenge_required: ask.challenge_required,
        };
        if ask.automation_allowed
            && !ask.challenge_required
            && let Some(allow) = self.automation(ask.pairing, &terminal, &action).await?
        {
            (new.state, new.automated) = (if allow { "granted" } else { "denied" }, true);
            return self.new_request(new).await;
        }
        let id = self.new_request(new).await?;
        self.notify(ask.device);
        Ok(id)
    }
}

/// Whom a request is for.
struct Subject {
    user: String,
    /// By name, and not by the id of a pairing.
    named: bool,
    /// The newest that is enabled, where the user was named.
    pairing: String,
    device: Option<String>,
}

pub(super) async fn initiate(State(server): State<Server>, call: Signed) -> Result<Json<Value>, ApiError> {
    let params = &call.params;
    let subject = server.subject(&call).await?;
    let user = subject.user.as_str();
    let otp = params.get(&["otp"])?;
    let named = match params.get(&["terminal_id"])? {
        None => None,
        Some(id) => Some(server.terminal_of_user(user, id).await?.ok_or(ApiError::NO_TERMINAL)?),
    };
    let (name, discriminator) = named.unwrap_or_default();
    let name = params.get(&["terminal_name"])?.unwrap_or(&name);
    let discriminator = params.get(terminals::DISCRIMINATOR)?.unwrap_or(&discriminator);
    let known = discriminator.is_empty() || server.knows_terminal(user, discriminator).await?;
    // A site that names its users asks them to name a terminal that is new; an OTP needs none.
    if !known && subject.named && otp.is_none() && name.is_empty() {
        return Err(ApiError::NO_TERMINAL);
    }
    let action = params.get(&["action_name", "action"])?.unwrap_or("log in");
    let automation_allowed = params.flag(&["automation_allowed"])?.unwrap_or(true);
    let challenge_required = params.flag(&["challenge_required"])?.unwrap_or(false);

    if let Some(otp) = otp {
        // Where a user was named, any phone of theirs will do.
        let pairing = (!subject.named).then_some(subject.pairing.as_str());
        let (state, totp_valid, reason) = match server.check_otp(user, pairing, otp).await? {
            OtpCheck::Right => ("granted", true, ""),
            OtpCheck::Wrong(reason) => ("denied", false, reason),
        };
        let terminal = server.terminal_of(user, name, discriminator).await?;
        let action = server.action_named(&call.requester_id, action).await?;
        let new = New {
            user,
            pairing: Some(&subject.pairing),
            terminal: &terminal,
            discriminator,
            action: &action,
            state,
            automated: false,
            totp_valid,
            reason,
            automation_allowed,
            challenge_required,
        };
        let id = server.new_request(new).await?;
        return server.answer_request(&call.requester_id, &id).await;
    }

    let ask = Ask {
        requester: &call.requester_id,
        user,
        pairing: &subject.pairing,
        device: subject.device.as_deref(),
        terminal_name: name,
        discriminator,
        action,
        automation_allowed,
        challenge_required,
    };
    let id = server.ask(&ask).await?;
    server.answer_request(&call.requester_id, &id).await
}

pub(super) async fn status(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    server.answer_request(&call.requester_id, &id).await
}

/// Answers a request that waits by an OTP. A wrong one leaves it waiting: the phone, or another OTP, can still answer.
pub(super) async fn otp_auth(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NOT_FOUND)?;
    let otp = call.params.require(&["otp"])?;
    // What is decided is not asked again, and no code is spent on it.
    if request.request_state != "pending" {
        return Ok(Json(request.json()));
    }
    let pairing = request.request_pairing_id.as_deref();
    match server.check_otp(request.terminal.user_id(), pairing, otp).await? {
        OtpCheck::Right => {
            server.decide(&id, "granted", true, "").await?;
            server.notify_pairing(pairing).await?;
            server.answer_request(&call.requester_id, &id).await
        }
        OtpCheck::Wrong(reason) => {
            let mut answer = server.answer_request(&call.requester_id, &id).await?;
            answer["reason"] = reason.into();
            Ok(answer)
        }
    }
}

pub(super) async fn cancel(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NOT_FOUND)?;
    if server.decide(&id, "cancelled", false, "The request was cancelled.").await? {
        server.notify_pairing(request.request_pairing_id.as_deref()).await?;
    }
    server.answer_request(&call.requester_id, &id).await
}
