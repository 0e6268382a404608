use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_service::Service;

use super::{BackupCodeDigest, Lookup, Pairing, Pairings, Secret, Totp, Window};
use crate::store::{Admission, MemoryStore, Spend, Store, Throttle};
use crate::{Attempt, BoxError, DenyReason, Factor, Fault, FaultKind, Otp, OtpKind, UserId, Verdict};

/// Verifies one-time passwords and backup codes in the process: see the [module docs](crate::totp).
///
/// `P` is the application's user table, `S` what remembers failures and spent codes. Clones share both.
///
/// It sets no time limit. Give one to the calls that `P` and `S` make: an attempt whose table or store *fails* is taken
/// back. A time limit around the verifier drops it half-way, and the attempt stays counted as a failure of the user's.
///
/// So does one that the store cannot take back either, or of which the store itself lost whether it was counted, as a
/// database whose connection breaks while it commits. It is never taken back by guess, since whoever can provoke faults
/// would have guesses for free. A hundred of them in a row, each after its wait, and without a success between, end in the
/// lock that only [`unlock`](Self::unlock) opens. `RedisStore` knows its attempts by number, and takes these back with the
/// user's next one, for as long as the process lives.
#[must_use]
pub struct TotpVerifier<P, S = MemoryStore> {
    pairings: Arc<P>,
    store: Arc<S>,
    config: Arc<Config>,
}

#[derive(Clone)]
struct Config {
    window: Window,
    throttle: Throttle,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Stands in for the secret of users who have none, so that they take as long.
    decoy: Totp,
}

impl<P: Pairings> TotpVerifier<P> {
    /// A verifier over a user table, with a [`MemoryStore`], [`Window::ONE_AROUND`], the default [`Throttle`] and the
    /// system's clock.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandomness`](super::SecretError::NoRandomness) when the operating system has no random numbers
    /// to give.
    pub fn new(pairings: P) -> Result<Self, super::SecretError> {
        let config = Config {
            window: Window::default(),
            throttle: Throttle::default(),
            clock: Arc::new(SystemTime::now),
            decoy: Totp::new(Secret::generate()?),
        };
        Ok(Self { pairings: Arc::new(pairings), store: Arc::default(), config: Arc::new(config) })
    }
}

impl<P, S> TotpVerifier<P, S> {
    /// Sets what remembers failures and spent codes. Default: a [`MemoryStore`] of its own.
    ///
    /// Verifiers of the same users must share one store: each store lets each code pass once.
    pub fn store<S2: Store>(self, store: S2) -> TotpVerifier<P, S2> {
        TotpVerifier { pairings: self.pairings, store: Arc::new(store), config: self.config }
    }

    /// Sets which steps are accepted. Default: [`Window::ONE_AROUND`].
    pub fn window(self, window: Window) -> Self {
        self.change(|config| config.window = window)
    }

    /// Sets how failures slow a user down. Default: [`Throttle::default`].
    pub fn throttle(self, throttle: Throttle) -> Self {
        self.change(|config| config.throttle = throttle)
    }

