//! The four kinds of store as two machines have them: opened twice, each time from the beginning, on what both share.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_toopher::store::{MemoryStore, PgStore, RedisStore, SqliteStore};

/// No machine shares another one's memory: these are clones, as two gates of one process have them.
pub async fn in_memory() -> Option<[MemoryStore; 2]> {
    let store = MemoryStore::new();
    Some([store.clone(), store])
}

pub async fn in_a_sqlite_file() -> Option<[SqliteStore; 2]> {
    let file = new_file();
    Some([SqliteStore::open(&file).await.unwrap(), SqliteStore::open(&file).await.unwrap()])
}

pub async fn in_postgres() -> Option<[PgStore; 2]> {
    let server = super::postgres::shared()?;
    let database = server.database(&server.new_database());
    Some([PgStore::open(&database).await.unwrap(), PgStore::open(&database).await.unwrap()])
}

pub async fn in_redis() -> Option<[RedisStore; 2]> {
    Some(super::redis::shared()?.stores())
}

/// Where there is no database yet.
pub fn new_file() -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let name = format!("store-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    super::process::scratch(&name).join("store.sqlite")
}

/// A test of each of these functions over each kind of store: `store::function`.
macro_rules! over_all_stores {
    ($($case:ident),* $(,)?) => {
        $crate::common::stores::over_all_stores!(@ in_memory: $($case)*);
        $crate::common::stores::over_all_stores!(@ in_a_sqlite_file: $($case)*);
        $crate::common::stores::over_all_stores!(@ in_postgres: $($case)*);
        $crate::common::stores::over_all_stores!(@ in_redis: $($case)*);
    };
    (@ $store:ident: $($case:ident)*) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                if let Some(stores) = crate::common::stores::$store().await {
                    super::$case(stores).await;
                }
            })*
        }
    };
}

pub(crate) use over_all_stores;
