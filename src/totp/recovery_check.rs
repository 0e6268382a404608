//! The verification of recovery codes.

use super::error::TotpError;
use super::pairing::{Pairing, Pairings};
use super::recovery::RecoveryCodeDigest;
use super::verifier::{Outcome, TotpVerifier};
use crate::store::{Records, Store};
use crate::verify::{DenyReason, Factor, Otp, OtpKind, UserId, Verdict};

impl<P: Pairings, S: Store> TotpVerifier<P, S> {
    /// Verifies a recovery code of a user who may have no authenticator, for applications that give such users printed
    /// codes. Digits are a wrong OTP. It counts as one attempt, as [`verify_otp`](Self::verify_otp) does, which accepts
    /// the recovery codes of users with an authenticator alone.
    ///
    /// # Errors
    ///
    /// [`TotpError`] when the OTP could not be verified.
    pub async fn verify_recovery_code(&self, user: &UserId, otp: &Otp) -> Result<Verdict, TotpError> {
        if let Some(reason) = self.count_attempt(user).await? {
            return Ok(Verdict::Denied(reason));
        }
        let checked = match otp.kind() {
            OtpKind::RecoveryCode => self.redeem(user, &RecoveryCodeDigest::new(user, otp)).await,
            OtpKind::Digits => self.check_decoy_now(otp),
        };
        let outcome = self.release_if_failed(user, checked).await?;
        Ok(outcome.map_or_else(Verdict::Denied, Verdict::Granted))
    }

    fn check_decoy_now(&self, otp: &Otp) -> Result<Outcome, TotpError> {
        self.check_decoy(otp, self.shared.config.clock.now()?);
        Ok(Err(DenyReason::WrongOtp))
    }

    pub(super) async fn check_recovery_code(
        &self,
        user: &UserId,
        pairings: &[Pairing],
        otp: &Otp,
    ) -> Result<Outcome, TotpError> {
        if pairings.iter().any(Pairing::is_confirmed) {
            return self.redeem(user, &RecoveryCodeDigest::new(user, otp)).await;
        }
        // Redeemed in any case, so that the response time does not show whether the user is enrolled.
        let decoy = self.shared.pairings.redeem_recovery_code(user, &RecoveryCodeDigest::DECOY).await;
        decoy.map_err(TotpError::users)?;
        Ok(Err(DenyReason::NotEnrolled))
    }

    async fn redeem(&self, user: &UserId, digest: &RecoveryCodeDigest) -> Result<Outcome, TotpError> {
        if !self.shared.pairings.redeem_recovery_code(user, digest).await.map_err(TotpError::users)? {
            return Ok(Err(DenyReason::WrongOtp));
        }
        // The code is used up, so it is a success. If the deletion fails, the next success deletes the records.
        self.shared.store.clear(user, Records::FailuresAndApprovals).await.ok();
        Ok(Ok(Factor::RecoveryCode))
    }
}
