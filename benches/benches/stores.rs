//! The cost of the memory store with a million live keys, in one thread and in two.
//!
//! Run with `cargo bench -p tower-toopher-benches --features full --bench stores`. The peers do less: a sharded
//! `Mutex<HashMap>` and `moka` record a used step and clear no failures with it; `governor` counts attempts and has no
//! lockout. The order of the users is random, so nearly every operation misses the CPU's caches.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota};
use moka::ops::compute::Op;
use moka::sync::Cache;
use tower_toopher::UserId;
use tower_toopher::store::{Admission, MemoryStore, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::time::UnixTime;
use tower_toopher_benches::{Contender, compare_in_rounds, is_measuring, poll_once, verdict};

/// A used step is recorded for 42 periods.
const RETENTION: Duration = Duration::from_secs(42 * 30);
const BATCH_SIZE: usize = 50_000;
const ROUNDS: usize = 41;
/// Longer than a store records failures.
const OVER_A_YEAR_SECONDS: u64 = 400 * 24 * 60 * 60;
const BYTES_PER_KEY_MARK: f64 = 70.0;
const PAUSE_MS_MARK: f64 = 1.0;

fn main() {
    let users: Arc<[UserId]> = (0..keys()).map(|i| UserId::new(format!("user-{i:07}@example.test")).unwrap()).collect();
    memory(&users);
    pauses(&users);
    for threads in [1, 2] {
        used_steps(&users, threads);
        failures(&users, threads);
    }
}

fn keys() -> usize {
    // More than a batch, so no two threads use the same key.
    if is_measuring() { 1_000_000 } else { 2 * BATCH_SIZE }
}

/// Returns a store with twice the required capacity, so it evicts nothing.
fn store() -> MemoryStore {
    MemoryStore::with_capacity(2 * keys())
}

const START: UnixTime = UnixTime::from_secs(1_700_000_000);

fn record_step(store: &MemoryStore, user: &UserId, step: u64) {
    assert_eq!(try_record_step(store, user, step, START), Ok(StepOutcome::Fresh));
}

fn try_record_step(
    store: &MemoryStore,
    user: &UserId,
    step: u64,
    now: UnixTime,
) -> Result<StepOutcome, <MemoryStore as Store>::Error> {
    // Threads do not share the name of the device, because users do not.
    thread_local!(static DEVICE: Arc<str> = Arc::default());
    let used = UsedStep::new(DEVICE.with(Arc::clone), step, now + RETENTION);
    poll_once(store.record_step(user, &used, now))
}

fn count(store: &MemoryStore, user: &UserId, at: UnixTime) {
    assert_eq!(poll_once(store.count_attempt(user, &Throttle::default(), at)), Ok(Admission::Admitted));
}

/// Selects users in random order, with a number that increases from call to call.
#[derive(Clone)]
struct Schedule {
    users: Arc<[UserId]>,
    next: Arc<AtomicUsize>,
}

impl Schedule {
    fn new(users: &Arc<[UserId]>) -> Self {
        Self { users: Arc::clone(users), next: Arc::new(AtomicUsize::new(1)) }
    }

    /// Runs one batch, divided among the threads, and returns its duration.
    fn run_batch(&self, threads: usize, run: &(impl Fn(&UserId, u64) + Sync)) -> Duration {
        let first = self.next.fetch_add(BATCH_SIZE, Ordering::Relaxed);
        let run_range = |range: std::ops::Range<usize>| {
            for i in range {
                // The factor is a prime, so a pass visits every user once and never two neighbors in sequence.
                run(&self.users[i * 715_827_883 % self.users.len()], i as u64);
            }
        };
        let start = Instant::now();
        if threads == 1 {
            run_range(first..first + BATCH_SIZE);
        } else {
            std::thread::scope(|scope| {
                for part in 0..threads {
                    let from = first + part * BATCH_SIZE / threads;
                    scope.spawn(move || run_range(from..from + BATCH_SIZE / threads));
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
    let schedule = Schedule::new(users);
    Contender::timed(name, BATCH_SIZE, move || schedule.run_batch(threads, &run))
}

/// The store that an application would write.
struct Sharded {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<UserId, (u64, UnixTime)>>>,
}

impl Sharded {
    fn new() -> Self {
        Self { hasher: RandomState::new(), shards: (0..64).map(|_| Mutex::default()).collect() }
    }

    fn record(&self, user: &UserId, step: u64) {
        let shard = self.hasher.hash_one(user) as usize % self.shards.len();
        let mut shard = self.shards[shard].lock().unwrap();
        match shard.get_mut(user) {
            Some((used, keep_until)) if *keep_until > START && *used >= step => panic!("replayed"),
            Some(used) => *used = (step, START + RETENTION),
            None => {
                shard.insert(user.clone(), (step, START + RETENTION));
            }
        }
    }
}

fn cache() -> Cache<UserId, u64> {
    Cache::builder().max_capacity(2 * keys() as u64).time_to_live(RETENTION).build()
}

fn record_in_cache(cache: &Cache<UserId, u64>, user: &UserId, step: u64) {
    let fresh = cache.entry_by_ref(user).and_compute_with(|entry| match entry {
        Some(entry) if *entry.value() >= step => Op::Nop,
        _ => Op::Put(step),
    });
    assert!(!matches!(fresh, moka::ops::compute::CompResult::Unchanged(_)), "replayed");
}

fn limiter() -> DefaultKeyedRateLimiter<UserId> {
    governor::RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000_000).unwrap()))
}

fn used_steps(users: &Arc<[UserId]>, threads: usize) {
    let (ours, sharded, cache) = (store(), Sharded::new(), cache());
    for user in users.iter() {
        record_step(&ours, user, 0);
        sharded.record(user, 0);
        record_in_cache(&cache, user, 0);
    }
    cache.run_pending_tasks();
    compare_in_rounds(
        ROUNDS,
        &format!("recording a step, {} keys, threads: {threads}", keys()),
        vec![
            contender("sharded Mutex<HashMap>", users, threads, move |user, step| sharded.record(user, step)),
            contender("moka", users, threads, move |user, step| record_in_cache(&cache, user, step))
                .relative_to("sharded Mutex<HashMap>", None),
            contender("MemoryStore", users, threads, move |user, step| record_step(&ours, user, step))
                .relative_to("sharded Mutex<HashMap>", 1.15),
        ],
    );
}

fn failures(users: &Arc<[UserId]>, threads: usize) {
    let (ours, limiter) = (store(), limiter());
    for user in users.iter() {
        count(&ours, user, START);
        limiter.check_key(user).unwrap();
    }
    // Between two batches the clock advances by more than a year, so no user is throttled.
    let at = AtomicU64::new(START.as_secs());
    let each = move |user: &UserId, i: u64| {
        if i % BATCH_SIZE as u64 == 1 {
            at.fetch_add(OVER_A_YEAR_SECONDS, Ordering::Relaxed);
        }
        count(&ours, user, UnixTime::from_secs(at.load(Ordering::Relaxed)));
    };
    compare_in_rounds(
        ROUNDS,
        &format!("counting an attempt, {} keys, threads: {threads}", keys()),
        vec![
            contender("governor", users, threads, move |user, _| limiter.check_key(user).unwrap()),
            contender("MemoryStore", users, threads, each).relative_to("governor", 1.10),
        ],
    );
}

/// Prints the allocated bytes per key, without the user names, which the caller holds.
fn memory(users: &Arc<[UserId]>) {
    println!("\n## bytes a key, {} keys\n", keys());
    let row = |name: &str, fill: &dyn Fn() -> Box<dyn std::any::Any>, mark: Option<f64>| {
        let mut kept = None;
        let counted = allocation_counter::measure(|| kept = Some(fill()));
        let bytes = counted.bytes_current as f64 / keys() as f64;
        let result = mark.map_or(String::new(), |mark| format!(", mark {mark:.0}: {}", verdict(bytes, mark)));
        println!("{name:<44} {bytes:.1}{result}");
        drop(kept);
    };
    row(
        "MemoryStore, used steps",
        &|| {
            let store = store();
            users.iter().for_each(|user| record_step(&store, user, 0));
            Box::new(store)
        },
        Some(BYTES_PER_KEY_MARK),
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
            users.iter().for_each(|user| sharded.record(user, 0));
            Box::new(sharded)
        },
        None,
    );
    row(
        "moka",
        &|| {
            let cache = cache();
            users.iter().for_each(|user| record_in_cache(&cache, user, 0));
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

/// Prints the duration of the slowest operations: while a store grows to a million keys, and when it is full and
/// evicts.
///
/// Every shard pauses when it grows, and these pauses are alike, so the mark applies to the 100th slowest operation.
/// Slower operations are interruptions by other processes; the slowest one is printed too.
fn pauses(users: &Arc<[UserId]>) {
    println!("\n## the longest pauses, {} keys\n", keys());
    let row = |name: &str, run: &dyn Fn() -> Vec<Duration>| {
        let mut times = run();
        times.sort_unstable();
        let at = |rank: usize| times[times.len() - rank].as_secs_f64() * 1e3;
        let (pause, longest) = (at(100), at(1));
        println!(
            "{name:<44} {pause:.3} ms, mark {PAUSE_MS_MARK:.2}: {} (the longest {longest:.2} ms)",
            verdict(pause, PAUSE_MS_MARK)
        );
    };
    let time_each = |run: &dyn Fn(&UserId)| {
        let time = |user| {
            let start = Instant::now();
            run(user);
            start.elapsed()
        };
        users.iter().map(time).collect()
    };
    row("growing, used steps", &|| {
        let store = store();
        time_each(&|user| record_step(&store, user, 0))
    });
    row("growing, failures", &|| {
        let store = store();
        time_each(&|user| count(&store, user, START))
    });
    row("full, failures are evicted", &|| {
        let store = MemoryStore::with_capacity(keys() / 2);
        time_each(&|user| count(&store, user, START))
    });
    row("full, expired steps are evicted", &|| {
        let store = MemoryStore::with_capacity(keys() / 2);
        let calls = AtomicU64::new(0);
        time_each(&|user| {
            // When the store is full, the first steps have expired.
            let progress = calls.fetch_add(1, Ordering::Relaxed) as f64 / keys() as f64;
            let at = START + RETENTION.mul_f64(2.4 * progress);
            assert_eq!(try_record_step(&store, user, 0, at), Ok(StepOutcome::Fresh));
        })
    });
    row("full, no step can be evicted", &|| {
        let store = MemoryStore::with_capacity(keys() / 2);
        time_each(&|user| {
            let _ = try_record_step(&store, user, 0, START);
        })
    });
}
