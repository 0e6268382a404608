//! Verification of one-time passwords, by the verifier of `tower-toopher` over this database.

use toopher_sql::{Executor, Record, Row, SqlError, query};
use tower_toopher::store::{Admission, InspectStore};
use tower_toopher::totp::{Pairing, Secret, Totp};
use tower_toopher::verify::OtpKind;
use tower_toopher::{DenyReason, Factor, Otp, UserId, Verdict};

use crate::aad;
use crate::api_error::ApiError;
use crate::audit::{Audit, Outcome};
use crate::state::Server;

/// The result of the verification of an OTP.
pub(crate) enum OtpCheck {
    Right(Factor),
    Wrong {
        /// In audit events.
        reason: &'static str,
        /// A sentence for the user.
        message: &'static str,
    },
}

impl OtpCheck {
    /// Records a denial in `audit`.
    pub(crate) fn describe_denial(&self, audit: &mut Audit) {
        if let Self::Wrong { reason, .. } = self {
            audit.settle(Outcome::Denied(reason));
        }
    }
}

/// The secret of an enabled pairing, encrypted.
pub(crate) struct SealedSecret {
    pub(crate) pairing: String,
    pub(crate) sealed: Vec<u8>,
}

impl Record for SealedSecret {
    fn from_row(row: &Row) -> Result<Self, SqlError> {
        Ok(Self { pairing: row.get("id")?, sealed: row.get("sealed_secret")? })
    }
}

/// The secrets of one pairing of `user`, or of all, if they are enabled. A disabled user has none.
pub(crate) async fn enabled_secrets<'a>(
    on: impl Into<Executor<'a>>,
    user: &str,
    pairing: Option<&str>,
) -> Result<Vec<SealedSecret>, SqlError> {
    let secrets = query(
        "SELECT p.id, p.sealed_secret FROM pairings p JOIN users u ON u.id = p.user_id
         WHERE p.user_id = $1 AND u.enabled AND p.state = 'enabled' AND ($2 IS NULL OR p.id = $2)
         ORDER BY p.created, p.id",
    );
    secrets.bind(user).bind(pairing).all(on).await
}

impl Server {
    /// Verifies an OTP with the pairings that are enabled now: see [`check_otp`](Self::check_otp).
    pub(crate) async fn check_current_otp(
        &self,
        user: &str,
        pairing: Option<&str>,
        otp: &str,
    ) -> Result<OtpCheck, ApiError> {
        let secrets = enabled_secrets(&self.database, user, pairing).await?;
        self.check_otp(user, pairing, &secrets, otp).await
    }

    /// Verifies an OTP of `user` with one pairing, or with all enabled pairings and the recovery codes, for which the
    /// user needs no pairing. `secrets` are those of the pairings. `user` may also be the key of a user who does not
    /// exist: the attempt is counted, and as much is computed.
    ///
    /// Malformed text is wrong for every user. It is no attempt, and leaves no trace.
    ///
    /// Some clients send the OTP as a number, without leading zeros. They are restored before the OTP is compared or
    /// recorded, so that both spellings are the same code.
    ///
    /// The caller records the decision in the audit: a grant after it is in the database.
    pub(crate) async fn check_otp(
        &self,
        user: &str,
        pairing: Option<&str>,
        secrets: &[SealedSecret],
        otp: &str,
    ) -> Result<OtpCheck, ApiError> {
        let typed = otp.trim();
        let padded =
            if typed.len() < 6 && !typed.is_empty() && typed.bytes().all(|b| b.is_ascii_digit()) { 6 } else { 0 };
        let Ok(otp) = format!("{typed:0>padded$}").parse::<Otp>() else {
            return Ok(OtpCheck::Wrong { reason: "malformed_otp", message: "This is not a one-time password." });
        };
        let pairings: Vec<Pairing> =
            secrets.iter().map(|secret| self.open_pairing(secret)).collect::<Result<_, _>>()?;
        let user = UserId::new(user).map_err(|error| ApiError::internal(&error))?;
        let verdict = if pairing.is_none() && otp.kind() == OtpKind::RecoveryCode {
            self.verifier.verify_recovery_code(&user, &otp).await?
        } else {
            self.verifier.verify_otp(&user, &pairings, &otp).await?
        };
        let reason = match verdict {
            Verdict::Granted(factor @ (Factor::Totp | Factor::RecoveryCode)) => return Ok(OtpCheck::Right(factor)),
            Verdict::Denied(DenyReason::Throttled { retry_after }) => return Err(ApiError::throttled(retry_after)),
            Verdict::Denied(DenyReason::LockedOut) => return Err(ApiError::locked_out()),
            Verdict::Denied(DenyReason::ReplayedOtp) => "replayed_otp",
            Verdict::Denied(DenyReason::NotEnrolled) => "not_enrolled",
            _ => "wrong_otp",
        };
        Ok(OtpCheck::Wrong { reason, message: "Invalid OTP" })
    }

    /// Rejects other factors while the user's OTPs are throttled or locked out: otherwise a lock would have no effect.
    pub(crate) async fn reject_if_locked(&self, user: &str) -> Result<(), ApiError> {
        let user = UserId::new(user).map_err(|error| ApiError::internal(&error))?;
        let admission = self.failure_store.peek(&user, &self.throttle, self.now()?).await;
        match admission.map_err(|error| ApiError::store(&error))? {
            Admission::Admitted => Ok(()),
            Admission::Throttled { retry_after } => Err(ApiError::throttled(retry_after)),
            Admission::LockedOut => Err(ApiError::locked_out()),
            _ => Err(ApiError::store(&"the failure store returned an unknown admission")),
        }
    }

    fn open_pairing(&self, secret: &SealedSecret) -> Result<Pairing, ApiError> {
        // Confirmed: the phone that allowed the pairing has received the secret.
        Ok(Pairing::confirmed(Totp::new(self.pairing_secret(&secret.pairing, &secret.sealed)?)))
    }

    pub(crate) fn pairing_secret(&self, id: &str, sealed: &[u8]) -> Result<Secret, ApiError> {
        let secret = self.sealing_key().decrypt(&aad::pairing_secret(id), sealed)?;
        Secret::from_bytes(secret.as_slice()).map_err(|error| ApiError::internal(&error))
    }
}
