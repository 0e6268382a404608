//! The store of failures and used codes: the database or Redis, chosen when the server is opened.

use std::ops::Deref;
use std::sync::Arc;

use toopher_sql::Database;
#[cfg(feature = "redis")]
use tower_toopher::store::RedisStore;
use tower_toopher::store::{DynStore, SqlStore, Sqlite};

/// The failure store of a server. Clones share it.
#[derive(Clone)]
pub(crate) struct FailureStore {
    store: DynStore,
    location: Arc<str>,
}

impl FailureStore {
    pub(crate) fn in_database(database: Database) -> Self {
        // The kind only matters for opening a database.
        let store = SqlStore::<Sqlite>::from_database(database);
        Self { store: DynStore::new(store), location: "the database".into() }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn in_redis(store: RedisStore) -> Self {
        Self { location: store.location().into(), store: DynStore::new(store) }
    }

    /// The same text for all servers that share this store.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }
}

impl Deref for FailureStore {
    type Target = DynStore;

    fn deref(&self) -> &DynStore {
        &self.store
    }
}
