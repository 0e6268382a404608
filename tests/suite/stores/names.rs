//! A store keeps all users and all devices distinct, whatever their names contain.
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tower_toopher::UserId;
use tower_toopher::store::{Admission, MemoryStore, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::test_util::block_on;
use tower_toopher::test_util::conformance::{NOW, secs, time};

/// Few letters, so that many names are parts of others; characters with a meaning in a database or a key; and any text.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[aA\\x00 :{}'\"%_]{0,4}", "(a|\u{e9}|e\u{301}|\u{ff41}|\u{0}){0,3}", ".{0,30}", "a{500,512}",]
}

fn names() -> impl Strategy<Value = Vec<(String, String)>> {
    let all = prop::collection::hash_set((name(), name()), 2..20);
    all.prop_map(|names| names.into_iter().filter(|(user, _)| UserId::new(user.as_str()).is_ok()).collect())
}

/// Each user and device uses a step, and each user has failures, independent of the others.
fn are_distinct<S: Store>(store: &S, names: &[(String, String)]) -> TestCaseResult
where
    S::Error: std::fmt::Debug,
{
    let record = |(user, device): &(String, String)| {
        let user = UserId::new(user.as_str()).unwrap();
        block_on(store.record_step(&user, &UsedStep::new(device.as_str(), 10, time(NOW + 1000)), time(NOW))).unwrap()
    };
    for name in names {
        prop_assert_eq!(record(name), StepOutcome::Fresh, "{:?}", name);
    }
    for name in names {
        prop_assert_eq!(record(name), StepOutcome::Replayed, "{:?}", name);
    }
    let strict = Throttle::new(1, secs(1), secs(1), 1).unwrap();
    let mut users: Vec<_> = names.iter().map(|(user, _)| UserId::new(user.as_str()).unwrap()).collect();
    users.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    users.dedup();
    for expected in [Admission::Admitted, Admission::LockedOut] {
        for user in &users {
            prop_assert_eq!(block_on(store.count_attempt(user, &strict, time(NOW))).unwrap(), expected, "{}", user);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn in_memory(names in names()) {
        are_distinct(&MemoryStore::new(), &names)?;
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn in_sqlite(names in names()) {
        are_distinct(&block_on(tower_toopher::store::SqliteStore::in_memory()).unwrap(), &names)?;
    }

    #[cfg(feature = "redis")]
    #[test]
    fn in_redis(names in names()) {
        use crate::support::servers::RedisStores;

        let Some(server) = test_support::redis::shared() else { return Ok(()) };
        are_distinct(&server.store(), &names)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    // Each case creates a database.
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn in_postgres(names in names()) {
        use crate::support::servers::PgDatabases;

        let Some(server) = test_support::postgres::shared() else { return Ok(()) };
        let database = server.database(&server.new_database());
        are_distinct(&block_on(tower_toopher::store::PgStore::open(&database)).unwrap(), &names)?;
    }
}
