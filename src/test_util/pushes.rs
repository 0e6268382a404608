//! What every store of pushes must keep.

use std::time::Duration;

use super::block_on as run;
use super::conformance::{NOW, admit, clear, s, spend, throttled, user};
use super::races::{at_once, race_after};
use crate::store::{
    Admission, AskedPush, BeginPush, FoundPush, NewPush, PushBudget, PushEnd, PushStore, Spend, Store, Throttle, Ticket,
};
use crate::{ApprovalId, BoxError};

#[must_use]
pub fn ticket(number: u8) -> Ticket {
    Ticket::from_bytes([number; 16])
}

fn new(number: u8) -> NewPush {
    NewPush::new(ticket(number), [7; 32])
}

fn id(text: &str) -> ApprovalId {
    ApprovalId::new(text).unwrap()
}

/// The push of [`ticket`], as [`keep`] has it remembered.
#[must_use]
pub fn asked(number: u8) -> AskedPush {
    AskedPush::new(ticket(number), [7; 32], id("question"))
}

fn ok<T, E: Into<BoxError>>(result: Result<T, E>) -> T {
    result.map_err(Into::into).unwrap()
}

pub fn begin<S: PushStore>(store: &S, name: &str, push: &NewPush, now: u64) -> BeginPush {
    ok(run(store.begin_push(&user(name), push, &Throttle::default(), s(now))))
}

pub fn keep<S: PushStore>(store: &S, name: &str, number: u8, until: u64) -> bool {
    ok(run(store.keep_push(&user(name), ticket(number), &id("question"), s(until))))
}

fn find<S: PushStore>(store: &S, name: &str, number: u8, now: u64) -> FoundPush {
    ok(run(store.find_push(&user(name), &asked(number), &Throttle::default(), s(now))))
}

pub fn redeem<S: PushStore>(store: &S, name: &str, number: u8, now: u64) -> FoundPush {
    ok(run(store.redeem_push(&user(name), &asked(number), &Throttle::default(), s(now))))
}

fn end<S: PushStore>(store: &S, name: &str, number: u8, how: PushEnd) {
    ok(run(store.end_push(&user(name), ticket(number), how)));
}

/// Begun and asked, to be waited for until two minutes from `now`.
fn open<S: PushStore>(store: &S, name: &str, number: u8, now: u64) {
    assert_eq!(begin(store, name, &new(number), now), BeginPush::Begun);
    assert!(keep(store, name, number, now + 120));
}

pub fn it_is_redeemed_once<S: PushStore + Store>(store: &S) {
    assert_eq!(redeem(store, "alice", 1, NOW), FoundPush::Unknown);
    open(store, "alice", 1, NOW);
    assert_eq!(find(store, "alice", 1, NOW), FoundPush::Open);
    for (name, number) in [("alice", 2), ("bob", 1), ("Alice", 1)] {
        assert_eq!(redeem(store, name, number, NOW), FoundPush::Unknown);
    }
    // Nor for another request, or under another name of the verifier's: whoever makes up a challenge opens nothing.
    for push in [AskedPush { about: [8; 32], ..asked(1) }, AskedPush { id: id("another"), ..asked(1) }] {
        assert_eq!(ok(run(store.find_push(&user("alice"), &push, &Throttle::default(), s(NOW)))), FoundPush::Unknown);
        assert_eq!(ok(run(store.redeem_push(&user("alice"), &push, &Throttle::default(), s(NOW)))), FoundPush::Unknown);
    }
    assert_eq!(redeem(store, "alice", 1, NOW), FoundPush::Open);
    assert_eq!(redeem(store, "alice", 1, NOW), FoundPush::Unknown);
    assert_eq!(find(store, "alice", 1, NOW), FoundPush::Unknown);
    // The place is free, for a new one, and the old name opens nothing.
    open(store, "alice", 2, NOW);
    assert_eq!(redeem(store, "alice", 1, NOW), FoundPush::Unknown);
}

pub fn it_is_over_in_time<S: PushStore + Store>(store: &S) {
    open(store, "alice", 1, NOW);
    assert_eq!(find(store, "alice", 1, NOW + 119), FoundPush::Open);
    for late in [120, 121, 1_000_000] {
        assert_eq!(find(store, "alice", 1, NOW + late), FoundPush::Unknown);
        assert_eq!(redeem(store, "alice", 1, NOW + late), FoundPush::Unknown);
    }
    assert_eq!(begin(store, "alice", &new(2), NOW + 120), BeginPush::Begun);
    // Begun is not asked: nothing can be redeemed, and the first one's name is nobody's.
    assert_eq!(redeem(store, "alice", 2, NOW + 120), FoundPush::Unknown);
    assert!(!keep(store, "alice", 1, NOW + 240));
    assert_eq!(redeem(store, "alice", 1, NOW + 120), FoundPush::Unknown);
    assert!(!keep(store, "nobody", 1, NOW + 240));
}

