//! Calls about existing authentication requests, which an OTP or the user's phone answers.

use axum::Json;
use axum::extract::State;
use serde_json::Value;
use toopher_sql::{Executor, SqlError, query};

use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::id::Id;
use crate::models::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, USER_COLUMNS};
use crate::otp::OtpCheck;
use crate::state::Server;

impl Server {
    pub(crate) async fn request(&self, requester: &str, id: &str) -> Result<Option<RequestRow>, ApiError> {
        Ok(select_request(&self.database, self.now_i64()?, requester, id).await?)
    }

    async fn request_response(&self, requester: &str, id: &str) -> Result<Json<Value>, ApiError> {
        let request = self.request(requester, id).await?.ok_or(ApiError::NOT_FOUND)?;
        self.respond_with(&request).await
    }

    pub(crate) async fn respond_with(&self, request: &RequestRow) -> Result<Json<Value>, ApiError> {
        self.reject_if_revoked(request).await?;
        Ok(Json(request.json()))
    }

    /// Rejects every use of a grant that is not valid now, although the request was granted: the user is disabled, the
    /// pairing has ended, or an approval would be a way around the lock after wrong codes. The grant of an approval is
    /// valid again when the lock ends. A code was verified by the same count, so its grant stays valid during a lock.
    pub(crate) async fn reject_if_revoked(&self, request: &RequestRow) -> Result<(), ApiError> {
        if let Some(error) = request.revocation() {
            return Err(error);
        }
        if request.is_approved() { self.reject_if_locked(request.terminal.user_id()).await } else { Ok(()) }
    }

    /// Decides a pending request, in one statement: the first decision is final. Returns whether this was the first.
    pub(crate) async fn decide(
        &self,
        id: &str,
        state: &'static str,
        totp_valid: bool,
        reason: &str,
    ) -> Result<bool, ApiError> {
        let now = self.now_i64()?;
        let decided = query(
            "UPDATE requests SET state = $1, totp_valid = $2, reason = $3, modified = $4
             WHERE id = $5 AND state = 'pending' AND expires > $4 AND ($1 <> 'granted' OR (
                EXISTS (SELECT 1 FROM users u WHERE u.id = requests.user_id AND u.enabled)
                AND (pairing_id IS NULL OR EXISTS
                    (SELECT 1 FROM pairings p WHERE p.id = requests.pairing_id AND p.state = 'enabled'))))",
        );
        let decided = decided.bind(state).bind(totp_valid).bind(reason).bind(now).bind(id);
        Ok(decided.execute(&self.database).await? > 0)
    }

    /// Answers a pending request with an OTP of `pairing`, or of all pairings and the recovery codes. After a wrong OTP
    /// the request stays pending: the phone, or another OTP, can still answer it.
    pub(crate) async fn answer_by_otp(
        &self,
        request: &RequestRow,
        pairing: Option<&str>,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<OtpCheck, ApiError> {
        let check = self.check_current_otp(request.terminal.user_id(), pairing, otp).await?;
        check.describe_denial(audit);
        if let OtpCheck::Right(factor) = check {
            let first = self.decide(&request.request_id, "granted", true, "").await?;
            audit.settle(if first { Outcome::Granted(factor.name()) } else { Outcome::Denied("not_pending") });
            self.notify_pairing(request.request_pairing_id.as_deref()).await?;
        }
        Ok(check)
    }
}

/// The request of this requester with this id.
pub(crate) async fn select_request<'a>(
    on: impl Into<Executor<'a>>,
    now: i64,
    requester: &str,
    id: &str,
) -> Result<Option<RequestRow>, SqlError> {
    let text = format!(
        "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS} FROM requests r
         JOIN users u ON u.id = r.user_id JOIN terminals t ON t.id = r.terminal_id
         JOIN actions a ON a.id = r.action_id WHERE u.requester_id = $2 AND r.id = $3"
    );
    query(text).bind(now).bind(requester).bind(id).one(on).await
}

pub(crate) async fn status(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    server.request_response(&call.requester_id, &id).await
}

pub(crate) async fn otp_auth(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::for_request().decided_by("otp"));
    let answer = async {
        let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NO_APPROVAL)?;
        request.describe(&mut audit);
        let otp = call.params.get_even_empty(&["otp"])?;
        let otp = otp.ok_or(ApiError::MISSING_PARAMETER)?;
        // A decided request stays decided, and no code is used up for it.
        if request.request_state != "pending" {
            audit.settle(None);
            server.reject_if_revoked(&request).await?;
            return Ok(Json(request.json()));
        }
        let pairing = request.request_pairing_id.as_deref();
        let check = server.answer_by_otp(&request, pairing, otp, &mut audit).await?;
        if let OtpCheck::Wrong { message, .. } = check {
            // As it was before the check: another call may have answered it since, with another code.
            let mut answer = Json(request.json());
            answer["reason"] = message.into();
            return Ok(answer);
        }
        let answer = server.request_response(&call.requester_id, &id).await?;
        Ok(answer)
    };
    let answer = answer.await;
    audit.close(answer)
}

pub(crate) async fn cancel(
    State(server): State<Server>,
    Id(id): Id,
    call: AuthenticatedCall,
) -> Result<Json<Value>, ApiError> {
    let mut audit = call.audit(Audit::for_request().decided_by("site"));
    let answer = async {
        let request = server.request(&call.requester_id, &id).await?.ok_or(ApiError::NO_APPROVAL)?;
        request.describe(&mut audit);
        let first = server.decide(&id, "cancelled", false, "The request was cancelled.").await?;
        audit.settle(first.then_some(Outcome::Cancelled));
        if first {
            server.notify_pairing(request.request_pairing_id.as_deref()).await?;
        }
        server.request_response(&call.requester_id, &id).await
    };
    let answer = answer.await;
    audit.close(answer)
}
