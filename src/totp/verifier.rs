use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::config::Config;
use super::error::TotpError;
use super::pairing::{Confirmation, Lookup, Pairing, Pairings};
use super::secret::SecretError;
use super::window::Window;
use crate::store::{MemoryStore, Records, StepOutcome, Store, Throttle};
use crate::time::{Clock, UnixTime};
use crate::verify::{Attempt, DenyReason, Factor, Otp, OtpKind, UserId, Verdict};

/// Verifies one-time passwords and recovery codes in the process: see the [module docs](crate::totp).
///
/// `P` is the application's user table, `S` the store of failures and used steps. Clones share both.
///
/// The verifier has no timeout. Add timeouts to the calls of `P` and `S`: if one of them *fails*, the verifier releases
/// the attempt. If the future is dropped (by a timeout around the verifier, for example), the attempt remains counted
/// as a failure.
///
/// An attempt also remains counted if the store cannot release it, or lost whether it was counted, as a database does
/// whose connection breaks during a commit. It is never released by assumption, because a client that can cause faults
/// would then have unlimited guesses. A hundred such attempts in a row, each after its delay and without a success in
/// between, lock the account until [`unlock`](Self::unlock). `RedisStore` knows its attempts by number, and releases
/// them with the user's next attempt, as long as the process runs.
#[must_use]
pub struct TotpVerifier<P, S = MemoryStore> {
    /// One pointer, because a verifier is cloned twice for each request.
    pub(super) shared: Arc<Shared<P, S>>,
}

pub(super) struct Shared<P, S> {
    pub(super) pairings: Arc<P>,
    pub(super) store: Arc<S>,
    pub(super) config: Config,
}

/// The outcome of a verification that did not fail.
pub(super) type Outcome = Result<Factor, DenyReason>;

impl<P: Pairings> TotpVerifier<P> {
    /// A verifier with a [`MemoryStore`], [`Window::ONE_AROUND`], the default [`Throttle`] and the system clock.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandomness`] when the operating system provides no random numbers.
    pub fn new(pairings: P) -> Result<Self, SecretError> {
        Ok(Self::from_parts(Arc::new(pairings), Arc::default(), Config::new()?))
    }
}

impl<P, S> TotpVerifier<P, S> {
    /// Sets the store of failures and used steps. Default: a new [`MemoryStore`].
    ///
    /// Verifiers of the same users must share one store, because each store accepts each code once.
    pub fn store<S2: Store>(self, store: S2) -> TotpVerifier<P, S2> {
        let Shared { pairings, config, .. } = &*self.shared;
        TotpVerifier::from_parts(Arc::clone(pairings), Arc::new(store), config.clone())
    }

    /// Sets the time steps that are accepted. Default: [`Window::ONE_AROUND`].
    pub fn window(self, window: Window) -> Self {
        self.change(|config| config.window = window)
    }

    /// Sets the limits on failures. Default: [`Throttle::default`].
    pub fn throttle(self, throttle: Throttle) -> Self {
        self.change(|config| config.throttle = throttle)
    }

    /// Sets the clock. Default: the system clock. An attacker who can set it back can use a used code again.
    pub fn clock(self, clock: impl Into<Clock>) -> Self {
        self.change(|config| config.clock = clock.into())
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let Shared { pairings, store, config } = &*self.shared;
        let mut config = config.clone();
        change(&mut config);
        Self::from_parts(Arc::clone(pairings), Arc::clone(store), config)
    }

    fn from_parts(pairings: Arc<P>, store: Arc<S>, config: Config) -> Self {
        Self { shared: Arc::new(Shared { pairings, store, config }) }
    }
}

impl<P: Pairings, S: Store> TotpVerifier<P, S> {
    /// Verifies an OTP with the authenticators of `user`, for applications whose users have several.
    ///
    /// It counts as one attempt, whatever the number of pairings. Unconfirmed pairings are ignored. A code is used up
    /// for its secret, so it is accepted once, whichever of several pairings with that secret a call passes. If the
    /// code is that of several secrets, the step is recorded as used for each of them, with one operation of the store
    /// each.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when the OTP could not be verified.
    pub async fn verify_otp(&self, user: &UserId, pairings: &[Pairing], otp: &Otp) -> Result<Verdict, TotpError> {
        if let Some(reason) = self.count_attempt(user).await? {
            return Ok(Verdict::Denied(reason));
        }
        let checked = match otp.kind() {
            OtpKind::Digits => self.check_digits(user, pairings, Pairing::is_confirmed, otp).await,
            OtpKind::RecoveryCode => self.check_recovery_code(user, pairings, otp).await,
        };
        let outcome = self.release_if_failed(user, checked).await?;
        Ok(outcome.map_or_else(Verdict::Denied, Verdict::Granted))
    }

