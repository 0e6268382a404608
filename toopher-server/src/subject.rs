//! The user whom an authentication request names. There may be no such user, or a user without a factor.

use data_encoding::HEXLOWER;
use toopher_sql::query;

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::authenticate::AuthenticatedCall;
use crate::crypto::keyed_digest;
use crate::models::User;
use crate::state::Server;

/// The user of a call.
pub(crate) struct Subject {
    /// The key of the failures: the id of the user, or a digest of the name (or of the id of the pairing) if there is
    /// no such user. So the failures of a name that does not exist are counted without a user row. A user who is
    /// created later begins without failures: no attempt before could have succeeded.
    pub(crate) key: String,
    /// The pairing that the call names. Only its codes are accepted.
    pub(crate) pairing: Option<String>,
    /// The user, or the error for a user without a factor.
    pub(crate) enrolled: Result<Enrolled, ApiError>,
}

/// A user with a factor.
pub(crate) struct Enrolled {
    pub(crate) user: User,
    /// The pairing of a request without an OTP: the one that the call names, or the newest one with a phone, or the
    /// newest one without. `None` if the user has only recovery codes.
    pub(crate) pairing: Option<String>,
    /// The phone of the pairing. An authenticator without a phone has none.
    pub(crate) device: Option<String>,
}

impl Server {
    /// Looks up the user of a call, and creates none. Unknown users cost as many statements as known ones.
    pub(crate) async fn subject(&self, call: &AuthenticatedCall, audit: &mut Audit) -> Result<Subject, ApiError> {
        let name = call.params.get_not_empty(&["user_name"])?;
        match call.params.get(&["pairing_id"])? {
            Some(id) => self.subject_of_pairing(&call.requester_id, id, name, audit).await,
            None => self.subject_named(&call.requester_id, call.params.require(&["user_name"])?, audit).await,
        }
    }

    async fn subject_of_pairing(
        &self,
        requester: &str,
        id: &str,
        name: Option<&str>,
        audit: &mut Audit,
    ) -> Result<Subject, ApiError> {
        let Some(pairing) = self.pairing(requester, id).await? else {
            let key = self.key_of_none("pairing", requester, id)?;
            return Ok(Subject { key, pairing: Some(id.to_owned()), enrolled: Err(ApiError::NO_PAIRING) });
        };
        audit.user = Some(pairing.user.name().to_owned());
        audit.pairing = Some(id.to_owned());
        // The site may rely on either the name or the id, so they must agree.
        if name.is_some_and(|name| name != pairing.user.name()) {
            return Err(ApiError::bad_request("The pairing belongs to another user."));
        }
        let (key, pairing_id) = (pairing.user.user_id.clone(), Some(id.to_owned()));
        let enrolled = match pairing.pairing_state.as_str() {
            _ if !pairing.user.user_enabled => Err(ApiError::USER_DISABLED),
            "enabled" => Ok(Enrolled { user: pairing.user, pairing: pairing_id.clone(), device: pairing.device_id }),
            "deactivated" => Err(ApiError::DEACTIVATED),
            _ => Err(ApiError::NOT_AUTHORIZED),
        };
        Ok(Subject { key, pairing: pairing_id, enrolled })
    }

    async fn subject_named(&self, requester: &str, name: &str, audit: &mut Audit) -> Result<Subject, ApiError> {
        audit.user = Some(name.to_owned());
        let user = self.find_user(requester, name).await?;
        let key = match &user {
            Some(user) => user.user_id.clone(),
            None => self.key_of_none("user", requester, name)?,
        };
        let rows = query(
            "SELECT id, device_id, state FROM pairings WHERE user_id = $1 AND state IN ('enabled', 'deactivated')
             ORDER BY CASE WHEN device_id IS NULL THEN 1 ELSE 0 END, created DESC, id",
        );
        let rows = rows.bind(&key).rows(&self.database).await?;
        let (mut enabled, mut deactivated) = (None, false);
        for row in &rows {
            match row.get::<String>("state")?.as_str() {
                "enabled" if enabled.is_none() => enabled = Some((row.get("id")?, row.get("device_id")?)),
                "deactivated" => deactivated = true,
                _ => {}
            }
        }
        let enrolled = match (user, enabled) {
            (None, _) => Err(ApiError::NO_USER),
            (Some(user), _) if !user.user_enabled => Err(ApiError::USER_DISABLED),
            (Some(user), Some((pairing, device))) => Ok(Enrolled { user, pairing: Some(pairing), device }),
            (Some(user), None) if user.has_recovery_codes() => Ok(Enrolled { user, pairing: None, device: None }),
            (Some(_), None) if deactivated => Err(ApiError::DEACTIVATED),
            (Some(_), None) => Err(ApiError::NO_USER.with_reason("not_enrolled")),
        };
        Ok(Subject { key, pairing: None, enrolled })
    }

    /// The key of the failures of a user or a pairing that does not exist. It is no id of a row. A reader of the
    /// failure store does not learn the name, which may be a password that was typed into the wrong field.
    pub(crate) fn key_of_none(&self, kind: &str, requester: &str, name: &str) -> Result<String, ApiError> {
        let digest = keyed_digest(&self.shared.digest_key, &format!("failures of no {kind} of {requester}: {name}"))?;
        Ok(format!("no {kind} {}", HEXLOWER.encode(&digest)))
    }
}
