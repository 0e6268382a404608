//! Verification of one-time passwords, by the verifier of `tower-toopher` over this database.

use toopher_sql::query;
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

impl Server {
    /// Verifies an OTP of `user` with one pairing, or with all enabled pairings and the recovery codes, for which the
    /// user needs no pairing. `user` may also be the key of a user who does not exist: the attempt is counted, and as
    /// much is computed.
    ///
    /// Malformed text is wrong for every user. It is no attempt, and leaves no trace.
    ///
    /// Some clients send the OTP as a number, without leading zeros. They are restored before the OTP is compared or
    /// recorded, so that both spellings are the same code.
    ///
    /// The caller records the decision in the audit: a grant after it is in the database.
    pub(crate) async fn check_otp(&self, user: &str, pairing: Option<&str>, otp: &str) -> Result<OtpCheck, ApiError> {
        let typed = otp.trim();
        let padded =
            if typed.len() < 6 && !typed.is_empty() && typed.bytes().all(|b| b.is_ascii_digit()) { 6 } else { 0 };
        let Ok(otp) = format!("{typed:0>padded$}").parse::<Otp>() else {
            return Ok(OtpCheck::Wrong { reason: "malformed_otp", message: "This is not a one-time password." });
        };
        let pairings = self.enabled_pairings(user, pairing).await?;
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

    async fn enabled_pairings(&self, user: &str, pairing: Option<&str>) -> Result<Vec<Pairing>, ApiError> {
        let rows = query(
            "SELECT p.id, p.sealed_secret FROM pairings p JOIN users u ON u.id = p.user_id
             WHERE p.user_id = $1 AND u.enabled AND p.state = 'enabled' AND ($2 IS NULL OR p.id = $2)
             ORDER BY p.created, p.id",
        )
        .bind(user)
        .bind(pairing)
        .rows(&self.database)
        .await?;
        rows.iter()
            .map(|row| {
                let id: String = row.get("id")?;
                let secret = self.pairing_secret(&id, &row.get::<Vec<u8>>("sealed_secret")?)?;
                // Confirmed: the phone that allowed the pairing has received the secret.
                Ok(Pairing::confirmed(Totp::new(secret)))
            })
            .collect()
    }

    pub(crate) fn pairing_secret(&self, id: &str, sealed: &[u8]) -> Result<Secret, ApiError> {
        let secret = self.sealing_key().decrypt(&aad::pairing_secret(id), sealed)?;
        Secret::from_bytes(secret.as_slice()).map_err(|error| ApiError::internal(&error))
    }
}
