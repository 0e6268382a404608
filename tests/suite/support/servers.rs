//! Stores on the servers that tests start.

#[cfg(feature = "redis")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use test_support::postgres::Postgres;
#[cfg(feature = "redis")]
use test_support::redis::Redis;
#[cfg(feature = "redis")]
use test_support::resp::Fake;
#[cfg(feature = "postgres")]
use tower_toopher::store::PgDatabase;
#[cfg(feature = "redis")]
use tower_toopher::store::RedisStore;

#[cfg(feature = "redis")]
pub trait RedisStores {
    /// A store with a key prefix that no other test uses.
    fn store(&self) -> RedisStore;
    /// Stores with the same keys and connections of their own, as on several machines.
    fn stores<const N: usize>(&self) -> [RedisStore; N];
}

#[cfg(feature = "redis")]
impl RedisStores for Redis {
    fn store(&self) -> RedisStore {
        let [store] = self.stores();
        store
    }

    fn stores<const N: usize>(&self) -> [RedisStore; N] {
        let prefix = Self::new_prefix();
        // Other tests may keep the machine busy.
        let open = |_| RedisStore::new(&self.url()).unwrap().prefix(&prefix).unwrap().deadline(Duration::from_secs(30));
        std::array::from_fn(open)
    }
}

#[cfg(feature = "redis")]
pub trait FakeStore {
    /// A store at the fake server, with a deadline in milliseconds.
    fn store(&self, deadline: u64) -> RedisStore;
}

#[cfg(feature = "redis")]
impl FakeStore for Fake {
    fn store(&self, deadline: u64) -> RedisStore {
        RedisStore::new(&self.url).unwrap().deadline(Duration::from_millis(deadline))
    }
}

#[cfg(feature = "postgres")]
pub trait PgDatabases {
    fn database(&self, name: &str) -> PgDatabase;
}

#[cfg(feature = "postgres")]
impl PgDatabases for Postgres {
    fn database(&self, name: &str) -> PgDatabase {
        PgDatabase::new(&self.socket_url(name)).unwrap()
    }
}
