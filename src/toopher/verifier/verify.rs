//! From an attempt to a verdict.

use std::time::Duration;

use tower::ServiceExt;
use tower_service::Service;

use super::{Address, ToopherError, ToopherVerifier};
use crate::toopher::{ApiCall, ApiErrorKind, ApiReply, AuthenticationStatus, Initiate};
use crate::{Approval, ApprovalId, Attempt, BoxError, DenyReason, Factor, OtpKind, Pending, Verdict};

/// The `reason_code` that says: no push, an OTP.
const OTP_REQUIRED: i64 = 708;
/// How long a user who has shown an OTP waits for their phone to be told so.
const CANCEL_WITHIN: Duration = Duration::from_secs(1);

impl<C, U> ToopherVerifier<C, U>
where
    C: Service<ApiCall, Response = ApiReply> + Clone,
    C::Error: Into<BoxError>,
    U: Address,
{
    pub(super) async fn verify(mut self, attempt: Attempt) -> Result<Verdict, ToopherError> {
        match attempt.otp() {
            Some(_) => self.verify_otp(&attempt).await,
            None => self.verify_by_phone(&attempt).await,
        }
    }

    async fn verify_otp(&mut self, attempt: &Attempt) -> Result<Verdict, ToopherError> {
        let Some(initiate) = self.users.address(attempt.user()).await? else {
            return Ok(Verdict::Denied(DenyReason::NotEnrolled));
        };
        let Some(otp) = attempt.otp() else { return Ok(Verdict::Denied(DenyReason::OtpRequired)) };
        let call = ApiCall::authenticate(self.about(attempt, initiate).otp(otp));
        let status = match self.call(call).await {
            Ok(status) => status,
            Err(error) => return self.denial(error, true),
        };
        if status.is_granted() && status.is_totp_valid() == Some(false) {
            // Granted for another reason, such as a rule of the user's, is not what was asked.
            return Err(ToopherError::answer());
        }
        if status.is_granted() {
            if let Approval::Asked(id) = attempt.approval() {
                // The user has answered, so the phone need not ask any more. If it goes on, that is for nothing.
                let cancel = self.client.clone().oneshot(ApiCall::cancel_authentication(id.as_str()));
                let _ = tokio::time::timeout(CANCEL_WITHIN, cancel).await;
            }
            let factor = if otp.kind() == OtpKind::BackupCode { Factor::BackupCode } else { Factor::Totp };
            return Ok(Verdict::Granted(factor));
        }
        // An OTP is verified at once, so a phone that is waited for was never meant.
        if status.is_denied() { Ok(Verdict::Denied(DenyReason::WrongOtp)) } else { Err(ToopherError::answer()) }
    }

    async fn verify_by_phone(&mut self, attempt: &Attempt) -> Result<Verdict, ToopherError> {
        if let Approval::Asked(id) = attempt.approval() {
            return self.poll(id.as_str()).await;
        }
        match self.users.address(attempt.user()).await? {
            None => Ok(Verdict::Denied(DenyReason::NotEnrolled)),
            Some(initiate) if *attempt.approval() == Approval::Wanted => self.ask(attempt, initiate).await,
            Some(_) => Ok(Verdict::Denied(DenyReason::OtpRequired)),
        }
    }

    /// Asks the phone.
    async fn ask(&mut self, attempt: &Attempt, initiate: Initiate) -> Result<Verdict, ToopherError> {
        let initiate = self.about(attempt, initiate);
        let mut result = self.call(ApiCall::authenticate(initiate.clone())).await;
        if self.policy.create_terminals
            && let (Err(error), Some(terminal)) = (&result, attempt.terminal())
            && error.client_error().is_some_and(|error| error.kind() == Some(ApiErrorKind::TerminalUnknown))
        {
            let create = ApiCall::create_terminal(attempt.user().as_str(), terminal);
            let created = self.client.clone().oneshot(create).await;
            created.map_err(|error| ToopherError::api(error.into()))?;
            result = self.call(ApiCall::authenticate(initiate)).await;
        }
        let status = match result {
            Ok(status) => status,
            Err(error) => return self.denial(error, false),
        };
        if status.is_pending() && status.reason_code() != Some(OTP_REQUIRED) {
            let id = ApprovalId::new(status.id()).map_err(|_| ToopherError::answer())?;
            return Ok(self.pending(&status).with_id(id).into());
        }
        Ok(decided(&status))
    }

    /// Asks how it stands with the phone.
    async fn poll(&mut self, id: &str) -> Result<Verdict, ToopherError> {
        let status = match self.call(ApiCall::authentication_status(id)).await {
            Ok(status) => status,
            Err(error) => {
                let lost = error.client_error().is_some_and(|error| {
                    error.is_api() && !error.is_credentials() && !error.is_server_error() && !error.is_rate_limited()
                });
                // The API will never say more about it.
                return if lost { Ok(Verdict::Denied(DenyReason::UnknownApproval)) } else { self.denial(error, false) };
            }
        };
        if status.id() != id {
            return Err(ToopherError::answer());
        }
        if status.is_pending() { Ok(self.pending(&status).into()) } else { Ok(decided(&status)) }
    }

    /// Puts into the call what the attempt is about.
    fn about(&self, attempt: &Attempt, initiate: Initiate) -> Initiate {
        let mut initiate = initiate.action(attempt.action().as_str());
        let mut told_apart = false;
        if let Some(terminal) = attempt.terminal() {
            told_apart = terminal.discriminator().is_some_and(|discriminator| !discriminator.is_empty());
            initiate = initiate.terminal(terminal);
        }
        // Where there is an OTP, it alone decides.
        if !self.policy.automation || !told_apart || attempt.otp().is_some() {
            initiate = initiate.automation_allowed(false);
        }
        if self.policy.challenge {
            initiate = initiate.challenge_required(true);
        }
        if self.policy.number_matching && attempt.otp().is_none() {
            initiate = initiate.number_matching(true);
        }
        initiate
    }

    async fn call(&mut self, call: ApiCall) -> Result<AuthenticationStatus, ToopherError> {
        match self.client.clone().oneshot(call).await.map_err(|error| ToopherError::api(error.into()))? {
            ApiReply::Authentication(status) => Ok(status),
            _ => Err(ToopherError::answer()),
        }
    }

    fn denial(&self, error: ToopherError, otp_given: bool) -> Result<Verdict, ToopherError> {
        match error.client_error().and_then(|error| self.policy.denial(error, otp_given)) {
            Some(reason) => Ok(Verdict::Denied(reason)),
            None => Err(error),
        }
    }

    fn pending(&self, status: &AuthenticationStatus) -> Pending {
        Pending::new().with_retry_after(Some(self.policy.poll_after)).with_number(status.number())
    }
}

/// The verdict on a request that is not waited for.
fn decided(status: &AuthenticationStatus) -> Verdict {
    if status.is_granted() {
        return Verdict::Granted(Factor::Push);
    }
    let otp_required = status.reason_code() == Some(OTP_REQUIRED);
    Verdict::Denied(if otp_required { DenyReason::OtpRequired } else { DenyReason::Refused })
}
