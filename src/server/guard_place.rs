//! Where the guard state is: the same place for all servers on one database, which says where.

use super::Server;
use super::error::ServerError;
use crate::store::query;

impl Server {
    /// Keeps failures and spent codes in Redis, in place of the database: for all servers on one database, or for none of
    /// them. [`settle_guard`](Self::settle_guard) sees to that.
    ///
    /// Everything else, and the nonces of signed calls, stays in the database.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn guard_in_redis(mut self, store: crate::store::RedisStore) -> Self {
        self.guard = super::guard_state::GuardState::in_redis(store);
        self.verifier = self.verifier.store(self.guard.clone());
        self
    }

    /// Looks whether Redis, if failures and spent codes are kept there, can be reached and forgets nothing.
    ///
    /// # Errors
    ///
    /// When it is not so.
    pub async fn check_guard(&self) -> Result<(), ServerError> {
        Ok(self.guard.check().await?)
    }

    /// Looks whether failures and spent codes can be kept where this server keeps them, and has the database say that it
    /// is there, if it does not say anything yet. Call it before the router is served: of two servers that keep them in
    /// two places, each would let the same code pass.
    ///
    /// # Errors
    ///
    /// When the other servers on this database keep them elsewhere; when Redis, if it is there, cannot be reached or would
    /// forget; or when the database fails.
    pub async fn settle_guard(&self) -> Result<(), ServerError> {
        self.check_guard().await?;
        query("INSERT INTO guard_place (id, place) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
            .bind(self.guard.place())
            .execute(&self.database)
            .await?;
        self.guard_is_settled().await
    }

    /// Has the database say that failures and spent codes are where this server keeps them, whatever it said before.
    ///
    /// They are not taken along: who was locked out is not any more, and a code that was spent passes again while it is
    /// good. So no server may run, nor start before three minutes are over.
    ///
    /// # Errors
    ///
    /// When Redis, if it is there, cannot be reached or would forget; or when the database fails.
    pub async fn move_guard(&self) -> Result<(), ServerError> {
        self.check_guard().await?;
        query(
            "INSERT INTO guard_place (id, place) VALUES (1, $1)
             ON CONFLICT (id) DO UPDATE SET place = excluded.place",
        )
        .bind(self.guard.place())
        .execute(&self.database)
        .await?;
        Ok(())
    }

    /// Refuses where the database names another place. While it names none, no server has been started.
    pub(super) async fn guard_is_settled(&self) -> Result<(), ServerError> {
        let place: Option<String> = query("SELECT place FROM guard_place").scalar(&self.database).await?;
        match place {
            Some(place) if place != self.guard.place() => Err(ServerError::elsewhere(&place, self.guard.place())),
            _ => Ok(()),
        }
    }
}
