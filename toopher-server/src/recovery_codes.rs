//! The recovery codes of users, which verify like one-time passwords.

use toopher_sql::{Database, Query, SqlError, query};
use tower_toopher::UserId;
use tower_toopher::totp::{Lookup, Pairings, RecoveryCode, RecoveryCodeDigest};
use tower_toopher::verify::OtpKind;
use zeroize::Zeroizing;

use crate::api_error::ApiError;

/// Ten new recovery codes of a user, a line each, and the statements that replace the previous ones, for one
/// transaction of the user. They end with `pairing`, if it is the site that ends it: an attacker who had paired a phone
/// must not keep them.
pub(crate) fn new_recovery_codes(
    user: &str,
    pairing: Option<&str>,
) -> Result<(Zeroizing<String>, Vec<Query>), ApiError> {
    let id = UserId::new(user).map_err(|error| ApiError::internal(&error))?;
    let codes = RecoveryCode::generate()?;
    let mut statements = vec![query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user)];
    statements.extend(codes.iter().map(|code| {
        let insert = query("INSERT INTO recovery_codes (user_id, digest, pairing_id) VALUES ($1, $2, $3)");
        insert.bind(user).bind(&code.digest(&id).as_bytes()[..]).bind(pairing)
    }));
    let lines = codes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Ok((Zeroizing::new(lines), statements))
}

/// Whether this text has the form of a recovery code, which that of a phone's code has not.
pub(crate) fn is_recovery_code(text: &str) -> bool {
    text.trim().parse::<tower_toopher::Otp>().is_ok_and(|otp| otp.kind() == OtpKind::RecoveryCode)
}

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