pub fn one_is_open_at_a_time<S: PushStore + Store>(store: &S) {
    assert_eq!(begin(store, "alice", &new(1), NOW), BeginPush::Begun);
    let busy = |seconds| BeginPush::AlreadyPending { retry_after: s(seconds) };
    assert_eq!(begin(store, "alice", &new(2), NOW), busy(30));
    assert!(keep(store, "alice", 1, NOW + 120));
    let joined = BeginPush::Join { ticket: ticket(1), id: id("question"), until: s(NOW + 120) };
    assert_eq!(begin(store, "alice", &new(2), NOW + 1), joined);
    // What may not join does not, although it is the same.
    assert_eq!(begin(store, "alice", &NewPush { joins: false, ..new(2) }, NOW + 20), busy(100));
    let other = NewPush::new(ticket(2), [8; 32]);
    assert_eq!(begin(store, "alice", &other, NOW + 20), busy(100));
    assert_eq!(begin(store, "bob", &other, NOW + 20), BeginPush::Begun);
    end(store, "alice", 2, PushEnd::Asked);
    assert_eq!(find(store, "alice", 1, NOW + 20), FoundPush::Open);
    end(store, "alice", 1, PushEnd::Asked);
    assert_eq!(redeem(store, "alice", 1, NOW + 20), FoundPush::Unknown);
    assert_eq!(begin(store, "alice", &other, NOW + 20), BeginPush::Begun);
}

pub fn the_budget_is_since_the_last_success<S: PushStore + Store>(store: &S) {
    let spend = |from: u8, now: u64| {
        for number in from..from + 5 {
            open(store, "alice", number, now);
            end(store, "alice", number, PushEnd::Asked);
        }
        assert_eq!(begin(store, "alice", &new(100), now), BeginPush::BudgetSpent);
    };
    spend(0, NOW);
    // An administrator, or an OTP, gives it back; and so does an approval.
    ok(run(store.clear_pushes(&user("alice"))));
    spend(10, NOW);
    let day = 24 * 3600;
    assert_eq!(begin(store, "alice", &new(100), NOW + day), BeginPush::BudgetSpent);
    open(store, "alice", 20, NOW + day + 1);
    assert_eq!(redeem(store, "alice", 20, NOW + day + 1), FoundPush::Open);
    spend(30, NOW + day + 1);
    // What did not reach the phone is not counted.
    ok(run(store.clear_pushes(&user("alice"))));
    for number in 40..140 {
        assert_eq!(begin(store, "alice", &new(number), NOW), BeginPush::Begun);
        end(store, "alice", number, PushEnd::NotAsked);
    }
    // What may not have counts for a quarter, and its place stays taken for a while.
    ok(run(store.clear_pushes(&user("alice"))));
    for number in 140..160 {
        let now = NOW + u64::from(number) * 30;
        assert_eq!(begin(store, "alice", &new(number), now), BeginPush::Begun);
        end(store, "alice", number, PushEnd::Uncertain);
        assert_eq!(begin(store, "alice", &new(200), now), BeginPush::AlreadyPending { retry_after: s(30) });
        if number == 150 {
            // One that certainly did not takes nothing of that away.
            assert_eq!(begin(store, "alice", &new(200), now + 30), BeginPush::Begun);
            end(store, "alice", 200, PushEnd::NotAsked);
        }
    }
    assert_eq!(begin(store, "alice", &new(200), NOW + 160 * 30), BeginPush::BudgetSpent);
}

pub fn a_clock_that_jumped_spends_no_budget_for_ever<S: PushStore + Store>(store: &S) {
    let ahead = NOW + 1_000_000_000;
    for number in 0..5 {
        open(store, "alice", number, ahead);
        end(store, "alice", number, PushEnd::Asked);
    }
    assert_eq!(begin(store, "alice", &new(10), NOW), BeginPush::BudgetSpent);
    let day = 24 * 3600;
    assert_eq!(begin(store, "alice", &new(10), NOW + day), BeginPush::BudgetSpent);
    assert_eq!(begin(store, "alice", &new(10), NOW + day + 1), BeginPush::Begun);
}

