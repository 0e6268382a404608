//! Authentication requests: the question to a person, or to a one-time password.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::ask::{Ask, New};
use super::audit::{Audit, Outcome};
use super::error::ApiError;
use super::guard::OtpCheck;
use super::id::Id;
use super::objects::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS};
use super::signed::Signed;
use super::{Server, terminals};
use crate::store::query;

impl Server {
    pub(super) async fn request(&self, requester: &str, id: &str) -> Result<Option<RequestRow>, ApiError> {
        let text = format!(
            "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS} FROM requests r
             JOIN users u ON u.id = r.user_id JOIN terminals t ON t.id = r.terminal_id
             JOIN actions a ON a.id = r.action_id WHERE u.requester_id = $2 AND r.id = $3"
        );
        let row = query(text).bind(self.now_i64()?).bind(requester).bind(id);
        Ok(row.one(&self.database).await?)
    }

    async fn answer_request(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        Ok(Json(self.request(requester, id).await?.ok_or(ApiError::NOT_FOUND)?.json()))
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
        let decided = query(
            "UPDATE requests SET state = $1, totp_valid = $2, reason = $3, modified = $4
             WHERE id = $5 AND state = 'pending' AND expires > $4 AND ($1 <> 'granted' OR pairing_id IN
                (SELECT p.id FROM pairings p JOIN users u ON u.id = p.user_id WHERE p.state = 'enabled' AND u.enabled))",
        );
        let decided = decided.bind(state).bind(totp_valid).bind(reason).bind(now).bind(id);
        Ok(decided.execute(&self.database).await? > 0)
    }

    /// Has an OTP answer a request that waits. A wrong one leaves it waiting: the phone, or another OTP, can still
    /// answer.
    pub(super) async fn answer_by_otp(
        &self,
        request: &RequestRow,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<OtpCheck, ApiError> {
        let pairing = request.request_pairing_id.as_deref();
        let check = self.check_otp(request.terminal.user_id(), pairing, otp, audit).await?;
        if let OtpCheck::Right(factor) = check {
            let first = self.decide(&request.request_id, "granted", true, "").await?;
            audit.settle(if first { Outcome::Granted(factor.name()) } else { Outcome::Denied("not_waiting") });
            self.notify_pairing(pairing).await?;
        }
        Ok(check)
    }

    /// The pairing that a call is about: named by its id, or the user's.
    async fn subject(&self, call: &Signed, audit: &mut Audit) -> Result<Subject, ApiError> {
        if let Some(id) = call.params.get(&["pairing_id"])? {
            let pairing = self.pairing(&call.requester_id, id).await?.ok_or(ApiError::NO_PAIRING)?;
            audit.user = Some(pairing.user.name().to_owned());
            audit.pairing = Some(id.to_owned());
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
        audit.user = Some(user.name().to_owned());
        if !user.user_enabled {
            return Err(ApiError::USER_DISABLED);
        }
        let rows = query("SELECT id, device_id, state FROM pairings WHERE user_id = $1 ORDER BY created DESC, id")
            .bind(&user.user_id)
            .rows(&self.database)
            .await?;
        let (mut enabled, mut deactivated) = (None, false);
        for row in &rows {
            match row.get::<String>("state")?.as_str() {
                "enabled" if enabled.is_none() => enabled = Some((row.get("id")?, row.get("device_id")?)),
                "deactivated" => deactivated = true,
                _ => {}
            }
        }
        match enabled {
            Some((pairing, device)) => Ok(Subject { user: user.user_id, named: true, pairing, device }),
            None if deactivated => Err(ApiError::DEACTIVATED),
            None => Err(ApiError::NO_USER.because("not_enrolled")),
        }
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
    let mut audit = call.audit(Audit::of_request());
    let answer = begin(&server, &call, &mut audit).await;
    audit.close(answer)
}

async fn begin(server: &Server, call: &Signed, audit: &mut Audit) -> Result<Json<Value>, ApiError> {
    let params = &call.params;
    let subject = server.subject(call, audit).await?;
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
    let number_matching = params.flag(&["number_matching"])?.unwrap_or(false);

    if let Some(otp) = otp {
        // Where a user was named, any phone of theirs will do.
        let pairing = (!subject.named).then_some(subject.pairing.as_str());
        audit.by = Some("otp");
        audit.action = Some(action.to_owned());
        audit.terminal = Some(name.to_owned());
        let (state, factor, reason) = match server.check_otp(user, pairing, otp, audit).await? {
            OtpCheck::Right(factor) => ("granted", Some(factor), ""),
            OtpCheck::Wrong(reason) => ("denied", None, reason),
        };
        let (terminal, name) = server.terminal_of(user, name, discriminator).await?;
        audit.terminal = Some(name);
        let action = server.action_named(&call.requester_id, action).await?;
        let new = New {
            user,
            pairing: Some(&subject.pairing),
            terminal: &terminal,
            discriminator,
            action: &action,
            state,
            automated: false,
            totp_valid: factor.is_some(),
            reason,
            automation_allowed,
            challenge_required,
            number: None,
        };
        let id = server.new_request(new).await?;
        audit.approval = Some(id.clone());
        if let Some(factor) = factor {
            audit.settle(Outcome::Granted(factor.name()));
        }
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
        number_matching,
    };
    let id = server.ask(&ask, audit).await?;
    server.answer_request(&call.requester_id, &id).await
}

pub(super) async fn status(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    server.answer_request(&call.requester_id, &id).await
}

pub(super) async fn otp_auth(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::of_request().by("otp"));
    let answer = async {
        let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NO_APPROVAL)?;
        request.note(&mut audit);
        let otp = call.params.require(&["otp"])?;
        // What is decided is not asked again, and no code is spent on it.
        if request.request_state != "pending" {
            audit.settle(Outcome::Nothing);
            return Ok(Json(request.json()));
        }
        let check = server.answer_by_otp(&request, otp, &mut audit).await?;
        let mut answer = server.answer_request(&call.requester_id, &id).await?;
        if let OtpCheck::Wrong(reason) = check {
            answer["reason"] = reason.into();
        }
        Ok(answer)
    };
    let answer = answer.await;
    audit.close(answer)
}

pub(super) async fn cancel(State(server): State<Server>, Id(id): Id, call: Signed) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::of_request().by("site"));
    let answer = async {
        let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NO_APPROVAL)?;
        request.note(&mut audit);
        let first = server.decide(&id, "cancelled", false, "The request was cancelled.").await?;
        audit.settle(if first { Outcome::Cancelled } else { Outcome::Nothing });
        if first {
            server.notify_pairing(request.request_pairing_id.as_deref()).await?;
        }
        server.answer_request(&call.requester_id, &id).await
    };
    let answer = answer.await;
    audit.close(answer)
}
