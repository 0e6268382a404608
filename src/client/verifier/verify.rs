//! Maps an attempt to API calls, and their responses to a verdict.

use std::time::Duration;

use tower::ServiceExt;
use tower_service::Service;

use super::config::Config;
use super::error::{call_failed, unexpected_response};
use super::user_lookup::{UserLookup, decoy_pairing_id};
use crate::client::api_error_kind::ApiErrorKind;
use crate::client::authentication_request::AuthenticationRequest;
use crate::client::authentication_status::AuthenticationStatus;
use crate::client::call::ApiCall;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::response::ApiResponse;
use crate::verify::{
    ApprovalId, ApprovalMode, Attempt, BoxError, DenyReason, Factor, Otp, OtpKind, PendingApproval, Verdict,
    VerifierError,
};

/// The `reason_code` for "no push, an OTP is required".
const OTP_REQUIRED: i64 = 708;
/// How long a grant by OTP waits for the cancellation of a pending push.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The verification of one attempt.
pub(super) struct Verification<'a, C, U> {
    pub(super) client: C,
    pub(super) users: &'a U,
    pub(super) config: &'a Config,
}

impl<C, U> Verification<'_, C, U>
where
    C: Service<ApiCall, Response = ApiResponse> + Clone,
    C::Error: Into<BoxError>,
    U: UserLookup,
{
    pub(super) async fn verify(mut self, attempt: &Attempt) -> Result<Verdict, VerifierError> {
        match attempt.otp() {
            Some(_) => self.verify_otp(attempt).await,
            None => self.verify_approval(attempt).await,
        }
    }

    async fn verify_otp(&mut self, attempt: &Attempt) -> Result<Verdict, VerifierError> {
        let Some(otp) = attempt.otp() else { return Ok(Verdict::Denied(DenyReason::OtpRequired)) };
        let Some(request) = self.users.begin_request(attempt.user()).await? else {
            return self.count_unpaired(attempt, otp).await;
        };
        let call = ApiCall::authenticate(self.describe(attempt, request).otp(otp));
        let status = match self.call(call).await {
            Ok(status) => status,
            Err(error) => return self.deny_or_fail(error, true),
        };
        if status.is_granted() && status.is_totp_valid() == Some(false) {
            // A grant for another reason, such as a rule of the user, does not verify the OTP.
            return Err(unexpected_response());
        }
        if status.is_granted() {
            if let ApprovalMode::Poll(id) = attempt.approval_mode() {
                // The push needs no decision any more. If its cancellation fails, it expires without an effect.
                let cancel = self.client.clone().oneshot(ApiCall::cancel_authentication(id.as_str()));
                let _ = tokio::time::timeout(CANCEL_TIMEOUT, cancel).await;
            }
            let factor = if otp.kind() == OtpKind::RecoveryCode { Factor::RecoveryCode } else { Factor::Totp };
            return Ok(Verdict::Granted(factor));
        }
        // The API decides an OTP immediately, so a pending request was not the request of this call.
        if status.is_denied() { Ok(Verdict::Denied(DenyReason::WrongOtp)) } else { Err(unexpected_response()) }
    }

    /// Sends the OTP of a user without a pairing for a pairing that does not exist. The API counts the attempt, so such
    /// a user is denied and throttled like a user with a wrong OTP, after as long a call. No response grants.
    async fn count_unpaired(&mut self, attempt: &Attempt, otp: &Otp) -> Result<Verdict, VerifierError> {
        let request = AuthenticationRequest::from_pairing_id(&decoy_pairing_id(attempt.user()));
        let not_enrolled = Ok(Verdict::Denied(DenyReason::NotEnrolled));
        match self.call(ApiCall::authenticate(self.describe(attempt, request).otp(otp))).await {
            Ok(_) => not_enrolled,
            Err(error) => match api_error(&error) {
                None | Some(ApiErrorKind::Credentials) => self.deny_or_fail(error, true),
                Some(_) => not_enrolled,
            },
        }
    }

    async fn verify_approval(&mut self, attempt: &Attempt) -> Result<Verdict, VerifierError> {
        if let ApprovalMode::Poll(id) = attempt.approval_mode() {
            return self.poll_approval(id.as_str()).await;
        }
        match self.users.begin_request(attempt.user()).await? {
            None => Ok(Verdict::Denied(DenyReason::NotEnrolled)),
            Some(request) if *attempt.approval_mode() == ApprovalMode::Request => {
                self.request_approval(attempt, request).await
            }
            Some(_) => Ok(Verdict::Denied(DenyReason::OtpRequired)),
        }
    }

    async fn request_approval(
        &mut self,
        attempt: &Attempt,
        request: AuthenticationRequest,
    ) -> Result<Verdict, VerifierError> {
        let request = self.describe(attempt, request);
        let mut result = self.call(ApiCall::authenticate(request.clone())).await;
        if self.config.create_terminals
            && let (Err(error), Some(terminal)) = (&result, attempt.terminal())
            && api_error(error) == Some(ApiErrorKind::TerminalUnknown)
        {
            let create = ApiCall::create_terminal(attempt.user().as_str(), terminal);
            self.client.clone().oneshot(create).await.map_err(|error| call_failed(error.into()))?;
            result = self.call(ApiCall::authenticate(request)).await;
        }
        let status = match result {
            Ok(status) => status,
            Err(error) => return self.deny_or_fail(error, false),
        };
        if status.is_pending() && status.reason_code() != Some(OTP_REQUIRED) {
            let id = ApprovalId::new(status.id()).map_err(|_| unexpected_response())?;
            return Ok(self.pending(&status)?.with_id(id).into());
        }
        Ok(decision(&status))
    }

    async fn poll_approval(&mut self, id: &str) -> Result<Verdict, VerifierError> {
        let status = match self.call(ApiCall::authentication_status(id)).await {
            Ok(status) => status,
            Err(error) => {
                return match api_error(&error) {
                    None | Some(ApiErrorKind::Credentials) => self.deny_or_fail(error, false),
                    // The API does not know the request any more, so it will never be granted.
                    Some(_) => Ok(Verdict::Denied(DenyReason::InvalidApproval)),
                };
            }
        };
        if status.id() != id {
            return Err(unexpected_response());
        }
        if status.is_pending() { Ok(self.pending(&status)?.into()) } else { Ok(decision(&status)) }
    }

    /// Adds the attempt's action and terminal, and the settings, to a request.
    fn describe(&self, attempt: &Attempt, request: AuthenticationRequest) -> AuthenticationRequest {
        let mut request = request.action(attempt.action().as_str());
        let mut has_discriminator = false;
        if let Some(terminal) = attempt.terminal() {
            has_discriminator = terminal.discriminator().is_some_and(|discriminator| !discriminator.is_empty());
            request = request.terminal(terminal);
        }
        // A rule of the user must not decide in place of an OTP.
        if !self.config.automation || !has_discriminator || attempt.otp().is_some() {
            request = request.automation_allowed(false);
        }
        if self.config.lock_pattern {
            request = request.challenge_required(true);
        }
        if self.config.number_matching && attempt.otp().is_none() {
            request = request.number_matching(true);
        }
        request
    }

    async fn call(&mut self, call: ApiCall) -> Result<AuthenticationStatus, VerifierError> {
        match self.client.clone().oneshot(call).await.map_err(|error| call_failed(error.into()))? {
            ApiResponse::Authentication(status) => Ok(status),
            _ => Err(unexpected_response()),
        }
    }

    /// The denial that an error means, or the error.
    fn deny_or_fail(&self, error: VerifierError, has_otp: bool) -> Result<Verdict, VerifierError> {
        match ClientError::find_in(&error).and_then(|error| self.config.denial(error, has_otp)) {
            Some(reason) => Ok(Verdict::Denied(reason)),
            None => Err(error),
        }
    }

    fn pending(&self, status: &AuthenticationStatus) -> Result<PendingApproval, VerifierError> {
        let pending = PendingApproval::new().with_retry_after(self.config.poll_interval);
        match status.number() {
            Some(number) => pending.with_number(number).map_err(|_| unexpected_response()),
            None => Ok(pending),
        }
    }
}

/// The error that the API returned. `None` for every other error, including that of a server that fails or throttles.
fn api_error(error: &VerifierError) -> Option<ApiErrorKind> {
    match ClientError::find_in(error)?.kind() {
        ClientErrorKind::Api(kind) => Some(kind),
        _ => None,
    }
}

/// The verdict on an authentication request that is decided, or that requires an OTP.
fn decision(status: &AuthenticationStatus) -> Verdict {
    if status.is_granted() {
        return Verdict::Granted(Factor::Push);
    }
    let otp_required = status.reason_code() == Some(OTP_REQUIRED);
    Verdict::Denied(if otp_required { DenyReason::OtpRequired } else { DenyReason::DeniedByUser })
}
