//! The location of the failure store, which is stored in the database: all servers on it must use the same one.

use toopher_sql::query;
use tower_toopher::store::InspectStore;

use crate::error::ServerError;
use crate::state::Server;

impl Server {
    /// Stores failures and used codes in Redis instead of the database. All servers on one database must use the same
    /// store, which [`claim_failure_store`](Self::claim_failure_store) checks.
    ///
    /// All other data, and the nonces of signed calls, stay in the database.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn failure_store_in_redis(mut self, store: tower_toopher::store::RedisStore) -> Self {
        self.failure_store = crate::failure_store::FailureStore::in_redis(store);
        self.verifier = self.verifier.store((*self.failure_store).clone());
        self
    }

    /// Checks that the failure store can be reached and evicts nothing, if it is in Redis.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or may evict records.
    pub async fn check_failure_store(&self) -> Result<(), ServerError> {
        Ok(self.failure_store.check().await?)
    }

    /// Checks the failure store, and stores its location in the database unless there is one already. Call it before
    /// the router is served: two servers with different failure stores would each accept the same code.
    ///
    /// # Errors
    ///
    /// When the other servers on this database use another failure store; when the store is in Redis, and cannot be
    /// reached or may evict records; or when the database fails.
    pub async fn claim_failure_store(&self) -> Result<(), ServerError> {
        self.check_failure_store().await?;
        query("INSERT INTO failure_store_location (id, location) VALUES (1, $1) ON CONFLICT (id) DO NOTHING")
            .bind(self.failure_store.location())
            .execute(&self.database)
            .await?;
        self.failure_store_is_claimed().await
    }

    /// Stores the location of this server's failure store in the database, and replaces the previous one.
    ///
    /// Failures and used codes are not copied: locked users are unlocked, and a used code is accepted again while it
    /// is valid. So stop all servers before the call, and start none within three minutes after it.
    ///
    /// # Errors
    ///
    /// When the store is in Redis, and cannot be reached or may evict records; or when the database fails.
    pub async fn migrate_failure_store(&self) -> Result<(), ServerError> {
        self.check_failure_store().await?;
        query(
            "INSERT INTO failure_store_location (id, location) VALUES (1, $1)
             ON CONFLICT (id) DO UPDATE SET location = excluded.location",
        )
        .bind(self.failure_store.location())
        .execute(&self.database)
        .await?;
        Ok(())
    }

    /// Returns an error if the database contains another location. It contains none until the first server starts.
    pub(crate) async fn failure_store_is_claimed(&self) -> Result<(), ServerError> {
        let ours = self.failure_store.location();
        let location: Option<String> =
            query("SELECT location FROM failure_store_location").scalar(&self.database).await?;
        match location {
            Some(theirs) if theirs != ours => Err(ServerError::other_location(&theirs, ours)),
            _ => Ok(()),
        }
    }
}
