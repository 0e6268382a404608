//! Answers to the request of a page with a code.

use toopher_sql::query;

use super::session::Session;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::crypto::digest;
use crate::models::RequestRow;
use crate::new_request::{NewRequest, NewState};
use crate::otp::OtpCheck;
use crate::recovery_codes::is_recovery_code;
use crate::state::Server;

pub(super) const WRONG_CODE: &str = "This code was not accepted. Wait for the next one.";
pub(super) const WRONG_RECOVERY_CODE: &str =
    "This recovery code was not accepted. Each is valid once: use another one.";
const MALFORMED: &str = "This code was not accepted: it has six digits, as your phone shows them.";

/// Why a code was rejected. It depends on what was typed only: a code that was used before looks like a wrong one.
pub(super) fn rejection(typed: &str, reason: &str) -> &'static str {
    match reason {
        _ if is_recovery_code(typed) => WRONG_RECOVERY_CODE,
        "malformed_otp" => MALFORMED,
        _ => WRONG_CODE,
    }
}

impl Session {
    /// Answers the pending request with a code of the phone, or with a recovery code, which needs no phone.
    pub(super) async fn answer(
        &self,
        server: &Server,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(request) = self.pending_request(server).await? else {
            // No code is used up for a request that is decided or expired.
            audit.settle(None);
            return Ok(Some("No request is pending."));
        };
        request.describe(audit);
        let pairing = request.request_pairing_id.as_deref().filter(|_| !is_recovery_code(otp));
        Ok(match server.answer_by_otp(&request, pairing, otp, audit).await? {
            OtpCheck::Right(_) => None,
            OtpCheck::Wrong { reason, .. } => Some(rejection(otp, reason)),
        })
    }

    async fn pending_request(&self, server: &Server) -> Result<Option<RequestRow>, ApiError> {
        let Some(id) = &self.request_id else { return Ok(None) };
        let request = server.request(&self.requester_id, id).await?;
        Ok(request.filter(|request| request.request_state == "pending"))
    }

    /// Authenticates a user who has recovery codes and no phone, with one of them.
    pub(super) async fn recover(
        &self,
        server: &Server,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<Option<&'static str>, ApiError> {
        if !is_recovery_code(otp) {
            audit.settle(Outcome::Denied("malformed_otp"));
            return Ok(Some("This recovery code was not accepted: it has sixteen letters and digits."));
        }
        audit.action = Some(self.action_name.clone());
        audit.terminal = Some(self.terminal_name.clone());
        let check = server.check_current_otp(&self.user_id, None, otp).await?;
        check.describe_denial(audit);
        let OtpCheck::Right(factor) = check else { return Ok(Some(WRONG_RECOVERY_CODE)) };
        let request = server.store_request(NewRequest {
            requester: self.requester_id.clone(),
            user: self.user_id.clone(),
            pairing: None,
            renamed_terminal: None,
            terminal_name: self.terminal_name.clone(),
            discriminator: self.discriminator.clone(),
            action: self.action_name.clone(),
            automation_allowed: false,
            challenge_required: self.challenge_required,
            state: NewState::Granted,
        });
        let id = request.await?.request_id;
        query("UPDATE web_sessions SET request_id = $1 WHERE token_digest = $2")
            .bind(&id)
            .bind(digest(&self.token))
            .execute(&server.database)
            .await?;
        audit.approval = Some(id);
        audit.settle(Outcome::Granted(factor.name()));
        Ok(None)
    }

    /// The request that a recovery code has granted to a user without a phone.
    pub(super) async fn recovered(&self, server: &Server) -> Result<Option<RequestRow>, ApiError> {
        let Some(id) = &self.request_id else { return Ok(None) };
        let request = server.request(&self.requester_id, id).await?;
        Ok(request.filter(|request| request.request_pairing_id.is_none() && request.request_state == "granted"))
    }
}