/// What was opened while the clock stood ahead is over, once it is back, no later than any other.
pub fn a_clock_that_jumped_keeps_no_place_for_ever<S: PushStore + Store>(store: &S) {
    let other = NewPush::new(ticket(9), [8; 32]);
    for (name, push) in [("alice", &new(9)), ("bob", &other)] {
        open(store, name, 1, NOW + 1_000_000_000);
        match begin(store, name, push, NOW) {
            BeginPush::Join { until, .. } => assert_eq!((name, until), ("alice", s(NOW + 120))),
            other => assert_eq!((name, other), ("bob", BeginPush::AlreadyPending { retry_after: s(120) })),
        }
        assert_eq!(find(store, name, 1, NOW + 119), FoundPush::Open);
        assert_eq!(find(store, name, 1, NOW + 120), FoundPush::Unknown);
        assert_eq!(redeem(store, name, 1, NOW + 120), FoundPush::Unknown);
        assert_eq!(begin(store, name, push, NOW + 120), BeginPush::Begun);
    }
}

pub fn a_budget_of_one_s_own<S: PushStore + Store>(store: &S) {
    let budget = PushBudget::new(1, Duration::from_secs(60)).unwrap();
    let mut push = new(1);
    push.budget = budget;
    assert_eq!(begin(store, "alice", &push, NOW), BeginPush::Begun);
    end(store, "alice", 1, PushEnd::Asked);
    assert_eq!(begin(store, "alice", &push, NOW + 60), BeginPush::BudgetSpent);
    assert_eq!(begin(store, "alice", &push, NOW + 61), BeginPush::Begun);
}

pub fn failures_lock_this_way_too<S: PushStore + Store>(store: &S) {
    open(store, "alice", 1, NOW);
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    let throttled = FoundPush::Throttled { retry_after: s(30) };
    assert_eq!((find(store, "alice", 1, NOW), redeem(store, "alice", 1, NOW)), (throttled, throttled));
    assert_eq!(begin(store, "alice", &new(2), NOW), BeginPush::Throttled { retry_after: s(30) });
    // Looking is not an attempt, and the approval is not burnt.
    assert_eq!(redeem(store, "alice", 1, NOW + 30), FoundPush::Open);
    // A success forgets the failures.
    for _ in 0..5 {
        assert_eq!(admit(store, "alice", NOW), Admission::Admitted);
    }
    open(store, "alice", 3, NOW + 100);
    let mut now = NOW + 100;
    for _ in 0..95 {
        now += 3600;
        let _ = admit(store, "alice", now);
    }
    assert_eq!(begin(store, "alice", &new(4), now), BeginPush::LockedOut);
    open(store, "bob", 1, now);
}

pub fn of_many_in_parallel_one_begins_and_one_redeems<S: PushStore + Store + Clone>(store: &S) {
    let many = |work: fn(&S, usize) -> bool| at_once(store, 20, work).into_iter().filter(|said| *said).count();
    assert_eq!(many(|store, at| begin(store, "alice", &new(at as u8), NOW) == BeginPush::Begun), 1);
    ok(run(store.clear_pushes(&user("alice"))));
    for _ in 0..5 {
        open(store, "alice", 50, NOW);
        assert_eq!(many(|store, _| redeem(store, "alice", 50, NOW) == FoundPush::Open), 1);
    }
}

/// The budget is spent, and the place is taken by the last one: what of both was forgotten shows.
fn open_the_last<S: PushStore>(store: &S, name: &str) {
    for number in 0..4 {
        open(store, name, number, NOW);
        end(store, name, number, PushEnd::Asked);
    }
    open(store, name, 4, NOW);
}

fn nothing_is_forgotten<S: PushStore>(store: &S, name: &str) {
    assert_eq!(find(store, name, 4, NOW), FoundPush::Open);
    end(store, name, 4, PushEnd::Asked);
    assert_eq!(begin(store, name, &new(5), NOW), BeginPush::BudgetSpent);
}

