//! What remembering costs with a million live keys, in one thread and in two.
//!
//! Run with `cargo bench --bench stores`. The peers do less: a sharded `Mutex<HashMap>` and `moka` keep a spent step and
//! forget no failures with it; `governor` counts, and knows no lock-out. Users come in random order, so that nearly
//! every step misses the caches.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota};
use moka::ops::compute::Op;
use moka::sync::Cache;
use support::{Contender, compare_in, measuring, now, verdict};
use tower_toopher::UserId;
use tower_toopher::store::{Admission, MemoryStore, Spend, Store, Throttle};

/// A spent step stays for 42 periods.
const KEPT: Duration = Duration::from_secs(42 * 30);
const BATCH: usize = 50_000;
const ROUNDS: usize = 41;
/// Longer than failures are remembered.
const YEAR_AND_MORE: u64 = 400 * 24 * 60 * 60;
const BYTES_A_KEY: f64 = 70.0;
const PAUSE_IN_MS: f64 = 1.0;

fn main() {
    let users: Arc<[UserId]> = (0..keys()).map(|i| UserId::new(format!("user-{i:07}@example.test")).unwrap()).collect();
    memory(&users);
    pauses(&users);
    for threads in [1, 2] {
        spent_steps(&users, threads);
        failures(&users, threads);
    }
}

fn keys() -> usize {
    // More than a batch, so that no two threads meet at one user.
    if measuring() { 1_000_000 } else { 2 * BATCH }
}

/// Twice the room that is needed, so that nothing is thrown out.
fn store() -> MemoryStore {
    MemoryStore::bounded(2 * keys())
}

const START: Duration = Duration::from_secs(1_700_000_000);

fn spend(store: &MemoryStore, user: &UserId, step: u64) {
    assert_eq!(now(store.spend_step(user, "", step, START + KEPT, START)), Ok(Spend::Fresh));
}

fn count(store: &MemoryStore, user: &UserId, at: Duration) {
    assert_eq!(now(store.count_attempt(user, &Throttle::default(), at)), Ok(Admission::Admitted));
}

/// Users in random order, and a number that grows with each.
#[derive(Clone)]
struct Turns {
    users: Arc<[UserId]>,
    next: Arc<AtomicUsize>,
}

impl Turns {
    fn new(users: &Arc<[UserId]>) -> Self {
        Self { users: Arc::clone(users), next: Arc::new(AtomicUsize::new(1)) }
    }

    /// Runs one batch, shared out among the threads.
    fn batch(&self, threads: usize, run: &(impl Fn(&UserId, u64) + Sync)) -> Duration {
        let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
        let some = |range: std::ops::Range<usize>| {
            for i in range {
                // Multiplied by a prime, so that all of them come in turn, and never two neighbours.
                run(&self.users[i * 715_827_883 % self.users.len()], i as u64);
            }
        };
        let start = Instant::now();
        if threads == 1 {
            some(first..first + BATCH);
        } else {
            std::thread::scope(|scope| {
                for part in 0..threads {
                    let from = first + part * BATCH / threads;
                    scope.spawn(move || some(from..from + BATCH / threads));
                }
            });
        }
        start.elapsed()
    }
}

fn contender(
    name: &str,
    users: &Arc<[UserId]>,
    threads: usize,
    run: impl Fn(&UserId, u64) + Sync + 'static,
) -> Contender {
    let turns = Turns::new(users);
    Contender::batch(name, BATCH, move || turns.batch(threads, &run))
}

/// What one would write.
struct Sharded {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<UserId, (u64, Duration)>>>,
}

impl Sharded {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: (0..64).map(|_| Mutex::default()).collect() }
    }

    fn spend(&self, user: &UserId, step: u64) {
        let shard = self.hasher.hash_one(user) as usize % self.shards.len();
        let mut shard = self.shards[shard].lock().unwrap();
        match shard.get_mut(user) {
            Some((spent, keep_until)) if *keep_until > START && *spent >= step => panic!("replayed"),
            Some(spent) => *spent = (step, START + KEPT),
            None => {
                shard.insert(user.clone(), (step, START + KEPT));
            }
        }
    }
}

fn cache() -> Cache<UserId, u64> {
    Cache::builder().max_capacity(2 * keys() as u64).time_to_live(KEPT).build()
}

fn spend_in_cache(cache: &Cache<UserId, u64>, user: &UserId, step: u64) {
    let fresh = cache.entry_by_ref(user).and_compute_with(|entry| match entry {
        Some(entry) if *entry.value() >= step => Op::Nop,
        _ => Op::Put(step),
    });
    assert!(!matches!(fresh, moka::ops::compute::CompResult::Unchanged(_)), "replayed");
}

fn limiter() -> DefaultKeyedRateLimiter<UserId> {
    governor::RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000_000).unwrap()))
}

fn spent_steps(users: &Arc<[UserId]>, threads: usize) {
    let (ours, sharded, cache) = (store(), Sharded::new(), cache());
    for user in users.iter() {
        spend(&ours, user, 0);
        sharded.spend(user, 0);
        spend_in_cache(&cache, user, 0);
    }
    cache.run_pending_tasks();
    compare_in(
        ROUNDS,
        &format!("spending a step, {} keys, threads: {threads}", keys()),
        vec![
            contender("sharded Mutex<HashMap>", users, threads, move |user, step| sharded.spend(user, step)),
            contender("moka", users, threads, move |user, step| spend_in_cache(&cache, user, step))
                .against("sharded Mutex<HashMap>", None),
            contender("MemoryStore", users, threads, move |user, step| spend(&ours, user, step))
                .against("sharded Mutex<HashMap>", 1.15),
        ],
    );
}

