//! Attempts that were counted and never verified, since their answers were lost: taken back with the next one.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use crate::store::MAX_IN_A_ROW;

/// So many of one user are known, the latest ones. The script keeps the numbers of as many.
const MOST_OF_A_USER: usize = MAX_IN_A_ROW as usize;
/// So many users are known at the most: two to the power of it. Whoever comes later takes the place of another one.
const PLACES: u32 = 14;

/// What this process knows of the attempts that it has had counted, by their numbers.
///
/// The record of failures names the attempts in it, so whatever is taken back by its number is taken back once, and if it
/// was not counted, or is forgotten, not at all. What is forgotten here stays counted.
#[derive(Default)]
pub(super) struct Attempts {
    of: Mutex<HashMap<u64, OfUser>>,
    hasher: RandomState,
}

#[derive(Default)]
struct OfUser {
    /// More of the hash than the place, since two users may have one.
    hash: u64,
    /// Those that are verified, or were: the last one is taken back first.
    admitted: Vec<u64>,
    /// Those that nobody verifies, and that may be counted nevertheless.
    owed: Vec<u64>,
}

impl Attempts {
    /// Notes one that was admitted, and is verified now.
    ///
    /// Whoever meets with no fault takes the place of nobody who has met with one.
    pub(super) fn admitted(&self, key: &str, number: u64) {
        self.with(key, |other| other.owed.is_empty(), |user| push(&mut user.admitted, number));
    }

    /// Which one to take back: one that was admitted and that nobody has taken back yet.
    pub(super) fn last_admitted(&self, key: &str) -> Option<u64> {
        self.look(key, |user| user.admitted.pop())
    }

    /// Notes one that nobody will verify. Never one that is still under way: who is verified must stay counted.
    pub(super) fn owe(&self, key: &str, number: u64) {
        self.with(key, |_| true, |user| push(&mut user.owed, number));
    }

    /// Those that are to be taken back with the next call. They stay known until the next success, since one that hangs
    /// on the way may yet be counted.
    pub(super) fn owed(&self, key: &str) -> Vec<u64> {
        self.look(key, |user| Some(user.owed.clone())).unwrap_or_default()
    }

    /// After a success the record is gone, and all that was in it.
    pub(super) fn forget(&self, key: &str) {
        self.look(key, |user| {
            *user = OfUser { hash: user.hash, ..OfUser::default() };
            None::<()>
        });
    }

    /// Changes what is known of a user, who takes the place of another one where `gives_way` says so.
    fn with(&self, key: &str, gives_way: impl FnOnce(&OfUser) -> bool, change: impl FnOnce(&mut OfUser)) {
        let hash = self.hasher.hash_one(key);
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let user = of.entry(place(hash)).or_default();
        if user.hash != hash {
            if !gives_way(user) {
                return;
            }
            *user = OfUser { hash, ..OfUser::default() };
        }
        change(user);
    }

    fn look<T>(&self, key: &str, look: impl FnOnce(&mut OfUser) -> Option<T>) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.get_mut(&place(hash)).filter(|user| user.hash == hash).and_then(look)
    }
}

fn place(hash: u64) -> u64 {
    hash >> (u64::BITS - PLACES)
}

fn push(numbers: &mut Vec<u64>, number: u64) {
    if numbers.len() == MOST_OF_A_USER {
        numbers.remove(0);
    }
    numbers.push(number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_admitted_one_is_taken_back_once_and_the_last_one_first() {
        let attempts = Attempts::default();
        assert_eq!(attempts.last_admitted("a"), None);
        attempts.admitted("a", 1);
        attempts.admitted("a", 2);
        assert_eq!(attempts.last_admitted("b"), None);
        assert_eq!([(); 3].map(|()| attempts.last_admitted("a")), [Some(2), Some(1), None]);
    }

    #[test]
    fn what_is_owed_stays_so_until_a_success() {
        let attempts = Attempts::default();
        attempts.owe("a", 1);
        attempts.owe("a", 2);
        assert_eq!((attempts.owed("a"), attempts.owed("b")), (vec![1, 2], vec![]));
        assert_eq!(attempts.owed("a"), [1, 2]);
        attempts.forget("a");
        assert!(attempts.owed("a").is_empty());
    }

    #[test]
    fn it_is_bounded_whatever_comes() {
        let attempts = Attempts::default();
        for number in 0..200 {
            attempts.owe("a", number);
            attempts.admitted("a", number);
        }
        assert_eq!(attempts.owed("a"), (100..200).collect::<Vec<_>>());
        assert_eq!(std::iter::from_fn(|| attempts.last_admitted("a")).count(), MOST_OF_A_USER);
        for name in 0..100_000 {
            attempts.owe(&name.to_string(), 7);
        }
        // Nobody who meets with no fault displaces one of them.
        let owed =
            |attempts: &Attempts| attempts.of.lock().unwrap().values().filter(|user| !user.owed.is_empty()).count();
        let before = owed(&attempts);
        for name in 0..100_000 {
            attempts.admitted(&format!("other {name}"), 7);
        }
        assert_eq!(owed(&attempts), before);
        let of = attempts.of.lock().unwrap();
        assert!(of.len() <= 1 << PLACES && of.len() > 1 << (PLACES - 1));
        assert!(of.values().all(|user| user.owed.len() <= MOST_OF_A_USER));
    }
}
