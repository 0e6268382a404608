//! What an administrator does: requesters, and their users.

use data_encoding::HEXLOWER;

use super::audit::{Audit, Outcome};
use super::error::ServerError;
use super::{Server, new_id, place};
use crate::oauth1::Credentials;
use crate::random;
use crate::store::{Row, query};

/// A site that may call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Requester {
    /// What the database calls it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it signs with, beside its secret.
    pub consumer_key: String,
    /// Whether its calls are refused.
    pub revoked: bool,
}

/// What people see of a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UserSummary {
    /// What the database calls them.
    pub id: String,
    /// What the requester calls them.
    pub name: String,
    /// Whether they take part.
    pub enabled: bool,
    /// How many authenticators verify for them.
    pub active_pairings: i64,
}

impl Server {
    /// Makes a requester, and the key and secret that it signs with.
    ///
    /// # Errors
    ///
    /// When the database fails, or the operating system has no random numbers.
    pub async fn create_requester(&self, name: &str) -> Result<Credentials, ServerError> {
        let random = |length: usize| {
            let mut bytes = vec![0; length];
            random::fill(&mut bytes).map(|()| HEXLOWER.encode(&bytes))
        };
        let credentials = Credentials::new(random(10)?, random(20)?)?;
        self.add_requester(name, &credentials).await?;
        Ok(credentials)
    }

    /// Makes a requester with a key and secret of one's own, or gives the one with this key another secret.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn add_requester(&self, name: &str, credentials: &Credentials) -> Result<(), ServerError> {
        let mut transaction = self.database.begin(&format!("requester {}", credentials.key())).await?;
        let id: String = query(
            "INSERT INTO requesters (id, name, consumer_key, sealed_secret, created) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (consumer_key) DO UPDATE SET name = excluded.name, revoked = FALSE RETURNING id",
        )
        .bind(new_id())
        .bind(name)
        .bind(credentials.key())
        // Until it is known for which row it is sealed.
        .bind(Vec::new())
        .bind(self.now_i64().map_err(|_| "the clock stands before 1970")?)
        .scalar(&mut transaction)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
        let sealed = self.seal().seal(&place::consumer_secret(&id), credentials.secret().as_bytes())?;
        query("UPDATE requesters SET sealed_secret = $1 WHERE id = $2")
            .bind(sealed)
            .bind(&id)
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// All requesters, by name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn requesters(&self) -> Result<Vec<Requester>, ServerError> {
        let rows = query("SELECT id, name, consumer_key, revoked FROM requesters ORDER BY name, id")
            .rows(&self.database)
            .await?;
        let requester = |row: &Row| {
            Ok::<_, sqlx::Error>(Requester {
                id: row.get("id")?,
                name: row.get("name")?,
                consumer_key: row.get("consumer_key")?,
                revoked: row.get("revoked")?,
            })
        };
        Ok(rows.iter().map(requester).collect::<Result<_, _>>()?)
    }

    /// Refuses the calls of the requester with this consumer key from now on; says whether there is one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke_requester(&self, consumer_key: &str) -> Result<bool, ServerError> {
        let revoked = query("UPDATE requesters SET revoked = TRUE WHERE consumer_key = $1").bind(consumer_key);
        Ok(revoked.execute(&self.database).await? > 0)
    }

    /// The users of the requester with this consumer key, by name.
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
            Ok::<_, sqlx::Error>(UserSummary {
                id: row.get("id")?,
                name: row.get("name")?,
                enabled: row.get("enabled")?,
                active_pairings: row.get("active")?,
            })
        };
        Ok(rows.iter().map(user).collect::<Result<_, _>>()?)
    }

    /// Deactivates all pairings of a user, who must pair again, and forgets their failures; says whether there is one.
    ///
    /// # Errors
    ///
    /// When the database fails; when the servers on it keep failures elsewhere, where they would not be forgotten; or when
    /// they cannot be forgotten now. Then the pairings are ended, and the user stays locked out until it is done again.
    pub async fn reset_user(&self, consumer_key: &str, name: &str) -> Result<bool, ServerError> {
        self.guard_is_settled().await?;
        let Some(id) = self.user_id(consumer_key, name).await? else { return Ok(false) };
        let mut audit = administered(consumer_key, name);
        let reset = self.reset(&id, &mut audit).await;
        audit.close(reset)?;
        Ok(true)
    }

    /// Sets whether a user takes part; says whether there is one. A user who does not is answered with error 704, and
    /// it is the site that decides what that means.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn enable_user(&self, consumer_key: &str, name: &str, enabled: bool) -> Result<bool, ServerError> {
        let Some(id) = self.user_id(consumer_key, name).await? else { return Ok(false) };
        let mut audit = administered(consumer_key, name);
        let set = query("UPDATE users SET enabled = $1 WHERE id = $2").bind(enabled).bind(id);
        let set = set.execute(&self.database).await.map_err(ServerError::from);
        if set.is_ok() {
            audit.settle(Outcome::of_enabling(enabled));
        }
        audit.close(set)?;
        Ok(true)
    }

    async fn user_id(&self, consumer_key: &str, name: &str) -> Result<Option<String>, sqlx::Error> {
        query(
            "SELECT u.id FROM users u JOIN requesters r ON r.id = u.requester_id WHERE r.consumer_key = $1 AND u.name = $2",
        )
        .bind(consumer_key)
        .bind(name)
        .scalar(&self.database)
        .await
    }
}

/// The audit of what an administrator does with a user that there is.
fn administered(consumer_key: &str, name: &str) -> Audit {
    Audit::of_user().by("administrator").requester(consumer_key).user(name)
}
