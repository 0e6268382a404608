//! What every store must keep when much comes at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::block_on as run;
use super::conformance::{ADMITTED, NOW, admit, s, spend, throttled, user};
use crate::store::{Admission, Spend, Store, Throttle};

/// Calls `work` from `n` threads at once.
pub(super) fn at_once<S: Store + Clone, T: Send + 'static>(store: &S, n: usize, work: fn(&S, usize) -> T) -> Vec<T> {
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
    let spends = at_once(store, 50, |store, _| spend(store, "alice", "", 10, NOW));
    assert_eq!(spends.iter().filter(|&&s| s == Spend::Fresh).count(), 1);
}

pub fn many_steps_in_parallel_end_at_the_highest<S: Store + Clone>(store: &S) {
    at_once(store, 50, |store, i| spend(store, "alice", "", i as u64, NOW));
    assert_eq!(spend(store, "alice", "", 49, NOW), Spend::Replayed);
    assert_eq!(spend(store, "alice", "", 50, NOW), Spend::Fresh);
}

pub fn a_burst_is_admitted_no_more_than_a_queue<S: Store + Clone>(store: &S) {
    let admissions = at_once(store, 100, |store, _| admit(store, "alice", NOW));
    assert_eq!(admissions.iter().filter(|&&a| a == ADMITTED).count(), 5);
    assert_eq!(admissions.iter().filter(|&&a| a == throttled(30)).count(), 95);
}

const ROUNDS: usize = 100;
const RACERS: usize = 4;
/// No round begins after that: a store that takes long for a verb leaves more room for a race in each.
const LONGEST: Duration = Duration::from_secs(2);

/// Has `RACERS` threads do the same for one user at the same moment, again and again for another user.
fn race<S: Store + Clone, T: Send>(store: &S, work: fn(&S, &str) -> T, judge: impl Fn(&str, Vec<T>)) {
    race_after(store, |_| (), work, judge);
}

/// The same, after something was done for that user.
pub(super) fn race_after<S: Store + Clone, T: Send>(
    store: &S,
    prepare: impl Fn(&str),
    work: fn(&S, &str) -> T,
    judge: impl Fn(&str, Vec<T>),
) {
    let begun = Instant::now();
    for round in 0..ROUNDS {
        if begun.elapsed() > LONGEST {
            return;
        }
        let (name, waiting) = (format!("user {round}"), AtomicUsize::new(0));
        prepare(&name);
        let racer = || {
            let store = store.clone();
            // Not by a barrier, which wakes them one after the other.
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

pub fn of_spends_at_once_none_is_fresh_twice<S: Store + Clone>(store: &S) {
    let spends = |store: &S, name: &str| -> Vec<_> { (0..10).map(|step| spend(store, name, "", step, NOW)).collect() };
    race(store, spends, |name, outcomes| {
        let fresh = |step: usize| outcomes.iter().filter(|spends| spends[step] == Spend::Fresh).count();
        assert!((0..10).all(|step| fresh(step) <= 1), "a step of {name} was fresh twice: {outcomes:?}");
        assert_eq!(fresh(9), 1, "{name}: {outcomes:?}");
    });
}

pub fn of_counts_at_once_none_is_lost<S: Store + Clone>(store: &S) {
    let counts = |store: &S, name: &str| (0..4).filter(|_| admit(store, name, NOW) == ADMITTED).count();
    race(store, counts, |name, admitted| assert_eq!(admitted.iter().sum::<usize>(), 5, "{name}: {admitted:?}"));
}

fn lenient() -> Throttle {
    Throttle::new(9, s(30), s(30), 100).unwrap()
}

fn admit_leniently<S: Store>(store: &S, name: &str) -> Admission {
    run(store.count_attempt(&user(name), &lenient(), s(NOW))).map_err(Into::into).unwrap()
}

/// Each racer counts two attempts and takes them back, so that there is nothing in the end.
pub fn of_what_is_taken_back_at_once_none_is_lost<S: Store + Clone>(store: &S) {
    let work = |store: &S, name: &str| {
        assert_eq!(admit_leniently(store, name), ADMITTED);
        assert_eq!(admit_leniently(store, name), ADMITTED);
        for _ in 0..2 {
            run(store.take_back_attempt(&user(name), &lenient())).map_err(Into::into).unwrap();
        }
    };
    race(store, work, |name, _| {
        for _ in 0..9 {
            assert_eq!(admit_leniently(store, name), ADMITTED, "{name}: not all was taken back");
        }
        assert_eq!(admit_leniently(store, name), throttled(30), "{name}");
    });
}
