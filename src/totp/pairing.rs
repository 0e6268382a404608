use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::code::Totp;
use super::recovery::RecoveryCodeDigest;
use super::window::Window;
use crate::store::UsedStep;
use crate::time::UnixTime;
use crate::verify::{BoxError, DenyReason, UserId};

/// The binding of an authenticator to an account.
///
/// The verifier ignores it until it is *confirmed*: until a first code has proved that the authenticator computes the
/// same codes as the verifier. Clones share its content.
///
/// A code is used up for the *secret*: if several pairings of a user have one secret, because it was enrolled twice or
/// copied to another device, a code is accepted once for all of them, whichever of them a call passes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pairing {
    totp: Arc<Totp>,
    confirmed: bool,
}

impl Pairing {
    /// A pairing that has not been confirmed.
    pub fn unconfirmed(totp: Totp) -> Self {
        Self { totp: Arc::new(totp), confirmed: false }
    }

    /// A pairing that the application stored as confirmed.
    ///
    /// For a pairing that has not been confirmed, this skips the check that the authenticator works, and the first code
    /// is accepted twice: once by the application, and once here.
    pub fn confirmed(totp: Totp) -> Self {
        Self { confirmed: true, ..Self::unconfirmed(totp) }
    }

    /// How the codes are computed.
    pub fn totp(&self) -> &Totp {
        &self.totp
    }

    /// Whether the verifier accepts its codes.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    pub(super) fn confirm(self) -> Self {
        Self { confirmed: true, ..self }
    }

    /// A step whose code was verified. The record is kept long enough for every verifier that shares the store,
    /// whatever its window.
    pub(super) fn used_step(&self, step: u64, now: UnixTime) -> UsedStep {
        let period = Duration::from_secs(u64::from(self.totp().parameters().2.get()));
        let keep_until = now + period.saturating_mul(2 * Window::WIDEST.steps());
        UsedStep::new(Arc::clone(self.totp().id()), step, keep_until)
    }
}

/// The application's user table, as the verifier needs it.
///
/// ```
/// use tower_toopher::UserId;
/// use tower_toopher::totp::{Lookup, Pairing, Pairings, RecoveryCodeDigest, Secret, SecretError, Totp};
///
/// struct Users { /* a connection pool */ }
///
/// impl Pairings for Users {
///     type Error = SecretError; // and the database's
///
///     async fn find(&self, user: &UserId) -> Result<Lookup, SecretError> {
///         // SELECT confirmed_totp_secret FROM users WHERE id = $1
///         # let row = (user.as_str() == "alice").then_some(Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
///         Ok(match row {
///             None => Lookup::UnknownUser,
///             Some(None) => Lookup::NotEnrolled,
///             Some(Some(base32)) => Pairing::confirmed(Totp::new(Secret::from_base32(base32)?)).into(),
///         })
///     }
///
///     async fn redeem_recovery_code(&self, user: &UserId, code: &RecoveryCodeDigest) -> Result<bool, SecretError> {
///         // DELETE FROM recovery_codes WHERE user_id = $1 AND digest = $2, and whether a row was deleted
///         # let _ = (user, code);
///         Ok(false)
///     }
/// }
/// ```
pub trait Pairings: Send + Sync + 'static {
    /// The error of both methods. The layer responds with 503.
    type Error: Into<BoxError>;

    /// Finds `user` and the user's pairing.
    ///
    /// # Errors
    ///
    /// When the result is not certain. An error does not count as a failure of the user.
    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, Self::Error>> + Send;

    /// Deletes the recovery code from the unused codes of `user`, and returns whether it was one of them, **in one
    /// atomic step**: of two requests with one code, one gets `true`. An application without recovery codes returns
    /// `false`.
    ///
    /// # Errors
    ///
    /// When it is not certain that the code existed and is deleted.
    fn redeem_recovery_code(
        &self,
        user: &UserId,
        code: &RecoveryCodeDigest,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// The result of looking up a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Lookup {
    /// The user does not exist. The response is that to a wrong OTP, whatever the
    /// [`NotEnrolledPolicy`](crate::middleware::NotEnrolledPolicy) is: if the first factor identifies a user whom the
    /// table does not contain, there is an error in the application.
    UnknownUser,
    /// The user exists and has no pairing.
    NotEnrolled,
    /// The user has a pairing. An unconfirmed one is ignored.
    Enrolled(Pairing),
}

impl From<Pairing> for Lookup {
    fn from(pairing: Pairing) -> Self {
        Self::Enrolled(pairing)
    }
}

/// The outcome of [`TotpVerifier::confirm`](crate::TotpVerifier::confirm).
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Confirmation {
    /// The code was right, and is recorded as used. The application stores this pairing.
    Confirmed(Pairing),
    /// The code was not accepted. The pairing remains unconfirmed.
    Denied(DenyReason),
}

impl<T: Pairings> Pairings for Arc<T> {
    type Error = T::Error;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, T::Error>> + Send {
        T::find(self, user)
    }

    fn redeem_recovery_code(
        &self,
        user: &UserId,
        code: &RecoveryCodeDigest,
    ) -> impl Future<Output = Result<bool, T::Error>> + Send {
        T::redeem_recovery_code(self, user, code)
    }
}
