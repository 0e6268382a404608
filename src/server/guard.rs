//! One-time passwords: the crate's own verifier over this database.

use super::audit::{Audit, Outcome};
use super::error::ApiError;
use super::{Server, place};
use crate::store::{Admission, Database, query};
use crate::totp::{BackupCodeDigest, Lookup, Pairing, Pairings, Secret, Totp};
use crate::{DenyReason, Factor, Otp, UserId, Verdict};

/// The printed codes. Pairings are looked up by the calls themselves, which know more than a user's id.
pub(super) struct BackupCodes(pub(super) Database);

impl Pairings for BackupCodes {
    type Error = sqlx::Error;

    async fn find(&self, _: &UserId) -> Result<Lookup, sqlx::Error> {
        Ok(Lookup::UnknownUser)
    }

    async fn redeem_backup_code(&self, user: &UserId, code: &BackupCodeDigest) -> Result<bool, sqlx::Error> {
        let deleted = query("DELETE FROM backup_codes WHERE user_id = $1 AND digest = $2")
            .bind(user.as_str())
            .bind(&code.as_bytes()[..])
            .execute(&self.0)
            .await?;
        Ok(deleted > 0)
    }
}

/// What an OTP on a call was.
pub(super) enum OtpCheck {
    Right(Factor),
    /// With a sentence for the person who typed it.
    Wrong(&'static str),
}

impl Server {
    /// Checks an OTP of `user` against one pairing, or against all that are enabled.
    ///
    /// Callers send numbers, so zeros may be missing in front. They are put back before anything is compared or
    /// recorded: both spellings are the same code.
    ///
    /// What it is not good for is certain then; what it opens is not before that is in the database.
    pub(super) async fn check_otp(
        &self,
        user: &str,
        pairing: Option<&str>,
        otp: &str,
        audit: &mut Audit,
    ) -> Result<OtpCheck, ApiError> {
        let typed = otp.trim();
        let padded =
            if typed.len() < 6 && !typed.is_empty() && typed.bytes().all(|b| b.is_ascii_digit()) { 6 } else { 0 };
        let Ok(otp) = format!("{typed:0>padded$}").parse::<Otp>() else {
            audit.settle(Outcome::Denied("malformed_otp"));
            return Ok(OtpCheck::Wrong("That is no one-time password."));
        };
        let pairings = self.enabled_pairings(user, pairing).await?;
        let user = UserId::new(user).map_err(|error| ApiError::internal(&error))?;
        let reason = match self.verifier.verify_otp(&user, &pairings, &otp).await? {
            Verdict::Granted(factor @ (Factor::Totp | Factor::BackupCode)) => return Ok(OtpCheck::Right(factor)),
            Verdict::Denied(DenyReason::Throttled { retry_after }) => return Err(ApiError::throttled(retry_after)),
            Verdict::Denied(DenyReason::LockedOut) => return Err(ApiError::locked_out()),
            Verdict::Denied(DenyReason::ReplayedOtp) => "replayed_otp",
            Verdict::Denied(DenyReason::NotEnrolled) => "not_enrolled",
            _ => "wrong_otp",
        };
        audit.settle(Outcome::Denied(reason));
        Ok(OtpCheck::Wrong("Invalid OTP"))
    }

    /// Refuses every other way in while the user's one-time passwords are: a lock that is on one door only is none.
    pub(super) async fn refuse_if_locked(&self, user: &str) -> Result<(), ApiError> {
        let user = UserId::new(user).map_err(|error| ApiError::internal(&error))?;
        let now = std::time::Duration::from_secs(self.now()?);
        let peeked = self.guard.peek(&user, &self.throttle, now).await;
        match peeked.map_err(|error| ApiError::store(&error))? {
            Admission::Admitted => Ok(()),
            Admission::Throttled { retry_after } => Err(ApiError::throttled(retry_after)),
            Admission::LockedOut => Err(ApiError::locked_out()),
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
                // Confirmed by the phone that allowed the pairing and was given the secret for that.
                Ok(Pairing::confirmed(Totp::new(secret)).device(id))
            })
            .collect()
    }

    pub(super) fn pairing_secret(&self, id: &str, sealed: &[u8]) -> Result<Secret, ApiError> {
        let secret = self.seal().open(&place::pairing_secret(id), sealed)?;
        Secret::from_bytes(secret.as_slice()).map_err(|error| ApiError::internal(&error))
    }
}