    /// Verifies the first code of a new authenticator, and records it as used, so that it cannot be used for a login.
    ///
    /// It counts as an attempt of the user, and a success deletes the user's failures and approvals. **If the user has
    /// a factor already, allow only requests that showed it:** with a secret of their own, an attacker with the
    /// password could otherwise reset the count of guesses and of pushes. After [`Confirmation::Confirmed`] the
    /// application stores the pairing in it. After a denial it keeps the unconfirmed pairing and asks for another code.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when the code could not be verified.
    pub async fn confirm(&self, user: &UserId, pairing: &Pairing, otp: &Otp) -> Result<Confirmation, TotpError> {
        if let Some(reason) = self.count_attempt(user).await? {
            return Ok(Confirmation::Denied(reason));
        }
        let checked = self.check_digits(user, std::slice::from_ref(pairing), |_| true, otp).await;
        Ok(match self.release_if_failed(user, checked).await? {
            Ok(_) => Confirmation::Confirmed(pairing.clone().confirm()),
            Err(reason) => Confirmation::Denied(reason),
        })
    }

    /// Deletes the failures of `user`, for an administrator. Used codes remain used, and approvals remain counted.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when the store fails.
    pub async fn unlock(&self, user: &UserId) -> Result<(), TotpError> {
        self.shared.store.clear(user, Records::Failures).await.map_err(TotpError::store)
    }

    async fn verify(&self, attempt: &Attempt) -> Result<Verdict, TotpError> {
        let user = attempt.user();
        // The lookup comes first, because its error must not count as a failure of the user.
        let found = self.shared.pairings.find(user).await.map_err(TotpError::users)?;
        let (pairing, without_otp) = match found {
            Lookup::Enrolled(pairing) if pairing.is_confirmed() => (Some(pairing), DenyReason::OtpRequired),
            Lookup::Enrolled(_) | Lookup::NotEnrolled => (None, DenyReason::NotEnrolled),
            Lookup::UnknownUser => (None, DenyReason::UnknownUser),
        };
        let Some(otp) = attempt.otp() else { return Ok(Verdict::Denied(without_otp)) };
        Ok(match self.verify_otp(user, pairing.as_slice(), otp).await? {
            Verdict::Denied(DenyReason::NotEnrolled) => Verdict::Denied(without_otp),
            verdict => verdict,
        })
    }

    async fn check_digits(
        &self,
        user: &UserId,
        pairings: &[Pairing],
        is_accepted: fn(&Pairing) -> bool,
        otp: &Otp,
    ) -> Result<Outcome, TotpError> {
        // The clock is read again, because counting may have taken time.
        let now = self.shared.config.clock.now()?;
        let window = self.shared.config.window;
        let mut is_enrolled = false;
        // The first match is not allocated, because few users have two. A code is recorded once for every secret that
        // has it, and several pairings can have one secret.
        let (mut first, mut others) = (None, Vec::new());
        for pairing in pairings.iter().filter(|pairing| is_accepted(pairing)) {
            is_enrolled = true;
            let Some(step) = pairing.totp().matching_step(otp, now, window) else { continue };
            let used = pairing.used_step(step, now);
            match &first {
                None => first = Some((pairing, used)),
                Some((_, recorded)) if *recorded == used => {}
                Some(_) if others.iter().any(|(_, recorded)| *recorded == used) => {}
                Some(_) => others.push((pairing, used)),
            }
        }
        if !is_enrolled {
            self.check_decoy(otp, now);
            return Ok(Err(DenyReason::NotEnrolled));
        }
        let Some(first) = first else { return Ok(Err(DenyReason::WrongOtp)) };
        let matching = || std::iter::once(&first).chain(&others);
        for (_, used) in matching() {
            let outcome = self.shared.store.record_step(user, used, now).await;
            if outcome.map_err(TotpError::store)? == StepOutcome::Replayed {
                return Ok(Err(DenyReason::ReplayedOtp));
            }
        }
        // The store may have taken time too, and its records expire.
        let now = self.shared.config.clock.now()?;
        let late = matching().any(|(pairing, used)| window.is_past(used.step(), pairing.totp().step_at(now)));
        Ok(if late { Err(DenyReason::WrongOtp) } else { Ok(Factor::Totp) })
    }

    /// Computes what an authenticator's secret would take.
    pub(super) fn check_decoy(&self, otp: &Otp, now: UnixTime) {
        std::hint::black_box(self.shared.config.decoy.matching_step(otp, now, self.shared.config.window));
    }
}

impl<P: Pairings, S: Store> Service<Attempt> for TotpVerifier<P, S> {
    type Response = Verdict;
    type Error = TotpError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, TotpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TotpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.verify(&attempt).await })
    }
}

impl<P, S> Clone for TotpVerifier<P, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P, S> fmt::Debug for TotpVerifier<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpVerifier")
            .field("window", &self.shared.config.window)
            .field("throttle", &self.shared.config.throttle)
            .finish_non_exhaustive()
    }
}
