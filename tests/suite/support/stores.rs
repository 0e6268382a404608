//! The four kinds of store, each opened twice on the same data, as on two machines.
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_toopher::store::MemoryStore;
#[cfg(feature = "postgres")]
use tower_toopher::store::PgStore;
#[cfg(feature = "redis")]
use tower_toopher::store::RedisStore;
#[cfg(feature = "sqlite")]
use tower_toopher::store::SqliteStore;

#[cfg(feature = "postgres")]
use super::servers::PgDatabases;
#[cfg(feature = "redis")]
use super::servers::RedisStores;

/// Machines share no memory: these are clones, as in two services of one process.
pub async fn in_memory() -> Option<[MemoryStore; 2]> {
    let store = MemoryStore::new();
    Some([store.clone(), store])
}

#[cfg(feature = "sqlite")]
pub async fn in_a_sqlite_file() -> Option<[SqliteStore; 2]> {
    let file = new_file();
    Some([SqliteStore::open(&file).await.unwrap(), SqliteStore::open(&file).await.unwrap()])
}

#[cfg(feature = "postgres")]
pub async fn in_postgres() -> Option<[PgStore; 2]> {
    let server = test_support::postgres::shared()?;
    let database = server.database(&server.new_database());
    Some([PgStore::open(&database).await.unwrap(), PgStore::open(&database).await.unwrap()])
}

#[cfg(feature = "redis")]
pub async fn in_redis() -> Option<[RedisStore; 2]> {
    Some(test_support::redis::shared()?.stores())
}

/// A path without a database.
pub fn new_file() -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let name = format!("store-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    test_support::process::scratch(&name).join("store.sqlite")
}

/// A test of each of these functions over each kind of store: `store::function`.
macro_rules! over_all_stores {
    ($($case:ident),* $(,)?) => {
        $crate::support::stores::over_all_stores!(@ in_memory: $($case)*);
        #[cfg(feature = "sqlite")]
        $crate::support::stores::over_all_stores!(@ in_a_sqlite_file: $($case)*);
        #[cfg(feature = "postgres")]
        $crate::support::stores::over_all_stores!(@ in_postgres: $($case)*);
        #[cfg(feature = "redis")]
        $crate::support::stores::over_all_stores!(@ in_redis: $($case)*);
    };
    (@ $store:ident: $($case:ident)*) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                if let Some(stores) = crate::support::stores::$store().await {
                    super::$case(stores).await;
                }
            })*
        }
    };
}

pub(crate) use over_all_stores;