    /// Sets the clock. Default: `SystemTime::now`. Whoever can set it back can make spent codes good again.
    pub fn clock(self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.change(|config| config.clock = Arc::new(now))
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<P: Pairings, S: Store> TotpVerifier<P, S> {
    /// Checks an OTP against the authenticators of `user`, for applications whose users have several.
    ///
    /// It is one attempt, however many pairings there are. Those that are not confirmed do not verify. Where one secret stands
    /// under several names, its code is spent under each of them, in a call of its own to the store.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when it could not be checked.
    pub async fn verify_otp(&self, user: &UserId, pairings: &[Pairing], otp: &Otp) -> Result<Verdict, TotpError> {
        self.attempt(user, self.check(user, pairings, otp)).await
    }

    /// Checks the first code of a new authenticator, and spends it, so that it does not log in as well.
    ///
    /// It counts as an attempt of the user, like any other, and its success forgets their failures and pushes, like any
    /// other. **Where the user has a factor already, let only requests come here that have shown it:** with a secret of
    /// their own, a thief of the password could else begin anew to guess, and to ring the phone. On [`Confirmation::Confirmed`] the application stores the
    /// pairing that comes with it; on a denial it keeps the unconfirmed one and asks for another code.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when it could not be checked.
    pub async fn confirm(&self, user: &UserId, pairing: &Pairing, otp: &Otp) -> Result<Confirmation, TotpError> {
        Ok(match self.attempt(user, self.check_digits(user, std::slice::from_ref(pairing), |_| true, otp)).await? {
            Verdict::Granted(_) => Confirmation::Confirmed(pairing.clone().confirm()),
            Verdict::Denied(reason) => Confirmation::Denied(reason),
            Verdict::Pending(_) => Confirmation::Denied(DenyReason::WrongOtp),
        })
    }

    /// Forgets the failures of `user`, as an administrator may. Spent codes stay spent, and pushes stay counted.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when the store fails.
    pub async fn unlock(&self, user: &UserId) -> Result<(), TotpError> {
        self.store.clear_failures(user).await.map_err(TotpError::store)
    }

    async fn verify(&self, attempt: &Attempt) -> Result<Verdict, TotpError> {
        let user = attempt.user();
        // First, since an error here must not count against the user.
        let found = self.pairings.find(user).await.map_err(TotpError::pairings)?;
        let (pairing, without) = match found {
            Lookup::Enrolled(pairing) if pairing.is_confirmed() => (Some(pairing), DenyReason::OtpRequired),
            Lookup::Enrolled(_) | Lookup::NotEnrolled => (None, DenyReason::NotEnrolled),
            Lookup::UnknownUser => (None, DenyReason::UnknownUser),
        };
        let Some(otp) = attempt.otp() else { return Ok(Verdict::Denied(without)) };
        match self.verify_otp(user, pairing.as_slice(), otp).await? {
            Verdict::Denied(DenyReason::NotEnrolled) => Ok(Verdict::Denied(without)),
            Verdict::Granted(Factor::Totp) => {
                if let Some((spent_in, store)) = attempt.spent_in().zip(self.store.spends_in()) {
                    spent_in.note(store);
                }
                Ok(Verdict::Granted(Factor::Totp))
            }
            verdict => Ok(verdict),
        }
    }

    /// Counts the attempt, has it checked, and takes it back if it could not be: a backend that is down for a while
    /// must not lock its users out.
    async fn attempt(
        &self,
        user: &UserId,
        check: impl Future<Output = Result<Verdict, TotpError>>,
    ) -> Result<Verdict, TotpError> {
        let throttle = &self.config.throttle;
        match self.store.count_attempt(user, throttle, self.now()?).await.map_err(TotpError::store)? {
            Admission::Admitted => {}
            Admission::Throttled { retry_after } => return Ok(Verdict::Denied(DenyReason::Throttled { retry_after })),
            Admission::LockedOut => return Ok(Verdict::Denied(DenyReason::LockedOut)),
        }
        let checked = check.await;
        if checked.is_err() {
            // If that fails as well, the attempt stays counted, and the first error is the one to tell.
            self.store.take_back_attempt(user, throttle).await.ok();
        }
        checked
    }

    async fn check(&self, user: &UserId, pairings: &[Pairing], otp: &Otp) -> Result<Verdict, TotpError> {
        match otp.kind() {
            OtpKind::Digits => self.check_digits(user, pairings, Pairing::is_confirmed, otp).await,
            OtpKind::BackupCode => self.check_backup_code(user, pairings.iter().any(Pairing::is_confirmed), otp).await,
        }
    }

    async fn check_digits(
        &self,
        user: &UserId,
        pairings: &[Pairing],
        verifies: fn(&Pairing) -> bool,
        otp: &Otp,
    ) -> Result<Verdict, TotpError> {
        // Read anew, since counting may have taken its time.
        let now = self.now()?;
        let window = self.config.window;
        let (mut enrolled, mut matching) = (false, Vec::new());
        for pairing in pairings {
            if verifies(pairing) {
                enrolled = true;
                matching.extend(pairing.totp().matching_step(otp, now, window).map(|step| (pairing, step)));
            }
        }
        if !enrolled {
            std::hint::black_box(self.config.decoy.matching_step(otp, now, window));
            return Ok(Verdict::Denied(DenyReason::NotEnrolled));
        }
        if matching.is_empty() {
            return Ok(Verdict::Denied(DenyReason::WrongOtp));
        }
        // Spent on every authenticator whose code it is: one secret may stand under two names.
        for (pairing, step) in &matching {
            // Long enough for any verifier that shares the store, whatever its window.
            let period = Duration::from_secs(u64::from(pairing.totp().parameters().2.get()));
            let keep_until = now.saturating_add(period.saturating_mul(2 * Window::WIDEST.steps()));
            let spend = self.store.spend_step(user, pairing.device_id(), *step, keep_until, now).await;
            if spend.map_err(TotpError::store)? == Spend::Replayed {
                return Ok(Verdict::Denied(DenyReason::ReplayedOtp));
            }
        }
        // The store may have taken its time as well, and its records do not last for ever.
        let now = self.now()?;
        let late = matching.iter().any(|(pairing, step)| window.is_past(*step, pairing.totp().step_at(now)));
        Ok(if late { Verdict::Denied(DenyReason::WrongOtp) } else { Verdict::Granted(Factor::Totp) })
    }

    async fn check_backup_code(&self, user: &UserId, enrolled: bool, otp: &Otp) -> Result<Verdict, TotpError> {
        // Asked in any case, so that being enrolled cannot be told from the time.
        let digest = if enrolled { BackupCodeDigest::of(user, otp) } else { BackupCodeDigest::decoy() };
        let redeemed = self.pairings.redeem_backup_code(user, &digest).await.map_err(TotpError::pairings)?;
        if !enrolled {
            return Ok(Verdict::Denied(DenyReason::NotEnrolled));
        }
        if !redeemed {
            return Ok(Verdict::Denied(DenyReason::WrongOtp));
        }
        // The code is gone, so it counts. Failures that cannot be forgotten now are forgotten with the next success.
        self.store.clear_failures(user).await.ok();
        Ok(Verdict::Granted(Factor::BackupCode))
    }

    fn now(&self) -> Result<Duration, TotpError> {
        (self.config.clock)()
            .duration_since(UNIX_EPOCH)
            .map_err(|error| TotpError { trouble: Trouble::Clock, source: error.into() })
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
        Self { pairings: Arc::clone(&self.pairings), store: Arc::clone(&self.store), config: Arc::clone(&self.config) }
    }
}

impl<P, S> fmt::Debug for TotpVerifier<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpVerifier")
            .field("window", &self.config.window)
            .field("throttle", &self.config.throttle)
            .finish_non_exhaustive()
    }
}

