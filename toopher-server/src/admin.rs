//! Administration: requesters, and their users.

use data_encoding::HEXLOWER;
use toopher_oauth1::Credentials;
use toopher_sql::{Row, SqlError, query};
use zeroize::Zeroizing;

use crate::aad;
use crate::audit::{Audit, Outcome};
use crate::error::ServerError;
use crate::id::new_id;
use crate::state::Server;

/// The maximum length of a requester's name in bytes.
const MAX_REQUESTER_NAME: usize = 200;

/// A relying party: a site that may call the API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Requester {
    /// The id in the database.
    pub id: String,
    /// The name, which phones show.
    pub name: String,
    /// The consumer key, which calls are signed with, together with the secret.
    pub consumer_key: String,
    /// Whether its calls are rejected.
    pub revoked: bool,
}

/// A user of a requester.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserSummary {
    /// The id in the database.
    pub id: String,
    /// The name that the requester uses.
    pub name: String,
    /// Whether the second factor is enabled for the user.
    pub enabled: bool,
    /// The number of enabled pairings.
    pub active_pairings: i64,
}

impl Server {
    /// Creates a requester with a random key and secret.
    ///
    /// # Errors
    ///
    /// As [`add_requester`](Self::add_requester), and when the operating system provides no random numbers.
    pub async fn create_requester(&self, name: &str) -> Result<Credentials, ServerError> {
        let random = |length: usize| {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes).map(|()| HEXLOWER.encode(&bytes))
        };
        let credentials = Credentials::new(random(10)?, random(20)?)?;
        self.add_requester(name, &credentials).await?;
        Ok(credentials)
    }

    /// Creates a requester with this key and secret. If there is one with this key, replaces its name and secret.
    ///
    /// # Errors
    ///
    /// When the name is blank, has more than 200 bytes, or contains a NUL, and when the database fails.
    pub async fn add_requester(&self, name: &str, credentials: &Credentials) -> Result<(), ServerError> {
        if name.trim().is_empty() || name.len() > MAX_REQUESTER_NAME || name.contains('\0') {
            return Err("the name of a requester has 1 to 200 bytes without NUL".into());
        }
        let insert = query(
            "INSERT INTO requesters (id, name, consumer_key, sealed_secret, created) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (consumer_key) DO UPDATE SET name = excluded.name, revoked = FALSE RETURNING id",
        )
        .bind(new_id())
        .bind(name)
        .bind(credentials.key())
        // The id, which is part of the associated data, is only known after the insertion.
        .bind(Vec::new())
        .bind(self.admin_now()?);
        let (server, secret) = (self.clone(), Zeroizing::new(credentials.secret().to_owned()));
        let added = self.database.transaction(format!("requester {}", credentials.key()), |connection| {
            Box::pin(async move {
                let id: Option<String> = insert.scalar(&mut *connection).await?;
                let id = id.ok_or("the database did not return the id of the requester")?;
                let sealed = server.sealing_key().encrypt(&aad::consumer_secret(&id), secret.as_bytes())?;
                let update = query("UPDATE requesters SET sealed_secret = $1 WHERE id = $2").bind(sealed).bind(&id);
                update.execute(connection).await?;
                Ok::<_, ServerError>(())
            })
        });
        added.await
    }

    /// Returns all requesters, ordered by name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn requesters(&self) -> Result<Vec<Requester>, ServerError> {
        let rows = query("SELECT id, name, consumer_key, revoked FROM requesters ORDER BY name, id")
            .rows(&self.database)
            .await?;
        let requester = |row: &Row| {
            Ok::<_, SqlError>(Requester {
                id: row.get("id")?,
                name: row.get("name")?,
                consumer_key: row.get("consumer_key")?,
                revoked: row.get("revoked")?,
            })
        };
        Ok(rows.iter().map(requester).collect::<Result<_, _>>()?)
    }

    /// Rejects all further calls of the requester with this consumer key. Returns whether there is one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke_requester(&self, consumer_key: &str) -> Result<bool, ServerError> {
        let revoked = query("UPDATE requesters SET revoked = TRUE WHERE consumer_key = $1").bind(consumer_key);
        Ok(revoked.execute(&self.database).await? > 0)
    }

    /// Returns the users of the requester with this consumer key, ordered by name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn users(&self, consumer_key: &str) -> Result<Vec<UserSummary>, ServerError> {
        let rows = query(
            "SELECT u.id, u.name, u.enabled,
                (SELECT count(*) FROM pairings p WHERE p.user_id = u.id AND p.state = 'enabled') AS active
             FROM users u JOIN requesters r ON r.id = u.requester_id WHERE r.consumer_key = $1 ORDER BY u.name",
        )
        .bind(consumer_key)
        .rows(&self.database)
        .await?;
        let user = |row: &Row| {
            Ok::<_, SqlError>(UserSummary {
                id: row.get("id")?,
                name: row.get("name")?,
                enabled: row.get("enabled")?,
                active_pairings: row.get("active")?,
            })
        };
        Ok(rows.iter().map(user).collect::<Result<_, _>>()?)
    }

    /// Deactivates all pairings of a user, who must pair again, and clears the user's failures. Returns whether there
    /// is such a user.
    ///
    /// # Errors
    ///
    /// When the database fails; when the servers on it use another failure store than this one; or when the failure
    /// store fails. In the last case the pairings are deactivated, and the user stays locked out until the call is
    /// repeated.
    pub async fn reset_user(&self, consumer_key: &str, name: &str) -> Result<bool, ServerError> {
        self.failure_store_is_claimed().await?;
        let Some(id) = self.user_id(consumer_key, name).await? else { return Ok(false) };
        let mut audit = administrator_audit(consumer_key, name);
        let reset = self.reset(&id, &mut audit).await;
        audit.close(reset)?;
        Ok(true)
    }

    /// Enables or disables the second factor of a user. Returns whether there is such a user.
    ///
    /// Requests for a disabled user get error 704, and the requester decides how to proceed.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn enable_user(&self, consumer_key: &str, name: &str, enabled: bool) -> Result<bool, ServerError> {
        let Some(id) = self.user_id(consumer_key, name).await? else { return Ok(false) };
        let mut audit = administrator_audit(consumer_key, name);
        let set = query("UPDATE users SET enabled = $1 WHERE id = $2").bind(enabled).bind(id);
        let set = set.execute(&self.database).await.map_err(ServerError::from);
        if set.is_ok() {
            audit.settle(Outcome::from_enabled(enabled));
        }
        audit.close(set)?;
        Ok(true)
    }

    async fn user_id(&self, consumer_key: &str, name: &str) -> Result<Option<String>, SqlError> {
        query(
            "SELECT u.id FROM users u JOIN requesters r ON r.id = u.requester_id
             WHERE r.consumer_key = $1 AND u.name = $2",
        )
        .bind(consumer_key)
        .bind(name)
        .scalar(&self.database)
        .await
    }
}

/// The audit of an administrator's decision about a user.
fn administrator_audit(consumer_key: &str, name: &str) -> Audit {
    Audit::for_user().decided_by("administrator").requester(consumer_key).user(name)
}
