//! No two users, and no two devices of one, are one to a store, whatever the application calls them.
#![allow(clippy::unwrap_used)]

mod common;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tower_toopher::UserId;
use tower_toopher::store::{Admission, MemoryStore, PgStore, RedisStore, Spend, SqliteStore, Store, Throttle};
use tower_toopher::test_util::block_on;
use tower_toopher::test_util::conformance::{NOW, s};

/// Few letters, so that many names are parts of others; what means something to a database or in a key; and anything.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[aA\\x00 :{}'\"%_]{0,4}", "(a|\u{e9}|e\u{301}|\u{ff41}|\u{0}){0,3}", ".{0,30}", "a{500,512}",]
}

fn names() -> impl Strategy<Value = Vec<(String, String)>> {
    let all = prop::collection::hash_set((name(), name()), 2..20);
    all.prop_map(|names| names.into_iter().filter(|(user, _)| UserId::new(user.as_str()).is_ok()).collect())
}

/// Each spends one step, of its own, and failures are one's own too.
fn told_apart<S: Store>(store: &S, names: &[(String, String)]) -> TestCaseResult
where
    S::Error: std::fmt::Debug,
{
    let spend = |(user, device): &(String, String)| {
        let user = UserId::new(user.as_str()).unwrap();
        block_on(store.spend_step(&user, device, 10, s(NOW + 1000), s(NOW))).unwrap()
    };
    for name in names {
        prop_assert_eq!(spend(name), Spend::Fresh, "{:?}", name);
    }
    for name in names {
        prop_assert_eq!(spend(name), Spend::Replayed, "{:?}", name);
    }
    let strict = Throttle::new(1, s(1), s(1), 1).unwrap();
    let mut users: Vec<_> = names.iter().map(|(user, _)| UserId::new(user.as_str()).unwrap()).collect();
    users.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    users.dedup();
    for expected in [Admission::Admitted, Admission::LockedOut] {
        for user in &users {
            prop_assert_eq!(block_on(store.count_attempt(user, &strict, s(NOW))).unwrap(), expected, "{}", user);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn in_memory(names in names()) {
        told_apart(&MemoryStore::new(), &names)?;
    }

    #[test]
    fn in_sqlite(names in names()) {
        told_apart(&block_on(SqliteStore::in_memory()).unwrap(), &names)?;
    }

    #[test]
    fn in_redis(names in names()) {
        let Some(store) = redis() else { return Ok(()) };
        told_apart(&store, &names)?;
    }
}

proptest! {
    // A database for each.
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn in_postgres(names in names()) {
        let Some(store) = postgres() else { return Ok(()) };
        told_apart(&store, &names)?;
    }
}

fn redis() -> Option<RedisStore> {
    common::redis::shared().map(common::redis::Redis::store)
}

fn postgres() -> Option<PgStore> {
    let server = common::postgres::shared()?;
    Some(block_on(PgStore::open(&server.database(&server.new_database()))).unwrap())
}