/// What became of a first code.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Confirmation {
    /// It was right, and is spent. This is the pairing to store.
    Confirmed(Pairing),
    /// It was not accepted; the pairing stays unconfirmed.
    Denied(DenyReason),
}

/// Why a [`TotpVerifier`] could not tell. The gate answers 503.
///
/// Where the store or the user table failed, its source is a [`Fault`], and the source of that is their error.
#[derive(Debug)]
pub struct TotpError {
    trouble: Trouble,
    source: BoxError,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Clock,
    Pairings,
    Store,
}

impl TotpError {
    fn pairings(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::Pairings, source: Fault::new(FaultKind::Users, error).into() }
    }

    fn store(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::Store, source: Fault::new(FaultKind::Store, error).into() }
    }

    /// Whether the clock stands before 1970.
    #[must_use]
    pub fn is_clock(&self) -> bool {
        matches!(self.trouble, Trouble::Clock)
    }

    /// Whether the application's user table failed.
    #[must_use]
    pub fn is_pairings(&self) -> bool {
        matches!(self.trouble, Trouble::Pairings)
    }

    /// Whether the store failed.
    #[must_use]
    pub fn is_store(&self) -> bool {
        matches!(self.trouble, Trouble::Store)
    }
}

impl fmt::Display for TotpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.trouble {
            Trouble::Clock => "the clock stands before 1970",
            Trouble::Pairings => "the user table could not be asked",
            Trouble::Store => "the store of failures and spent codes could not be asked",
        })
    }
}

impl std::error::Error for TotpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
