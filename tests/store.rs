//! The stores: one suite for all of them, and what is the memory store's own.
#![allow(clippy::unwrap_used)]

mod common;

use tower_toopher::store::{
    Admission, BeginPush, FoundPush, MemoryStore, NewPush, PgStore, PushStore, Spend, SqlStore, SqliteStore, Store,
    StoreFull, Throttle,
};
use tower_toopher::test_util::conformance::{NOW, admit, s, spend, user};
use tower_toopher::test_util::{block_on as run, push_store_conformance, pushes, store_conformance};

store_conformance!(memory, MemoryStore::new);
store_conformance!(memory_behind_an_arc, || std::sync::Arc::new(MemoryStore::new()));
store_conformance!(sqlite_in_memory, || run(SqliteStore::in_memory()).unwrap());
store_conformance!(sqlite_in_a_file, file);
push_store_conformance!(pushes_in_memory, MemoryStore::new);
push_store_conformance!(pushes_in_memory_behind_an_arc, || std::sync::Arc::new(MemoryStore::new()));
push_store_conformance!(pushes_in_sqlite, || run(SqliteStore::in_memory()).unwrap());
push_store_conformance!(pushes_in_a_file, file);
store_conformance!(postgres, postgres);
push_store_conformance!(pushes_in_postgres, postgres);

/// A database for each test.
fn postgres() -> Option<PgStore> {
    let server = common::postgres::shared()?;
    let database = server.database(&server.new_database());
    Some(run(PgStore::open(&database)).unwrap())
}

fn file() -> SqliteStore {
    // A new file for each test, in the folder that is cleared with the build.
    let name = format!("store-{}-{:?}.sqlite", std::process::id(), std::thread::current().id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace(['(', ')'], ""));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    run(SqliteStore::open(path)).unwrap()
}

/// What strangers leave behind goes, and what still matters stays.
fn sweeps<D: 'static>(store: &SqlStore<D>) {
    let day = 24 * 3600;
    let sweep = |now| run(store.remove_what_is_over(s(now))).unwrap();
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    for (name, failures) in [("one", 1), ("four", 4), ("five", 5)] {
        for _ in 0..failures {
            assert_eq!(admit(store, name, NOW), Admission::Admitted);
        }
    }
    let strict = Throttle::new(1, s(1), s(1), 1).unwrap();
    assert_eq!(run(store.count_attempt(&user("locked"), &strict, s(NOW))).unwrap(), Admission::Admitted);
    for name in ["asked", "waiting"] {
        assert_eq!(pushes::begin(store, name, &NewPush::new(pushes::ticket(1), [7; 32]), NOW), BeginPush::Begun);
    }
    assert!(pushes::keep(store, "waiting", 1, NOW + 32 * day));
    assert_eq!(sweep(NOW + 999), 0);
    assert_eq!(spend(store, "alice", "", 10, NOW + 999), Spend::Replayed);
    assert_eq!(sweep(NOW + day), 1, "the step");
    assert_eq!(sweep(NOW + 30 * day), 0);
    assert_eq!(sweep(NOW + 30 * day + 1), 3, "one, four, and who was asked");
    assert_eq!(pushes::redeem(store, "waiting", 1, NOW + 31 * day), FoundPush::Open);
    assert_eq!(sweep(NOW + 365 * day), 0);
    assert_eq!(sweep(NOW + 365 * day + 1), 1, "five");
    assert_eq!(sweep(NOW + 10_000 * day), 0);
    assert_eq!(admit(store, "locked", NOW + 10_000 * day), Admission::LockedOut);
}

#[test]
fn what_is_over_is_removed_from_a_file() {
    sweeps(&file());
}

#[test]
fn what_is_over_is_removed_from_postgres() {
    if let Some(store) = postgres() {
        sweeps(&store);
    }
}

store_conformance!(memory_of_one_shard, || MemoryStore::bounded(100));

