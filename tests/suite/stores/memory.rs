//! The store in memory: the conformance suites, its bounds, and what it reclaims.
use tower_toopher::store::{
    Admission, ApprovalStore, BeginOutcome, FindOutcome, MemoryStore, NewApproval, StepOutcome, Store, StoreFull,
    Throttle, UsedStep,
};
use tower_toopher::test_util::conformance::{NOW, admit, record, secs, time, user};
use tower_toopher::test_util::{approval_store_conformance, approvals, block_on as run, store_conformance};

store_conformance!(memory, MemoryStore::new);
store_conformance!(memory_behind_an_arc, || std::sync::Arc::new(MemoryStore::new()));
approval_store_conformance!(approvals_in_memory, MemoryStore::new);
approval_store_conformance!(approvals_in_memory_behind_an_arc, || std::sync::Arc::new(MemoryStore::new()));
store_conformance!(memory_of_one_shard, || MemoryStore::with_capacity(100));

#[test]
fn a_flood_of_names_neither_grows_the_store_nor_lifts_a_lock() {
    let store = MemoryStore::with_capacity(10_000);
    for _ in 0..5 {
        let _ = admit(&store, "locked", NOW);
    }
    for i in 0..100_000 {
        assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Admitted, "{i}");
    }
    assert!(store.failure_count() <= 10_000);
    assert_eq!(admit(&store, "locked", NOW), Admission::Throttled { retry_after: secs(30) });
    // An unrelated user logs in.
    assert_eq!(admit(&store, "innocent", NOW), Admission::Admitted);
    assert_eq!(record(&store, "innocent", "", 10, NOW), StepOutcome::Fresh);
}

#[test]
fn when_all_users_are_locked_the_store_is_full_and_the_locks_stay() {
    let store = MemoryStore::with_capacity(100);
    for i in 0..100 {
        for _ in 0..5 {
            assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Admitted);
        }
    }
    let newcomer = run(store.count_attempt(&user("newcomer"), &Throttle::default(), time(NOW)));
    assert!(newcomer.is_err_and(|error: StoreFull| error.to_string().contains("full")));
    for i in 0..100 {
        assert_eq!(admit(&store, &format!("name {i}"), NOW), Admission::Throttled { retry_after: secs(30) });
    }
    // After the delays, entries can be deleted.
    assert_eq!(admit(&store, "newcomer", NOW + 30), Admission::Admitted);
}

#[test]
fn lock_outs_are_kept_even_after_a_year() {
    let store = MemoryStore::with_capacity(10);
    for i in 0..100 {
        let _ = admit(&store, "locked out", NOW + i * 3600);
    }
    for i in 0..1000 {
        let _ = admit(&store, &format!("name {i}"), NOW + 10 * 365 * 24 * 3600);
    }
    assert_eq!(admit(&store, "locked out", NOW + 10 * 365 * 24 * 3600), Admission::LockedOut);
}

#[test]
fn used_steps_are_reclaimed_after_their_end_and_never_before() {
    let store = MemoryStore::with_capacity(100);
    for i in 0..100 {
        assert_eq!(record(&store, &format!("user {i}"), "", 10, NOW), StepOutcome::Fresh);
    }
    let another = |now| run(store.record_step(&user("another"), &UsedStep::new("", 10, time(now + 1000)), time(now)));
    assert!(another(NOW).is_err());
    assert_eq!(record(&store, "user 7", "", 10, NOW), StepOutcome::Replayed);
    assert!(another(NOW + 999).is_err());
    assert_eq!(another(NOW + 1000), Ok(StepOutcome::Fresh));
    assert_eq!(store.used_step_count(), 1);
}

/// Pending approvals and their counts are never deleted early. Expired ones make room.
#[test]
fn a_store_full_of_approvals_refuses_more() {
    let store = MemoryStore::with_capacity(100);
    let new = |number| NewApproval::new(approvals::key(number), [7; 32]);
    for i in 0..100 {
        assert_eq!(approvals::begin(&store, &format!("user {i}"), &new(1), NOW), BeginOutcome::Begun);
        assert!(approvals::set_id(&store, &format!("user {i}"), 1, NOW + 120));
    }
    let another = |now| run(store.begin_approval(&user("another"), &new(1), &Throttle::default(), time(now)));
    assert!(another(NOW).is_err() && another(NOW + 1000).is_err());
    assert_eq!(approvals::redeem(&store, "user 7", 1, NOW), FindOutcome::Found);
    assert_eq!(another(NOW), Ok(BeginOutcome::Begun));
    assert_eq!(approvals::begin(&store, "user 7", &new(1), NOW + 31 * 24 * 3600), BeginOutcome::Begun);
}

#[test]
fn debug_shows_no_users() {
    let store = MemoryStore::new();
    let _ = admit(&store, "alice", NOW);
    assert!(!format!("{store:?}").contains("alice"));
}
