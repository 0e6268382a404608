//! Two verifiers of the same users: one for OTPs, one for approvals.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::ServiceExt;
use tower_service::Service;

use super::approval::ApprovalMode;
use super::attempt::Attempt;
use super::error::BoxError;
use super::verdict::{DenyReason, Verdict};

/// Combines two verifiers of the same users: one that verifies OTPs, and one that requests approvals on phones.
///
/// - It sends an attempt with an OTP to the first verifier, and to the second one only for users who have no factor at
///   the first. To find out, it calls the first verifier without the OTP, which counts no attempt.
/// - It sends an attempt without an OTP to the second verifier, if an approval is allowed. If the user has no phone
///   there, or the second verifier fails, the first verifier states what it accepts: an OTP. So a remote verifier that
///   is down grants no request, and does not lock out a user with an OTP.
/// - A user is not enrolled, or unknown, only if both verifiers say so.
///
/// The second verifier verifies and counts every OTP of a user who has no factor at the first, also if the user is
/// unknown to both. So from outside, an unknown user is like a user of the second verifier with a wrong OTP: in the
/// sequence of responses, in what is stored, and in time. The users of the first verifier get the same responses, but
/// the time shows which verifier responded if one of them is faster.
///
/// The first verifier must know without an OTP whether a user has a factor. A `ToopherVerifier` that identifies users
/// by name does not: as the first verifier it verifies every OTP, and the second one none. Put it second.
///
/// Put it *inside* `Approvals` (feature `approvals`):
///
/// ```
/// # #[cfg(feature = "client")] {
/// use tower_toopher::client::{Credentials, ToopherClient, ToopherVerifier};
/// use tower_toopher::store::MemoryStore;
/// use tower_toopher::totp::MemoryPairings;
/// use tower_toopher::verify::FallbackVerifier;
/// use tower_toopher::{Approvals, ToopherLayer, TotpVerifier};
///
/// let store = MemoryStore::new();
/// let otp = TotpVerifier::new(MemoryPairings::new())?.store(store.clone());
/// let client = ToopherClient::new("https://mfa.example.com/v1".parse()?, Credentials::new("key", "secret")?)?;
/// let both = FallbackVerifier::new(otp, ToopherVerifier::new(client));
/// // One store for both, so that a lock applies to both.
/// let layer = ToopherLayer::new(Approvals::new(both)?.store(store));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FallbackVerifier<O, P> {
    otp: O,
    push: P,
}

impl<O, P> FallbackVerifier<O, P> {
    /// Verifies OTPs with `otp`, and requests approvals with `push`.
    pub fn new(otp: O, push: P) -> Self {
        Self { otp, push }
    }
}

impl<O, P> FallbackVerifier<O, P>
where
    O: Service<Attempt, Response = Verdict> + Clone,
    O::Error: Into<BoxError>,
    P: Service<Attempt, Response = Verdict>,
    P::Error: Into<BoxError>,
{
    async fn verify(self, attempt: Attempt) -> Result<Verdict, BoxError> {
        if attempt.otp().is_some() || *attempt.approval_mode() == ApprovalMode::Disallowed {
            // Without the OTP first, which counts no attempt: a user of the other verifier must not be locked out here.
            let without = attempt.clone().with_otp(None).with_approval_mode(ApprovalMode::Disallowed);
            let verdict = self.otp.clone().oneshot(without).await.map_err(Into::into)?;
            return match missing_factor(&verdict) {
                Some(reason) => Ok(combine(reason, self.push.oneshot(attempt).await.map_err(Into::into)?)),
                None if attempt.otp().is_some() => self.otp.oneshot(attempt).await.map_err(Into::into),
                None => Ok(verdict),
            };
        }
        // Only the verifier that requested the approval knows its state.
        if let ApprovalMode::Poll(_) = attempt.approval_mode() {
            return self.push.oneshot(attempt).await.map_err(Into::into);
        }
        let fallback = attempt.clone().with_approval_mode(ApprovalMode::Disallowed);
        match self.push.oneshot(attempt).await {
            Ok(verdict) => match missing_factor(&verdict) {
                None => Ok(verdict),
                Some(reason) => Ok(combine(reason, self.otp.oneshot(fallback).await.map_err(Into::into)?)),
            },
            Err(error) => match self.otp.oneshot(fallback).await.map_err(Into::into)? {
                Verdict::Denied(DenyReason::OtpRequired) => Ok(Verdict::Denied(DenyReason::OtpRequired)),
                // Whether the user has a phone is unknown, so the user must not pass as not enrolled.
                _ => Err(error.into()),
            },
        }
    }
}

/// The reason, if the verifier has no factor of this user.
fn missing_factor(verdict: &Verdict) -> Option<DenyReason> {
    match verdict {
        Verdict::Denied(reason @ (DenyReason::NotEnrolled | DenyReason::UnknownUser)) => Some(*reason),
        _ => None,
    }
}

/// The verdict of the second verifier, where the first has no factor. A user whom one of them knows is known.
fn combine(first: DenyReason, second: Verdict) -> Verdict {
    if second == Verdict::Denied(DenyReason::UnknownUser) { Verdict::Denied(first) } else { second }
}

impl<O, P> Service<Attempt> for FallbackVerifier<O, P>
where
    O: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    O::Error: Into<BoxError>,
    O::Future: Send,
    P: Service<Attempt, Response = Verdict> + Clone + Send + 'static,
    P::Error: Into<BoxError> + Send,
    P::Future: Send,
{
    type Response = Verdict;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, BoxError>> + Send>>;

    /// Always ready. The verifier that is called is driven to readiness on a clone.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().verify(attempt))
    }
}
