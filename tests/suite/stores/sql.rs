//! The stores in SQLite and PostgreSQL: the conformance suites, what they delete, and cancelled operations.
#[cfg(feature = "postgres")]
use tower_toopher::store::PgStore;
use tower_toopher::store::{Admission, BeginOutcome, FindOutcome, NewApproval, SqlStore, StepOutcome, Store, Throttle};
#[cfg(feature = "sqlite")]
use tower_toopher::store::{SqliteStore, UsedStep};
use tower_toopher::test_util::conformance::{NOW, admit, record, secs, time, user};
use tower_toopher::test_util::{approval_store_conformance, approvals, block_on as run, store_conformance};

#[cfg(feature = "sqlite")]
store_conformance!(sqlite_in_memory, || run(SqliteStore::in_memory()).unwrap());
#[cfg(feature = "sqlite")]
store_conformance!(sqlite_in_a_file, file);
#[cfg(feature = "sqlite")]
approval_store_conformance!(approvals_in_sqlite, || run(SqliteStore::in_memory()).unwrap());
#[cfg(feature = "sqlite")]
approval_store_conformance!(approvals_in_a_file, file);
#[cfg(feature = "postgres")]
store_conformance!(postgres, postgres);
#[cfg(feature = "postgres")]
approval_store_conformance!(approvals_in_postgres, postgres);

/// A database for each test.
#[cfg(feature = "postgres")]
fn postgres() -> Option<PgStore> {
    use crate::support::servers::PgDatabases;

    let server = test_support::postgres::shared()?;
    let database = server.database(&server.new_database());
    Some(run(PgStore::open(&database)).unwrap())
}

/// A new file for each test.
#[cfg(feature = "sqlite")]
fn file() -> SqliteStore {
    run(SqliteStore::open(crate::support::stores::new_file())).unwrap()
}

/// Expired rows of invented names are deleted, and all other rows remain.
fn sweeps<D: 'static>(store: &SqlStore<D>) {
    let day = 24 * 3600;
    let sweep = |now| run(store.delete_expired(time(now))).unwrap();
    assert_eq!(record(store, "alice", "", 10, NOW), StepOutcome::Fresh);
    for (name, failures) in [("one", 1), ("four", 4), ("five", 5)] {
        for _ in 0..failures {
            assert_eq!(admit(store, name, NOW), Admission::Admitted);
        }
    }
    let strict = Throttle::new(1, secs(1), secs(1), 1).unwrap();
    assert_eq!(run(store.count_attempt(&user("locked"), &strict, time(NOW))).unwrap(), Admission::Admitted);
    for name in ["asked", "waiting"] {
        assert_eq!(
            approvals::begin(store, name, &NewApproval::new(approvals::key(1), [7; 32]), NOW),
            BeginOutcome::Begun
        );
    }
    assert!(approvals::set_id(store, "waiting", 1, NOW + 32 * day));
    assert_eq!(sweep(NOW + 999), 0);
    assert_eq!(record(store, "alice", "", 10, NOW + 999), StepOutcome::Replayed);
    assert_eq!(sweep(NOW + day), 1, "the step");
    assert_eq!(sweep(NOW + 30 * day), 0);
    assert_eq!(sweep(NOW + 30 * day + 1), 3, "one, four, and who was asked");
    assert_eq!(approvals::redeem(store, "waiting", 1, NOW + 31 * day), FindOutcome::Found);
    assert_eq!(sweep(NOW + 365 * day), 0);
    assert_eq!(sweep(NOW + 365 * day + 1), 1, "five");
    assert_eq!(sweep(NOW + 10_000 * day), 0);
    assert_eq!(admit(store, "locked", NOW + 10_000 * day), Admission::LockedOut);
}

#[cfg(feature = "sqlite")]
#[test]
fn expired_rows_are_deleted_from_a_file() {
    sweeps(&file());
}

#[cfg(feature = "postgres")]
#[test]
fn expired_rows_are_deleted_from_postgres() {
    if let Some(store) = postgres() {
        sweeps(&store);
    }
}

/// H8: wherever an operation is dropped, its transaction ends with it. A transaction that stays open locks all users
/// out.
#[cfg(feature = "sqlite")]
#[test]
fn a_cancelled_operation_ends_its_transaction() {
    for store in [run(SqliteStore::in_memory()).unwrap(), file()] {
        run(async {
            for polls in 0..6000 {
                let (alice, used) = (user("alice"), UsedStep::new("", polls, time(NOW)));
                let mut operation = Box::pin(store.record_step(&alice, &used, time(NOW)));
                for _ in 0..polls % 97 {
                    if futures_util::poll!(&mut operation).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(operation);
                // Sooner or later within each step.
                if polls % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(
                store.record_step(&user("bob"), &UsedStep::new("", 1, time(NOW)), time(NOW)).await.unwrap(),
                StepOutcome::Fresh
            );
        });
    }
}
