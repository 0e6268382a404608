//! The verifier of the site: codes of several authenticator apps, recovery codes, and approvals on the phone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Service, ServiceExt};
use tower_toopher::client::ToopherVerifier;
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::TotpError;
use tower_toopher::verify::{ApprovalMode, FallbackVerifier, OtpKind};
use tower_toopher::{Attempt, BoxError, DenyReason, TotpVerifier, Verdict};

use super::app::Api;
use super::users::Users;

/// How long a login by a code waits until the request to the phone is withdrawn.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Verifies the codes of all authenticator apps of a user.
#[derive(Clone)]
pub(crate) struct Codes {
    pub(crate) users: Users,
    pub(crate) totp: TotpVerifier<Users, MemoryStore>,
}

impl Codes {
    async fn verify(self, attempt: Attempt) -> Result<Verdict, TotpError> {
        let user = attempt.user();
        let pairings = self.users.factors(user, |factors| factors.pairings());
        let without_otp = match &pairings {
            None => DenyReason::UnknownUser,
            Some(pairings) if pairings.is_empty() => DenyReason::NotEnrolled,
            Some(_) => DenyReason::OtpRequired,
        };
        let Some(otp) = attempt.otp() else { return Ok(Verdict::Denied(without_otp)) };
        Ok(match self.totp.verify_otp(user, &pairings.unwrap_or_default(), otp).await? {
            Verdict::Denied(DenyReason::NotEnrolled) => Verdict::Denied(without_otp),
            verdict => verdict,
        })
    }
}

impl Service<Attempt> for Codes {
    type Response = Verdict;
    type Error = TotpError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, TotpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TotpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().verify(attempt))
    }
}

/// All second factors.
#[derive(Clone)]
pub(crate) struct SiteVerifier {
    codes: Codes,
    api: Option<Api>,
    phones: Option<FallbackVerifier<Codes, ToopherVerifier<Api>>>,
}

impl SiteVerifier {
    pub(crate) fn new(codes: Codes, api: Option<Api>) -> Self {
        let phones = api.clone().map(|api| {
            FallbackVerifier::new(codes.clone(), ToopherVerifier::new(api).create_terminals().number_matching())
        });
        Self { codes, api, phones }
    }

    async fn verify(self, attempt: Attempt) -> Result<Verdict, BoxError> {
        let pending = match attempt.approval_mode() {
            ApprovalMode::Poll(id) if attempt.otp().is_some() => Some(id.clone()),
            _ => None,
        };
        let verdict = match (attempt.otp(), self.phones) {
            // Also for a user who has phones only.
            (Some(otp), _) if otp.kind() == OtpKind::RecoveryCode => {
                self.codes.totp.verify_recovery_code(attempt.user(), otp).await?
            }
            (_, Some(phones)) => phones.oneshot(attempt).await?,
            (_, None) => self.codes.oneshot(attempt).await?,
        };
        if let (Verdict::Granted(_), Some(id), Some(api)) = (&verdict, pending, &self.api) {
            // The phone needs to answer no more. If this fails, the request expires without an effect.
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, api.cancel_authentication(id.as_str())).await;
        }
        Ok(verdict)
    }
}

impl Service<Attempt> for SiteVerifier {
    type Response = Verdict;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().verify(attempt))
    }
}