pub fn a_fresh_step_forgets_pushes_and_a_replay_does_not<S: PushStore + Store>(store: &S) {
    assert_eq!(spend(store, "alice", "", 10, NOW), Spend::Fresh);
    for name in ["alice", "bob", "carol"] {
        open_the_last(store, name);
    }
    for step in [10, 9] {
        assert_eq!(spend(store, "alice", "", step, NOW), Spend::Replayed);
    }
    nothing_is_forgotten(store, "alice");
    // Of whichever device it is.
    for (name, device) in [("alice", ""), ("bob", "phone")] {
        assert_eq!(spend(store, name, device, 11, NOW), Spend::Fresh);
        assert!(!keep(store, name, 4, NOW + 120));
        assert_eq!(redeem(store, name, 4, NOW), FoundPush::Unknown);
        open_the_last(store, name);
        nothing_is_forgotten(store, name);
    }
    nothing_is_forgotten(store, "carol");
}

/// Nor the other way round: an administrator does one of them, or both.
pub fn clearing_failures_spares_pushes<S: PushStore + Store>(store: &S) {
    open_the_last(store, "alice");
    for _ in 0..5 {
        let _ = admit(store, "alice", NOW);
    }
    clear(store, "alice");
    assert_eq!(admit(store, "alice", NOW), Admission::Admitted);
    nothing_is_forgotten(store, "alice");
    for _ in 0..4 {
        assert_eq!(admit(store, "alice", NOW), Admission::Admitted);
    }
    ok(run(store.clear_pushes(&user("alice"))));
    assert_eq!(admit(store, "alice", NOW), throttled(30));
}

/// Whoever is told of a step, be it fresh or spent by another one just now, finds the pushes forgotten.
pub fn of_pushes_that_are_kept_while_a_step_is_spent_none_is_left<S: PushStore + Store + Clone>(store: &S) {
    let work = |store: &S, name: &str| {
        keep(store, name, 1, NOW + 120);
        let _ = spend(store, name, "", 10, NOW);
        keep(store, name, 1, NOW + 120)
    };
    let prepare = |name: &str| assert_eq!(begin(store, name, &new(1), NOW), BeginPush::Begun);
    race_after(store, prepare, work, |name, kept| {
        assert!(!kept.contains(&true), "{name}: {kept:?}");
        assert_eq!(redeem(store, name, 1, NOW), FoundPush::Unknown, "{name}");
        assert_eq!(begin(store, name, &new(2), NOW), BeginPush::Begun, "{name}");
    });
}

/// Where it says which one it is. Where it does not, nothing is taken for done by it.
pub fn both_halves_and_all_clones_are_one_store<S: PushStore + Store + Clone>(store: &S) {
    let clone = store.clone();
    assert_eq!((store.spends_in(), store.keeps_in()), (clone.spends_in(), clone.keeps_in()));
    if let Some((spends_in, keeps_in)) = store.spends_in().zip(store.keeps_in()) {
        assert_eq!(spends_in, keeps_in);
    }
}

pub fn names_of_any_text_are_told_apart<S: PushStore + Store>(store: &S) {
    for name in ["a", "a\0", "\0a", "a'; DROP TABLE pushes; --", "\u{e9}", "e\u{301}"] {
        open(store, name, 1, NOW);
    }
    let longest = "\u{20ac}".repeat(85);
    assert_eq!(begin(store, "a", &new(9), NOW + 120), BeginPush::Begun);
    assert!(ok(run(store.keep_push(&user("a"), ticket(9), &id(&longest), s(NOW + 240)))));
    match begin(store, "a", &new(10), NOW + 130) {
        BeginPush::Join { id, .. } => assert_eq!(id.as_str(), longest),
        other => panic!("{other:?}"),
    }
}

/// Tries whether a [`PushStore`](crate::store::PushStore) that is also a [`Store`](crate::store::Store) keeps what the
/// traits say: as [`store_conformance`](crate::test_util::store_conformance).
#[macro_export]
#[doc(hidden)]
macro_rules! __push_store_conformance {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__store_conformance!(@tests $name, pushes, $make;
            it_is_redeemed_once, it_is_over_in_time, one_is_open_at_a_time, the_budget_is_since_the_last_success,
            a_clock_that_jumped_spends_no_budget_for_ever, a_clock_that_jumped_keeps_no_place_for_ever, a_budget_of_one_s_own, failures_lock_this_way_too, of_many_in_parallel_one_begins_and_one_redeems,
            names_of_any_text_are_told_apart, a_fresh_step_forgets_pushes_and_a_replay_does_not,
            clearing_failures_spares_pushes, of_pushes_that_are_kept_while_a_step_is_spent_none_is_left,
            both_halves_and_all_clones_are_one_store,
        );
    };
}
