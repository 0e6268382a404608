//! Pairings with authenticators that users have already.

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::Value;
use toopher_sql::query;
use tower_toopher::totp::{Secret, Totp};

use crate::aad;
use crate::api_error::ApiError;
use crate::attempts::Limit;
use crate::audit::{Audit, Outcome};
use crate::authenticate::AuthenticatedCall;
use crate::id::new_id;
use crate::state::Server;

/// Creates a pairing with an authenticator that the user has already, from its secret in hexadecimal digits or base32.
/// No phone confirms it: the pairing only verifies codes, and the site is responsible for it. If the user has an
/// enabled pairing with this secret, it is returned.
pub(crate) async fn upgrade(State(server): State<Server>, call: AuthenticatedCall) -> Result<Json<Value>, ApiError> {
    let text = call.params.require(&["secret"])?;
    let secret = match HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        Ok(bytes) => Secret::from_bytes(bytes),
        Err(_) => Secret::from_base32(text),
    };
    let secret = secret
        .map_err(|_| ApiError::bad_request("The secret must be hexadecimal or base32, and have at least 128 bits."))?;
    let mut audit = call.audit(Audit::for_pairing().decided_by("site"));
    let paired = async {
        let user = server.named_user(&call).await?;
        audit.user = Some(user.name().to_owned());
        let id = server.pairing_with_secret(&user.user_id, &secret, &mut audit).await?;
        server.pairing_response(&call.requester_id, &id).await
    };
    let paired = paired.await;
    audit.close(paired)
}

impl Server {
    /// The enabled pairing of the user with this secret, which is created if there is none. A pairing that was
    /// deactivated stays deactivated; codes that were used with it stay used, because they are recorded for the secret.
    async fn pairing_with_secret(&self, user: &str, secret: &Secret, audit: &mut Audit) -> Result<String, ApiError> {
        self.count_attempt(&Limit::on_pairings(user)).await?;
        let (new, now) = (new_id(), self.now_i64()?);
        let enabled = query(
            "SELECT id, sealed_secret FROM pairings WHERE user_id = $1 AND state = 'enabled' ORDER BY created, id",
        )
        .bind(user);
        let insert = query(
            "INSERT INTO pairings (id, user_id, state, sealed_secret, created, modified)
             VALUES ($1, $2, 'enabled', $3, $4, $4)",
        )
        .bind(&new)
        .bind(user)
        .bind(self.sealing_key().encrypt(&aad::pairing_secret(&new), secret.as_bytes())?)
        .bind(now);
        let (server, totp) = (self.clone(), Totp::new(secret.clone()));
        // Transactions of a user are serialized, so of concurrent calls, one creates the pairing.
        let existing = self.transaction_for_user(user, |connection| {
            Box::pin(async move {
                for (id, sealed) in enabled.all::<(String, Vec<u8>)>(&mut *connection).await? {
                    if Totp::new(server.pairing_secret(&id, &sealed)?).has_same_codes(&totp) {
                        return Ok(Some(id));
                    }
                }
                insert.execute(connection).await?;
                Ok::<_, ApiError>(None)
            })
        });
        let existing = existing.await?;
        audit.settle(if existing.is_none() { Some(Outcome::Paired) } else { None });
        let id = existing.unwrap_or(new);
        audit.pairing = Some(id.clone());
        Ok(id)
    }
}
