mod key;
mod pushes;

use std::fmt;
use std::future::Future;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::key::{Key, Map};
use super::{Admission, Failures, Pushes, Spend, Store, StoreId, Throttle};
use crate::UserId;

const DEFAULT_CAPACITY: usize = 1_000_000;
/// So many that a shard of a million entries grows, and is searched for what is over, in well under a millisecond.
const MAX_SHARDS: usize = 256;
const SHARD_MIN: usize = 1024;

/// Keeps failures, spent steps and pushes in the memory of one process.
///
/// Clones share the same memory. It is lost when the process ends: a code that was spent in the last minute can then
/// be spent again, and failures start from zero. Two processes share nothing. Where either matters, a store outside
/// the process is needed. An approval that is waited for is then unknown, so nobody passes by it.
///
/// It holds at most [`bounded`](Self::bounded) entries of each kind. Entries that no longer matter are reclaimed.
/// Under a flood of users, those with few failures are forgotten first and active waits and locks never; a spent step
/// is never forgotten early. When nothing may be forgotten, the verbs fail with [`StoreFull`].
///
/// Names are kept as keyed 128-bit hashes, so that an entry's size does not depend on them. No lock is held across an
/// await.
#[derive(Clone)]
pub struct MemoryStore {
    table: Arc<Table>,
}

struct Table {
    id: StoreId,
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    // Keys that nobody outside knows, so that nobody can aim at two names with one hash.
    hashers: [RandomState; 2],
}

#[derive(Default)]
struct Shard {
    failures: Map<Failures>,
    steps: Map<SpentStep>,
    pushes: Map<Pushes>,
    /// No step is over before this second.
    first_over: u64,
}

#[derive(Clone, Copy)]
struct SpentStep {
    step: u64,
    /// In seconds, so that an entry takes 32 bytes.
    keep_until: u64,
}

impl MemoryStore {
    /// A store for at most 1,000,000 users with failures, and as many devices with spent steps.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(DEFAULT_CAPACITY)
    }

    /// A store for at most `capacity` users with failures, and as many devices with spent steps (but at least one of
    /// each).
    ///
    /// As many users can have approvals that are waited for, or a count of pushes since their last success; those counts
    /// stay for 30 days unless there is a success. With more, newcomers' requests for an approval fail.
    ///
    /// A spent step stays for 42 periods (21 minutes at 30 seconds), so the capacity bounds how many users can log in within that time.
    #[must_use]
    pub fn bounded(capacity: usize) -> Self {
        let shards = (capacity / SHARD_MIN).clamp(1, MAX_SHARDS);
        Self {
            table: Arc::new(Table {
                id: StoreId::new(),
                shards: (0..shards).map(|_| Mutex::default()).collect(),
                shard_capacity: (capacity / shards).max(1),
                hashers: [RandomState::new(), RandomState::new()],
            }),
        }
    }

    /// How many users with failures are held.
    #[must_use]
    pub fn users_with_failures(&self) -> usize {
        self.table.shards.iter().map(|shard| lock(shard).failures.len()).sum()
    }

    /// How many devices with a spent step are held, those that wait to be reclaimed among them.
    #[must_use]
    pub fn spent_steps(&self) -> usize {
        self.table.shards.iter().map(|shard| lock(shard).steps.len()).sum()
    }
}

impl Table {
    /// The user's key, and the shard that holds everything of that user.
    fn user(&self, user: &UserId) -> (Key, MutexGuard<'_, Shard>) {
        let key = Key::of(&self.hashers, user.as_str(), "");
        (key, lock(&self.shards[key.place(self.shards.len())]))
    }

    fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, StoreFull> {
        let (key, mut shard) = self.user(user);
        // What could not be spent is not verified: were only the right code refused for want of room, that would show
        // which one it is.
        shard.make_room_for_a_step(self.shard_capacity, now)?;
        if let Some(failures) = shard.failures.get_mut(&key) {
            return Ok(failures.attempt(throttle, now));
        }
        if shard.failures.len() >= self.shard_capacity {
            make_room(&mut shard.failures, now)?;
        }
        Ok(shard.failures.entry(key).or_default().attempt(throttle, now))
    }

    fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, StoreFull> {
        let (user_key, mut shard) = self.user(user);
        let key = if device.is_empty() { user_key } else { Key::of(&self.hashers, user.as_str(), device) };
        let keep_until = keep_until.as_secs().saturating_add(u64::from(keep_until.subsec_nanos() > 0));
        match shard.steps.get_mut(&key) {
            Some(spent) if !spent.is_over(now) && spent.step >= step => return Ok(Spend::Replayed),
            Some(spent) => *spent = SpentStep { step, keep_until: keep_until.max(spent.keep_until) },
            None => {
                shard.make_room_for_a_step(self.shard_capacity, now)?;
                shard.first_over = if shard.steps.is_empty() { keep_until } else { shard.first_over.min(keep_until) };
                shard.steps.insert(key, SpentStep { step, keep_until });
            }
        }
        shard.failures.remove(&user_key);
        shard.pushes.remove(&user_key);
        Ok(Spend::Fresh)
    }
}

impl SpentStep {
    fn is_over(&self, now: Duration) -> bool {
        Duration::from_secs(self.keep_until) <= now
    }
}

impl Shard {
    /// Where nothing can be over yet, nothing is searched: a full store refuses at once.
    fn make_room_for_a_step(&mut self, capacity: usize, now: Duration) -> Result<(), StoreFull> {
        if self.steps.len() < capacity {
            return Ok(());
        }
        if Duration::from_secs(self.first_over) <= now {
            self.steps.retain(|_, spent| !spent.is_over(now));
            self.first_over = self.steps.values().map(|spent| spent.keep_until).min().unwrap_or_default();
        }
        if self.steps.len() >= capacity { Err(StoreFull) } else { Ok(()) }
    }
}

/// Takes out what is over; if that is little, an eighth of those that are not locked at the moment, those with the
/// fewest and oldest failures first. Each scan makes room for many, so a flood pays for it once in a while.
fn make_room(failures: &mut Map<Failures>, now: Duration) -> Result<(), StoreFull> {
    let before = failures.len();
    failures.retain(|_, entry| !entry.is_over(now));
    if before - failures.len() > before / 16 {
        return Ok(());
    }
    let mut evictable: Vec<(u32, Duration, Key)> = failures
        .iter()
        .filter(|(_, entry)| !entry.is_active(now))
        .map(|(key, entry)| (entry.count, entry.last, *key))
        .collect();
    if evictable.is_empty() {
        return if failures.len() < before { Ok(()) } else { Err(StoreFull) };
    }
    let out = evictable.len().div_ceil(8);
    evictable.select_nth_unstable(out - 1);
    for (_, _, key) in &evictable[..out] {
        failures.remove(key);
    }
    Ok(())
}

/// Nothing that runs under the lock panics half-way through a change, so a poisoned one holds sound data.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for MemoryStore {
    type Error = StoreFull;

    fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<Admission, StoreFull>> + Send {
        std::future::ready(self.table.count_attempt(user, throttle, now))
    }

    fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> impl Future<Output = Result<Spend, StoreFull>> + Send {
        std::future::ready(self.table.spend_step(user, device, step, keep_until, now))
    }

    fn take_back_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        if let Some(failures) = shard.failures.get_mut(&key) {
            failures.take_back(throttle);
        }
        std::future::ready(Ok(()))
    }

    fn clear_failures(&self, user: &UserId) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        shard.failures.remove(&key);
        std::future::ready(Ok(()))
    }

    fn spends_in(&self) -> Option<&StoreId> {
        Some(&self.table.id)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("shards", &self.table.shards.len())
            .field("shard_capacity", &self.table.shard_capacity)
            .finish_non_exhaustive()
    }
}

/// Every entry of the store still matters, so there is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFull;

impl fmt::Display for StoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory store is full: give it a larger bound, or look for a flood of logins")
    }
}

impl std::error::Error for StoreFull {}
