//! The recovery codes of users, which verify like one-time passwords.

use toopher_sql::{Database, SqlError, query};
use tower_toopher::UserId;
use tower_toopher::totp::{Lookup, Pairings, RecoveryCodeDigest};

/// Redeems recovery codes for the verifier. Calls look up pairings themselves, since they know more than the user's id.
pub(crate) struct RecoveryCodes(pub(crate) Database);

impl Pairings for RecoveryCodes {
    type Error = SqlError;

    async fn find(&self, _: &UserId) -> Result<Lookup, SqlError> {
        Ok(Lookup::UnknownUser)
    }

    async fn redeem_recovery_code(&self, user: &UserId, code: &RecoveryCodeDigest) -> Result<bool, SqlError> {
        // A disabled user has no factor.
        let deleted = query(
            "DELETE FROM recovery_codes WHERE user_id = $1 AND digest = $2
                AND EXISTS (SELECT 1 FROM users u WHERE u.id = recovery_codes.user_id AND u.enabled)",
        )
        .bind(user.as_str())
        .bind(&code.as_bytes()[..])
        .execute(&self.0)
        .await?;
        Ok(deleted > 0)
    }
}
