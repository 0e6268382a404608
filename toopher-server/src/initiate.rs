//! The call that creates an authentication request, which an OTP answers at once, or the user's phone later.

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use toopher_sql::query;

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::otp::OtpCheck;
use crate::push_request::{NewRequest, PushRequest};
use crate::state::Server;
use crate::terminals::DISCRIMINATOR;

impl Server {
    /// The pairing of a call: the one with the id in the call, or the newest one of the user.
    async fn paired_user(&self, call: &AuthenticatedCall, audit: &mut Audit) -> Result<PairedUser, ApiError> {
        if let Some(id) = call.params.get(&["pairing_id"])? {
            let pairing = self.pairing(&call.requester_id, id).await?.ok_or(ApiError::NO_PAIRING)?;
            audit.user = Some(pairing.user.name().to_owned());
            audit.pairing = Some(id.to_owned());
            // The site may rely on either the name or the id, so they must agree.
            if call.params.get(&["user_name"])?.is_some_and(|name| name != pairing.user.name()) {
                return Err(ApiError::bad_request("The pairing belongs to another user."));
            }
            if !pairing.user.user_enabled {
                return Err(ApiError::USER_DISABLED);
            }
            return match pairing.pairing_state.as_str() {
                "enabled" => Ok(PairedUser {
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
            Some((pairing, device)) => Ok(PairedUser { user: user.user_id, named: true, pairing, device }),
            None if deactivated => Err(ApiError::DEACTIVATED),
            None => Err(ApiError::NO_USER.with_reason("not_enrolled")),
        }
    }
}

/// The user and the pairing of a request.
struct PairedUser {
    user: String,
    /// Whether the call names the user, instead of the id of a pairing.
    named: bool,
    /// The newest enabled one, if the call names the user.
    pairing: String,
    device: Option<String>,
}

pub(crate) async fn initiate(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::for_request());
    let answer = begin(&server, &call, &mut audit).await;
    audit.close(answer)
}

async fn begin(server: &Server, call: &AuthenticatedCall, audit: &mut Audit) -> Result<Json<Value>, ApiError> {
    let params = &call.params;
    let paired = server.paired_user(call, audit).await?;
    let user = paired.user.as_str();
    let otp = params.get(&["otp"])?;
    let named = match params.get(&["terminal_id"])? {
        None => None,
        Some(id) => Some(server.terminal_of_user(user, id).await?.ok_or(ApiError::NO_TERMINAL)?),
    };
    let (name, discriminator) = named.unwrap_or_default();
    let name = params.get(&["terminal_name"])?.unwrap_or(&name);
    let discriminator = params.get(DISCRIMINATOR)?.unwrap_or(&discriminator);
    let known = discriminator.is_empty() || server.knows_terminal(user, discriminator).await?;
    // Error 706 makes a site that names its users ask them for the name of a new terminal. An OTP needs no terminal.
    if !known && paired.named && otp.is_none() && name.is_empty() {
        return Err(ApiError::NO_TERMINAL);
    }
    let action = params.get(&["action_name", "action"])?.unwrap_or("log in");
    let automation_allowed = params.flag(&["automation_allowed"])?.unwrap_or(true);
    let challenge_required = params.flag(&["challenge_required"])?.unwrap_or(false);
    let number_matching = params.flag(&["number_matching"])?.unwrap_or(false);

    if let Some(otp) = otp {
        // If the call names the user, the OTP may be of any of the user's phones.
        let pairing = (!paired.named).then_some(paired.pairing.as_str());
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
        let new = NewRequest {
            user,
            pairing: Some(&paired.pairing),
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
        let id = server.insert_request(new).await?;
        audit.approval = Some(id.clone());
        if let Some(factor) = factor {
            audit.settle(Outcome::Granted(factor.name()));
        }
        return server.request_response(&call.requester_id, &id).await;
    }

    let push = PushRequest {
        requester: &call.requester_id,
        user,
        pairing: &paired.pairing,
        device: paired.device.as_deref(),
        terminal_name: name,
        discriminator,
        action,
        automation_allowed,
        challenge_required,
        number_matching,
    };
    let id = server.request_approval(&push, audit).await?;
    server.request_response(&call.requester_id, &id).await
}
