//! The suite of stores: concurrent operations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::operations::{ADMITTED, NOW, admit, admit_under, record, release, secs, throttled, time};
use crate::store::{StepOutcome, Store, Throttle};

/// Calls `work` from `n` threads at the same time.
pub(super) fn in_parallel<S: Store + Clone, T: Send + 'static>(
    store: &S,
    n: usize,
    work: fn(&S, usize) -> T,
) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(n));
    let threads: Vec<_> = (0..n)
        .map(|i| {
            let (store, barrier) = (store.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                work(&store, i)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub fn one_step_in_parallel_is_fresh_once<S: Store + Clone>(store: &S) {
    let outcomes = in_parallel(store, 50, |store, _| record(store, "alice", "", 10, NOW));
    assert_eq!(outcomes.iter().filter(|&&outcome| outcome == StepOutcome::Fresh).count(), 1);
}

pub fn many_steps_in_parallel_end_at_the_highest<S: Store + Clone>(store: &S) {
    in_parallel(store, 50, |store, i| record(store, "alice", "", i as u64, NOW));
    assert_eq!(record(store, "alice", "", 49, NOW), StepOutcome::Replayed);
    assert_eq!(record(store, "alice", "", 50, NOW), StepOutcome::Fresh);
}

pub fn a_burst_is_limited_like_a_sequence<S: Store + Clone>(store: &S) {
    let admissions = in_parallel(store, 100, |store, _| admit(store, "alice", NOW));
    assert_eq!(admissions.iter().filter(|&&a| a == ADMITTED).count(), 5);
    assert_eq!(admissions.iter().filter(|&&a| a == throttled(30)).count(), 95);
}

const ROUNDS: usize = 100;
const RACERS: usize = 4;
/// No round begins after this time. The operations of a slow store leave more room for a race in each round.
const MAX_TIME: Duration = Duration::from_secs(2);

/// In each round, `RACERS` threads do the same for one user at the same moment, and `judge` checks the outcomes.
fn race<S: Store + Clone, T: Send>(store: &S, work: fn(&S, &str) -> T, judge: impl Fn(&str, Vec<T>)) {
    race_after(store, |_| (), work, judge);
}

/// As [`race`], after `prepare` for that user.
pub(super) fn race_after<S: Store + Clone, T: Send>(
    store: &S,
    prepare: impl Fn(&str),
    work: fn(&S, &str) -> T,
    judge: impl Fn(&str, Vec<T>),
) {
    let begun = Instant::now();
    for round in 0..ROUNDS {
        if begun.elapsed() > MAX_TIME {
            return;
        }
        let (name, waiting) = (format!("user {round}"), AtomicUsize::new(0));
        prepare(&name);
        let racer = || {
            let store = store.clone();
            // Not a barrier, which wakes one thread after the other.
            waiting.fetch_add(1, Ordering::SeqCst);
            while waiting.load(Ordering::SeqCst) < RACERS {
                std::thread::yield_now();
            }
            work(&store, &name)
        };
        let outcomes = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(racer)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        judge(&name, outcomes);
    }
}

pub fn concurrent_steps_are_fresh_once<S: Store + Clone>(store: &S) {
    let record_all =
        |store: &S, name: &str| -> Vec<_> { (0..10).map(|step| record(store, name, "", step, NOW)).collect() };
    race(store, record_all, |name, outcomes| {
        let fresh = |step: usize| outcomes.iter().filter(|of_one| of_one[step] == StepOutcome::Fresh).count();
        assert!((0..10).all(|step| fresh(step) <= 1), "a step of {name} was fresh twice: {outcomes:?}");
        assert_eq!(fresh(9), 1, "{name}: {outcomes:?}");
    });
}

pub fn concurrent_attempts_are_all_counted<S: Store + Clone>(store: &S) {
    let count = |store: &S, name: &str| (0..4).filter(|_| admit(store, name, NOW) == ADMITTED).count();
    race(store, count, |name, admitted| assert_eq!(admitted.iter().sum::<usize>(), 5, "{name}: {admitted:?}"));
}

fn lenient() -> Throttle {
    Throttle::new(9, secs(30), secs(30), 100).unwrap()
}

/// Each racer counts two attempts and releases them, so that no failure remains.
pub fn concurrent_releases_are_all_applied<S: Store + Clone>(store: &S) {
    let work = |store: &S, name: &str| {
        for _ in 0..2 {
            assert_eq!(admit_under(store, name, &lenient(), time(NOW)), ADMITTED);
        }
        for _ in 0..2 {
            release(store, name, &lenient());
        }
    };
    race(store, work, |name, _| {
        for _ in 0..9 {
            assert_eq!(admit_under(store, name, &lenient(), time(NOW)), ADMITTED, "{name}: a release was lost");
        }
        assert_eq!(admit_under(store, name, &lenient(), time(NOW)), throttled(30), "{name}");
    });
}
