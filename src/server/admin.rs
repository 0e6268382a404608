//! What an administrator does: requesters, and their users.

use data_encoding::HEXLOWER;
use sqlx::Row;

use super::error::ServerError;
use super::{Server, new_id, place};
use crate::oauth1::Credentials;
use crate::random;

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
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await?;
        let id: String = sqlx::query(
            "INSERT INTO requesters (id, name, consumer_key, sealed_secret, created) VALUES (?, ?, ?, x'', ?)
             ON CONFLICT (consumer_key) DO UPDATE SET name = excluded.name, revoked = 0 RETURNING id",
        )
        .bind(new_id())
        .bind(name)
        .bind(credentials.key())
        .bind(self.now_i64().map_err(|_| "the clock stands before 1970")?)
        .fetch_one(&mut *transaction)
        .await?
        .try_get("id")?;
        let sealed = self.seal().seal(&place::consumer_secret(&id), credentials.secret().as_bytes())?;
        sqlx::query("UPDATE requesters SET sealed_secret = ? WHERE id = ?")
            .bind(sealed)
            .bind(&id)
            .execute(&mut *transaction)
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
        let rows = sqlx::query("SELECT id, name, consumer_key, revoked FROM requesters ORDER BY name, id")
            .fetch_all(self.pool())
            .await?;
        let requester = |row: &sqlx::sqlite::SqliteRow| {
            Ok::<_, sqlx::Error>(Requester {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                consumer_key: row.try_get("consumer_key")?,
                revoked: row.try_get("revoked")?,
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
        let revoked = sqlx::query("UPDATE requesters SET revoked = 1 WHERE consumer_key = ?").bind(consumer_key);
        Ok(revoked.execute(self.pool()).await?.rows_affected() > 0)
    }

    /// The users of the requester with this consumer key, by name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn users(&self, consumer_key: &str) -> Result<Vec<UserSummary>, ServerError> {
        let rows = sqlx::query(
            "SELECT u.id, u.name, u.enabled,
                (SELECT count(*) FROM pairings p WHERE p.user_id = u.id AND p.state = 'enabled') AS active
             FROM users u JOIN requesters r ON r.id = u.requester_id WHERE r.consumer_key = ? ORDER BY u.name",
        )
        .bind(consumer_key)
        .fetch_all(self.pool())
        .await?;
        let user = |row: &sqlx::sqlite::SqliteRow| {
            Ok::<_, sqlx::Error>(UserSummary {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                enabled: row.try_get("enabled")?,
                active_pairings: row.try_get("active")?,
            })
        };
        Ok(rows.iter().map(user).collect::<Result<_, _>>()?)
    }

    /// Deactivates all pairings of a user, who must pair again, and forgets their failures; says whether there is one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn reset_user(&self, consumer_key: &str, name: &str) -> Result<bool, ServerError> {
        let Some(id) = self.user_id(consumer_key, name).await? else { return Ok(false) };
        self.reset(&id).await?;
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
        sqlx::query("UPDATE users SET enabled = ? WHERE id = ?").bind(enabled).bind(id).execute(self.pool()).await?;
        Ok(true)
    }

    async fn user_id(&self, consumer_key: &str, name: &str) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT u.id FROM users u JOIN requesters r ON r.id = u.requester_id WHERE r.consumer_key = ? AND u.name = ?",
        )
        .bind(consumer_key)
        .bind(name)
        .fetch_optional(self.pool())
        .await
    }
}
