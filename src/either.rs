use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::ServiceExt;
use tower_service::Service;

use crate::{Approval, Attempt, BoxError, DenyReason, Verdict};

/// Two verifiers of the same users: one for OTPs, and one that asks people on their phones.
///
/// - An attempt with an OTP goes to the first one; only for users who have nothing there to the second one. Who that is
///   the first one is asked beforehand, without the OTP.
/// - An attempt without goes to the second one, if an approval is wanted. Where that user has no phone there, or it is
///   down, the first one says what it takes: an OTP. So a remote side that is down never lets anybody in, and never
///   keeps anybody out who has an OTP.
/// - A user is not enrolled, or unknown, only if both say so.
///
/// It belongs *into* [`Approvals`](https://docs.rs/tower-toopher/latest/tower_toopher/approvals/struct.Approvals.html):
///
/// ```
/// # #[cfg(feature = "client")] {
/// use tower_toopher::{Approvals, EitherVerifier, ToopherClient, ToopherLayer, ToopherVerifier, TotpVerifier};
/// use tower_toopher::oauth1::Credentials;
/// use tower_toopher::store::MemoryStore;
/// use tower_toopher::totp::MemoryPairings;
///
/// let store = MemoryStore::new();
/// let otps = TotpVerifier::new(MemoryPairings::new())?.store(store.clone());
/// let client = ToopherClient::new("https://mfa.example.com/v1".parse()?, Credentials::new("key", "secret")?)?;
/// let both = EitherVerifier::new(otps, ToopherVerifier::new(client));
/// // One store for both, so that whoever is locked out on one way is so on the other.
/// let gate = ToopherLayer::new(Approvals::new(both)?.store(store));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct EitherVerifier<O, P> {
    otps: O,
    phones: P,
}

impl<O, P> EitherVerifier<O, P> {
    /// A verifier that has `otps` verify OTPs, and `phones` ask people.
    pub fn new(otps: O, phones: P) -> Self {
        Self { otps, phones }
    }
}

impl<O, P> EitherVerifier<O, P>
where
    O: Service<Attempt, Response = Verdict> + Clone,
    O::Error: Into<BoxError>,
    P: Service<Attempt, Response = Verdict>,
    P::Error: Into<BoxError>,
{
    async fn verify(self, attempt: Attempt) -> Result<Verdict, BoxError> {
        if attempt.otp().is_some() || *attempt.approval() == Approval::Unwanted {
            // Asked without the OTP first, which counts nothing: a user of the other side must not be locked out here.
            let without = attempt.clone().with_otp(None).with_approval(Approval::Unwanted);
            let verdict = self.otps.clone().oneshot(without).await.map_err(Into::into)?;
            return match unknown(&verdict) {
                Some(reason) => Ok(either(reason, self.phones.oneshot(attempt).await.map_err(Into::into)?)),
                None if attempt.otp().is_some() => self.otps.oneshot(attempt).await.map_err(Into::into),
                None => Ok(verdict),
            };
        }
        // Only who was asked knows the answer.
        if let Approval::Asked(_) = attempt.approval() {
            return self.phones.oneshot(attempt).await.map_err(Into::into);
        }
        let fallback = attempt.clone().with_approval(Approval::Unwanted);
        match self.phones.oneshot(attempt).await {
            Ok(verdict) => match unknown(&verdict) {
                None => Ok(verdict),
                Some(reason) => Ok(either(reason, self.otps.oneshot(fallback).await.map_err(Into::into)?)),
            },
            Err(error) => match self.otps.oneshot(fallback).await.map_err(Into::into)? {
                Verdict::Denied(DenyReason::OtpRequired) => Ok(Verdict::Denied(DenyReason::OtpRequired)),
                // Whether they have a phone is not known, so nobody is let pass for having nothing.
                _ => Err(error.into()),
            },
        }
    }
}

/// Why a verifier has nothing to check, if that is what it says.
fn unknown(verdict: &Verdict) -> Option<DenyReason> {
    match verdict {
        Verdict::Denied(reason @ (DenyReason::NotEnrolled | DenyReason::UnknownUser)) => Some(*reason),
        _ => None,
    }
}

/// What the second one says, where the first one had nothing to check. A user whom one of them knows is known.
fn either(first: DenyReason, second: Verdict) -> Verdict {
    if second == Verdict::Denied(DenyReason::UnknownUser) { Verdict::Denied(first) } else { second }
}

impl<O, P> Service<Attempt> for EitherVerifier<O, P>
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

    /// Always ready. The verifier that is asked is made ready on a clone.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().verify(attempt))
    }
}
