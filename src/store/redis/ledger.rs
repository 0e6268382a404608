//! Attempts that were counted and never verified, because their replies were lost. The next operation releases them.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use crate::store::throttle::MAX_FAILURES;

/// The maximum of attempts of one user in the ledger, the latest ones. The script stores as many numbers.
const MAX_ATTEMPTS: usize = MAX_FAILURES as usize;
/// The maximum of users in the ledger, as a power of two. A further user replaces another one.
const SLOT_BITS: u32 = 14;

/// The numbers of the attempts that this process counted.
///
/// The record of failures contains the numbers of its attempts. So an attempt is released at most once by its number,
/// and not at all if it was not counted or is deleted. An attempt that the ledger discards remains counted.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Mutex<HashMap<u64, Entry>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Entry {
    /// The whole hash, because two users can have the same slot.
    hash: u64,
    /// The attempts that are, or were, verified. The last one is released first.
    admitted: Vec<u64>,
    /// The attempts that are never verified, and may be counted.
    orphaned: Vec<u64>,
}

impl Ledger {
    /// Adds an attempt that was admitted and is verified now.
    ///
    /// It never replaces an entry with orphaned attempts, so ordinary traffic does not evict them.
    pub(super) fn add_admitted(&self, key: &str, number: u64) {
        self.insert(key, |other| other.orphaned.is_empty(), |entry| push(&mut entry.admitted, number));
    }

    /// Removes and returns the last admitted attempt that was not released yet.
    pub(super) fn take_last_admitted(&self, key: &str) -> Option<u64> {
        self.change(key, |entry| entry.admitted.pop())
    }

    /// Adds an attempt that is never verified. An attempt in progress must not be added: it must remain counted while
    /// it is verified.
    pub(super) fn mark_orphaned(&self, key: &str, number: u64) {
        self.insert(key, |_| true, |entry| push(&mut entry.orphaned, number));
    }

    /// The attempts that the next operation releases. They remain in the ledger until the next success, because a call
    /// that is delayed on the network may still be counted.
    pub(super) fn orphaned(&self, key: &str) -> Vec<u64> {
        self.change(key, |entry| Some(entry.orphaned.clone())).unwrap_or_default()
    }

    /// Removes all attempts of a user. After a success the record is deleted.
    pub(super) fn clear(&self, key: &str) {
        self.change(key, |entry| {
            *entry = Entry { hash: entry.hash, ..Entry::default() };
            None::<()>
        });
    }

    /// Changes the entry of a user, which replaces that of another user if `is_replaceable` allows it.
    fn insert(&self, key: &str, is_replaceable: impl FnOnce(&Entry) -> bool, change: impl FnOnce(&mut Entry)) {
        let hash = self.hasher.hash_one(key);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(slot(hash)).or_default();
        if entry.hash != hash {
            if !is_replaceable(entry) {
                return;
            }
            *entry = Entry { hash, ..Entry::default() };
        }
        change(entry);
    }

    fn change<T>(&self, key: &str, change: impl FnOnce(&mut Entry) -> Option<T>) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get_mut(&slot(hash)).filter(|entry| entry.hash == hash).and_then(change)
    }
}

fn slot(hash: u64) -> u64 {
    hash >> (u64::BITS - SLOT_BITS)
}

fn push(numbers: &mut Vec<u64>, number: u64) {
    if numbers.len() == MAX_ATTEMPTS {
        numbers.remove(0);
    }
    numbers.push(number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_admitted_attempt_is_taken_once_and_the_last_one_first() {
        let ledger = Ledger::default();
        assert_eq!(ledger.take_last_admitted("a"), None);
        ledger.add_admitted("a", 1);
        ledger.add_admitted("a", 2);
        assert_eq!(ledger.take_last_admitted("b"), None);
        assert_eq!([(); 3].map(|()| ledger.take_last_admitted("a")), [Some(2), Some(1), None]);
    }

    #[test]
    fn orphaned_attempts_remain_until_a_success() {
        let ledger = Ledger::default();
        ledger.mark_orphaned("a", 1);
        ledger.mark_orphaned("a", 2);
        assert_eq!((ledger.orphaned("a"), ledger.orphaned("b")), (vec![1, 2], vec![]));
        assert_eq!(ledger.orphaned("a"), [1, 2]);
        ledger.clear("a");
        assert!(ledger.orphaned("a").is_empty());
    }

    #[test]
    fn the_ledger_is_bounded() {
        let ledger = Ledger::default();
        for number in 0..200 {
            ledger.mark_orphaned("a", number);
            ledger.add_admitted("a", number);
        }
        assert_eq!(ledger.orphaned("a"), (100..200).collect::<Vec<_>>());
        assert_eq!(std::iter::from_fn(|| ledger.take_last_admitted("a")).count(), MAX_ATTEMPTS);
        for name in 0..100_000 {
            ledger.mark_orphaned(&name.to_string(), 7);
        }
        // Users without a fault replace none of these entries.
        let with_orphaned = |ledger: &Ledger| {
            ledger.entries.lock().unwrap().values().filter(|entry| !entry.orphaned.is_empty()).count()
        };
        let before = with_orphaned(&ledger);
        for name in 0..100_000 {
            ledger.add_admitted(&format!("other {name}"), 7);
        }
        assert_eq!(with_orphaned(&ledger), before);
        let entries = ledger.entries.lock().unwrap();
        assert!(entries.len() <= 1 << SLOT_BITS && entries.len() > 1 << (SLOT_BITS - 1));
        assert!(entries.values().all(|entry| entry.orphaned.len() <= MAX_ATTEMPTS));
    }
}
