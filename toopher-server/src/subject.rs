//! The user whom an authentication request names. There may be no such user, or a user without a factor.

use data_encoding::HEXLOWER;
use toopher_sql::{SqlError, query};

use crate::api_error::ApiError;
use crate::audit::Audit;
use crate::authenticate::AuthenticatedCall;
use crate::crypto::keyed_digest;
use crate::models::User;
use crate::otp::{SealedSecret, enabled_secrets};
use crate::pairings::find_pairing;
use crate::state::Server;
use crate::users::find_user;

/// The user of a call.
pub(crate) struct Subject {
    /// The key of the failures: the id of the user, or a digest of the name (or of the id of the pairing) if there is
    /// no such user. So the failures of a name that does not exist are counted without a user row. A user who is
    /// created later begins without failures: no attempt before could have succeeded.
    pub(crate) key: String,
    /// The pairing that the call names. Only its codes are accepted.
    pub(crate) pairing: Option<String>,
    /// The secrets of that pairing, or of all enabled pairings of the user.
    pub(crate) secrets: Vec<SealedSecret>,
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
        let requester = call.requester_id.as_str();
        let name = call.params.get_not_empty(&["user_name"])?;
        match (call.params.get(&["pairing_id"])?, name) {
            (Some(id), name) => self.subject_of_pairing(requester, id, name, audit).await,
            (None, Some(name)) => self.subject_named(requester, name, audit).await,
            (None, None) => Err(ApiError::MISSING_PARAMETER),
        }
    }

    async fn subject_of_pairing(
        &self,
        requester: &str,
        id: &str,
        name: Option<&str>,
        audit: &mut Audit,
    ) -> Result<Subject, ApiError> {
        let key_of_none = self.key_of_none("pairing", requester, id)?;
        let (requester, pairing_id) = (requester.to_owned(), id.to_owned());
        let found = self.database.read(move |connection| {
            Box::pin(async move {
                let pairing = find_pairing(&mut *connection, &requester, &pairing_id).await?;
                let key = pairing.as_ref().map_or(key_of_none, |pairing| pairing.user.user_id.clone());
                let secrets = enabled_secrets(connection, &key, Some(&pairing_id)).await?;
                Ok::<_, SqlError>((pairing, key, secrets))
            })
        });
        let (pairing, key, secrets) = found.await?;
        let subject = |enrolled| Subject { key, pairing: Some(id.to_owned()), secrets, enrolled };
        let Some(pairing) = pairing else { return Ok(subject(Err(ApiError::NO_PAIRING))) };
        audit.user = Some(pairing.user.name().to_owned());
        audit.pairing = Some(id.to_owned());
        // The site may rely on either the name or the id, so they must agree.
        if name.is_some_and(|name| name != pairing.user.name()) {
            return Err(ApiError::bad_request("The pairing belongs to another user."));
        }
        Ok(subject(match pairing.pairing_state.as_str() {
            _ if !pairing.user.user_enabled => Err(ApiError::USER_DISABLED),
            "enabled" => Ok(Enrolled { user: pairing.user, pairing: Some(id.to_owned()), device: pairing.device_id }),
            "deactivated" => Err(ApiError::DEACTIVATED),
            _ => Err(ApiError::NOT_AUTHORIZED),
        }))
    }

    async fn subject_named(&self, requester: &str, name: &str, audit: &mut Audit) -> Result<Subject, ApiError> {
        audit.user = Some(name.to_owned());
        let key_of_none = self.key_of_none("user", requester, name)?;
        let (requester, name) = (requester.to_owned(), name.to_owned());
        let found = self.database.read(move |connection| {
            Box::pin(async move {
                let user = find_user(&mut *connection, &requester, &name).await?;
                let key = user.as_ref().map_or(key_of_none, |user| user.user_id.clone());
                let pairings = query(
                    "SELECT id, device_id, state, sealed_secret FROM pairings
                     WHERE user_id = $1 AND state IN ('enabled', 'deactivated')
                     ORDER BY CASE WHEN device_id IS NULL THEN 1 ELSE 0 END, created DESC, id",
                );
                let pairings = pairings.bind(&key).rows(connection).await?;
                Ok::<_, SqlError>((user, key, pairings))
            })
        });
        let (user, key, pairings) = found.await?;
        let (mut newest, mut secrets, mut deactivated) = (None, Vec::new(), false);
        for row in &pairings {
            if row.get::<String>("state")? == "deactivated" {
                deactivated = true;
                continue;
            }
            secrets.push(row.read()?);
            if newest.is_none() {
                newest = Some((row.get("id")?, row.get("device_id")?));
            }
        }
        let enrolled = match (user, newest) {
            (None, _) => Err(ApiError::NO_USER),
            (Some(user), _) if !user.user_enabled => Err(ApiError::USER_DISABLED),
            (Some(user), Some((pairing, device))) => Ok(Enrolled { user, pairing: Some(pairing), device }),
            (Some(user), None) if user.has_recovery_codes() => Ok(Enrolled { user, pairing: None, device: None }),
            (Some(_), None) if deactivated => Err(ApiError::DEACTIVATED),
            (Some(_), None) => Err(ApiError::NO_USER.with_reason("not_enrolled")),
        };
        if enrolled.is_err() {
            secrets.clear();
        }
        Ok(Subject { key, pairing: None, secrets, enrolled })
    }

    /// The key of the failures of a user or a pairing that does not exist. It is no id of a row. A reader of the
    /// failure store does not learn the name, which may be a password that was typed into the wrong field.
    pub(crate) fn key_of_none(&self, kind: &str, requester: &str, name: &str) -> Result<String, ApiError> {
        let digest = keyed_digest(&self.shared.digest_key, &format!("failures of no {kind} of {requester}: {name}"))?;
        Ok(format!("no {kind} {}", HEXLOWER.encode(&digest)))
    }
}