#[test]
fn a_flood_of_names_neither_grows_the_store_nor_lifts_a_lock() {
    let store = MemoryStore::bounded(10_000);
    for _ in 0..5 {
        let _ = admit(&store, "locked", NOW);
    }
    for i in 0..100_000 {
        assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Admitted, "{i}");
    }
    assert!(store.users_with_failures() <= 10_000);
    assert_eq!(admit(&store, "locked", NOW), Admission::Throttled { retry_after: s(30) });
    // Someone with no part in it logs in.
    assert_eq!(admit(&store, "innocent", NOW), Admission::Admitted);
    assert_eq!(spend(&store, "innocent", "", 10, NOW), Spend::Fresh);
}

#[test]
fn when_all_are_locked_the_door_closes_and_the_locks_stay() {
    let store = MemoryStore::bounded(100);
    for i in 0..100 {
        for _ in 0..5 {
            assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Admitted);
        }
    }
    let newcomer = run(store.count_attempt(&user("newcomer"), &Throttle::default(), s(NOW)));
    assert!(newcomer.is_err_and(|error: StoreFull| error.to_string().contains("full")));
    for i in 0..100 {
        assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Throttled { retry_after: s(30) });
    }
    // When the waits are over there is room again.
    assert_eq!(admit(&store, "newcomer", NOW + 30), Admission::Admitted);
}

#[test]
fn lock_outs_are_kept_even_when_their_year_is_over() {
    let store = MemoryStore::bounded(10);
    for i in 0..100 {
        let _ = admit(&store, "locked out", NOW + i * 3600);
    }
    for i in 0..1000 {
        let _ = admit(&store, &format!("name {i}"), NOW + 10 * 365 * 24 * 3600);
    }
    assert_eq!(admit(&store, "locked out", NOW + 10 * 365 * 24 * 3600), Admission::LockedOut);
}

#[test]
fn spent_steps_are_reclaimed_when_they_are_over_and_never_before() {
    let store = MemoryStore::bounded(100);
    for i in 0..100 {
        assert_eq!(spend(&store, &format!("user {i}"), "", 10, NOW), Spend::Fresh);
    }
    let another = |now| run(store.spend_step(&user("another"), "", 10, s(now + 1000), s(now)));
    assert!(another(NOW).is_err());
    assert_eq!(spend(&store, "user 7", "", 10, NOW), Spend::Replayed);
    assert!(another(NOW + 999).is_err());
    assert_eq!(another(NOW + 1000), Ok(Spend::Fresh));
    assert_eq!(store.spent_steps(), 1);
}

/// Approvals that are waited for, and counts of them, are never forgotten early; when they are over there is room.
#[test]
fn a_store_full_of_pushes_closes_the_door() {
    let store = MemoryStore::bounded(100);
    let new = |number| NewPush::new(pushes::ticket(number), [7; 32]);
    for i in 0..100 {
        assert_eq!(pushes::begin(&store, &format!("user {i}"), &new(1), NOW), BeginPush::Begun);
        assert!(pushes::keep(&store, &format!("user {i}"), 1, NOW + 120));
    }
    let another = |now| run(store.begin_push(&user("another"), &new(1), &Throttle::default(), s(now)));
    assert!(another(NOW).is_err() && another(NOW + 1000).is_err());
    assert_eq!(pushes::redeem(&store, "user 7", 1, NOW), FoundPush::Open);
    assert_eq!(another(NOW), Ok(BeginPush::Begun));
    assert_eq!(pushes::begin(&store, "user 7", &new(1), NOW + 31 * 24 * 3600), BeginPush::Begun);
}

#[test]
fn debug_tells_nothing_of_the_users() {
    let store = MemoryStore::new();
    let _ = admit(&store, "alice", NOW);
    assert!(!format!("{store:?}").contains("alice"));
}

/// H8: wherever a verb is dropped, its transaction ends with it. One that stays open locks everybody out.
#[test]
fn who_hangs_up_keeps_nobody_out() {
    for store in [run(SqliteStore::in_memory()).unwrap(), file()] {
        run(async {
            for polls in 0..6000 {
                let alice = user("alice");
                let mut verb = Box::pin(store.spend_step(&alice, "", polls, s(NOW), s(NOW)));
                for _ in 0..polls % 97 {
                    if futures_util::poll!(&mut verb).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(verb);
                // Sooner or later in the midst of each step.
                if polls % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(store.spend_step(&user("bob"), "", 1, s(NOW), s(NOW)).await.unwrap(), Spend::Fresh);
        });
    }
}