fn failures(users: &Arc<[UserId]>, threads: usize) {
    let (ours, limiter) = (store(), limiter());
    for user in users.iter() {
        count(&ours, user, START);
        limiter.check_key(user).unwrap();
    }
    // Each batch lies a year and more after the one before, so that nobody is made to wait.
    let at = AtomicU64::new(START.as_secs());
    let each = move |user: &UserId, i: u64| {
        if i % BATCH as u64 == 1 {
            at.fetch_add(YEAR_AND_MORE, Ordering::Relaxed);
        }
        count(&ours, user, Duration::from_secs(at.load(Ordering::Relaxed)));
    };
    compare_in(
        ROUNDS,
        &format!("counting an attempt, {} keys, threads: {threads}", keys()),
        vec![
            contender("governor", users, threads, move |user, _| limiter.check_key(user).unwrap()),
            contender("MemoryStore", users, threads, each).against("governor", 1.10),
        ],
    );
}

/// How many bytes there are for each key, beside the names, which exist anyway.
fn memory(users: &Arc<[UserId]>) {
    println!("\n## bytes a key, {} keys\n", keys());
    let row = |name: &str, fill: &dyn Fn() -> Box<dyn std::any::Any>, mark: Option<f64>| {
        let mut kept = None;
        let counted = allocation_counter::measure(|| kept = Some(fill()));
        let bytes = counted.bytes_current as f64 / keys() as f64;
        let said = mark.map_or(String::new(), |mark| format!(", mark {mark:.0}: {}", verdict(bytes, mark)));
        println!("{name:<44} {bytes:.1}{said}");
        drop(kept);
    };
    row(
        "MemoryStore, spent steps",
        &|| {
            let store = store();
            users.iter().for_each(|user| spend(&store, user, 0));
            Box::new(store)
        },
        Some(BYTES_A_KEY),
    );
    row(
        "MemoryStore, failures",
        &|| {
            let store = store();
            users.iter().for_each(|user| count(&store, user, START));
            Box::new(store)
        },
        None,
    );
    row(
        "sharded Mutex<HashMap>",
        &|| {
            let sharded = Sharded::new();
            users.iter().for_each(|user| sharded.spend(user, 0));
            Box::new(sharded)
        },
        None,
    );
    row(
        "moka",
        &|| {
            let cache = cache();
            users.iter().for_each(|user| spend_in_cache(&cache, user, 0));
            cache.run_pending_tasks();
            Box::new(cache)
        },
        None,
    );
    row(
        "governor",
        &|| {
            let limiter = limiter();
            users.iter().for_each(|user| limiter.check_key(user).unwrap());
            Box::new(limiter)
        },
        None,
    );
}

/// How long one verb takes at the longest: while a store grows to a million keys, and when it is full and must make
/// room. Every shard has its pauses, and they are alike, so the hundredth longest is one of them; those that are longer
/// still are the machine's own where it has other things to do, and the longest of all is printed beside it.
fn pauses(users: &Arc<[UserId]>) {
    println!("\n## the longest pauses, {} keys\n", keys());
    let row = |name: &str, run: &dyn Fn() -> Vec<Duration>| {
        let mut times = run();
        times.sort_unstable();
        let at = |place: usize| times[times.len() - place].as_secs_f64() * 1e3;
        let (pause, longest) = (at(100), at(1));
        println!(
            "{name:<44} {pause:.3} ms, mark {PAUSE_IN_MS:.2}: {} (the longest {longest:.2} ms)",
            verdict(pause, PAUSE_IN_MS)
        );
    };
    let longest = |run: &dyn Fn(&UserId)| {
        let time = |user| {
            let start = Instant::now();
            run(user);
            start.elapsed()
        };
        users.iter().map(time).collect()
    };
    row("growing, spent steps", &|| {
        let store = store();
        longest(&|user| spend(&store, user, 0))
    });
    row("growing, failures", &|| {
        let store = store();
        longest(&|user| count(&store, user, START))
    });
    row("full, failures: the oldest go", &|| {
        let store = MemoryStore::bounded(keys() / 2);
        longest(&|user| count(&store, user, START))
    });
    row("full, spent steps that are over", &|| {
        let store = MemoryStore::bounded(keys() / 2);
        let turn = AtomicU64::new(0);
        longest(&|user| {
            // By the time that the store is full, the first are over.
            let turn = turn.fetch_add(1, Ordering::Relaxed) as f64 / keys() as f64;
            let at = START + KEPT.mul_f64(2.4 * turn);
            assert_eq!(now(store.spend_step(user, "", 0, at + KEPT, at)), Ok(Spend::Fresh));
        })
    });
    row("full, spent steps that are not", &|| {
        let store = MemoryStore::bounded(keys() / 2);
        longest(&|user| {
            let _ = now(store.spend_step(user, "", 0, START + KEPT, START));
        })
    });
}
