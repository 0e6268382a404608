//! The entries of the store, in shards.

use std::hash::RandomState;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::StoreFull;
use super::identity_hash::{Key, Map};
use crate::store::approval_record::ApprovalRecord;
use crate::store::failures::{Admission, Failures};
use crate::store::throttle::Throttle;
use crate::store::traits::Records;
use crate::store::used_step::{StepOutcome, UsedStep};
use crate::time::UnixTime;
use crate::verify::UserId;

/// With this number of shards, a shard of a store for a million entries grows, or is searched for expired entries, in
/// well under a millisecond.
const MAX_SHARDS: usize = 256;
const MIN_SHARD: usize = 1024;

pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    pub(super) shard_capacity: usize,
    /// A secret key, so that a client cannot find two names with one hash.
    hasher: RandomState,
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) failures: Map<Failures>,
    pub(super) steps: Map<KeptStep>,
    pub(super) approvals: Map<ApprovalRecord>,
    /// No step expires before this second.
    earliest_expiry: u64,
}

#[derive(Clone, Copy)]
pub(super) struct KeptStep {
    step: u64,
    /// In seconds, so that an entry takes 32 bytes.
    keep_until: u64,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        let shards = (capacity / MIN_SHARD).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_capacity: (capacity / shards).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The user's key, and the shard that contains all entries of that user.
    pub(super) fn user(&self, user: &UserId) -> (Key, MutexGuard<'_, Shard>) {
        let (key, _) = Key::user(&self.hasher, user.as_str());
        (key, self.shard(key))
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        lock(&self.shards[key.shard(self.shards.len())])
    }

    pub(super) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The sum over all shards.
    pub(super) fn sum(&self, count: fn(&Shard) -> usize) -> usize {
        self.shards.iter().map(|shard| count(&lock(shard))).sum()
    }

    pub(super) fn count_attempt(
        &self,
        user: &UserId,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<Admission, StoreFull> {
        let (key, mut shard) = self.user(user);
        // If there is no room for the step, no code is verified. If only the right code were refused for want of room,
        // the response would show which code is right.
        shard.make_room_for_a_step(self.shard_capacity, now)?;
        if let Some(failures) = shard.failures.get_mut(&key) {
            return Ok(failures.try_record(throttle, now));
        }
        if shard.failures.len() >= self.shard_capacity {
            make_room(&mut shard.failures, now)?;
        }
        Ok(shard.failures.entry(key).or_default().try_record(throttle, now))
    }

    pub(super) fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, StoreFull> {
        let (user_key, hashed) = Key::user(&self.hasher, user.as_str());
        let device = used.device();
        let key = if device.is_empty() { user_key } else { Key::device(hashed, device) };
        let (step, keep_until) = (used.step(), seconds_rounded_up(used.keep_until()));
        let mut shard = self.shard(user_key);
        match shard.steps.get_mut(&key) {
            Some(kept) if !kept.is_expired(now) && kept.step >= step => return Ok(StepOutcome::Replayed),
            Some(kept) => *kept = KeptStep { step, keep_until: keep_until.max(kept.keep_until) },
            None => {
                shard.make_room_for_a_step(self.shard_capacity, now)?;
                let earliest = if shard.steps.is_empty() { u64::MAX } else { shard.earliest_expiry };
                shard.earliest_expiry = earliest.min(keep_until);
                shard.steps.insert(key, KeptStep { step, keep_until });
            }
        }
        shard.succeed(&user_key, Failures::succeed);
        Ok(StepOutcome::Fresh)
    }
}

impl KeptStep {
    fn is_expired(&self, now: UnixTime) -> bool {
        UnixTime::from_secs(self.keep_until) <= now
    }
}

impl Shard {
    pub(super) fn peek(&self, key: &Key, throttle: &Throttle, now: UnixTime) -> Admission {
        self.failures.get(key).map_or(Admission::Admitted, |failures| failures.check_other_factor(throttle, now))
    }

    /// Changes the failures after a success, and deletes the approvals.
    pub(super) fn succeed(&mut self, key: &Key, succeed: fn(&mut Failures)) {
        if let Some(failures) = self.failures.get_mut(key) {
            succeed(failures);
            if failures.is_empty() {
                self.failures.remove(key);
            }
        }
        self.approvals.remove(key);
    }

    pub(super) fn clear(&mut self, key: &Key, records: Records) {
        match records {
            Records::Failures => drop(self.failures.remove(key)),
            Records::Approvals => drop(self.approvals.remove(key)),
            Records::FailuresAndApprovals => self.succeed(key, Failures::succeed),
        }
    }

    /// Searches only if a step can have expired, so a full store refuses at once.
    fn make_room_for_a_step(&mut self, capacity: usize, now: UnixTime) -> Result<(), StoreFull> {
        if self.steps.len() < capacity {
            return Ok(());
        }
        if UnixTime::from_secs(self.earliest_expiry) <= now {
            self.steps.retain(|_, kept| !kept.is_expired(now));
            self.earliest_expiry = self.steps.values().map(|kept| kept.keep_until).min().unwrap_or_default();
        }
        if self.steps.len() >= capacity { Err(StoreFull) } else { Ok(()) }
    }
}

/// Deletes expired entries. If these are few, it also deletes an eighth of the entries that block no attempt now, those
/// with the fewest and oldest failures first. Each scan makes room for many entries, so a flood rarely pays for it.
fn make_room(failures: &mut Map<Failures>, now: UnixTime) -> Result<(), StoreFull> {
    let before = failures.len();
    failures.retain(|_, entry| !entry.is_expired(now));
    if before - failures.len() > before / 16 {
        return Ok(());
    }
    let mut evictable: Vec<(u32, UnixTime, Key)> = failures
        .iter()
        .filter(|(_, entry)| !entry.is_blocked(now))
        .map(|(key, entry)| (entry.count.max(entry.recent), entry.last, *key))
        .collect();
    if evictable.is_empty() {
        return if failures.len() < before { Ok(()) } else { Err(StoreFull) };
    }
    let evicted = evictable.len().div_ceil(8);
    evictable.select_nth_unstable(evicted - 1);
    for (_, _, key) in &evictable[..evicted] {
        failures.remove(key);
    }
    Ok(())
}

fn seconds_rounded_up(time: UnixTime) -> u64 {
    let partial = time.since_epoch() > Duration::from_secs(time.as_secs());
    time.as_secs().saturating_add(partial.into())
}

/// No code that runs under the lock can panic within a change, so the data behind a poisoned lock is consistent.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
