//! The places of those who wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::UserId;

/// How many of one user wait at once: as many tabs as a person watches, and not as many as a flood has.
const MOST_OF_ONE_USER: usize = 4;

/// So many places, a few of them for each user.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of_users: HashMap<UserId, usize>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    user: UserId,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn left(&self) -> usize {
        self.most.saturating_sub(self.taken().all)
    }

    pub(super) fn take(self: &Arc<Self>, user: &UserId) -> Option<Place> {
        let mut taken = self.taken();
        if taken.all >= self.most || taken.of_users.get(user).is_some_and(|of_user| *of_user >= MOST_OF_ONE_USER) {
            return None;
        }
        taken.all += 1;
        *taken.of_users.entry(user.clone()).or_default() += 1;
        drop(taken);
        Some(Place { places: Arc::clone(self), user: user.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(of_user) = taken.of_users.get_mut(&self.user) {
            *of_user = of_user.saturating_sub(1);
            if *of_user == 0 {
                taken.of_users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_for_each_user_and_so_many_for_all() {
        let places = Arc::new(Places::new(6));
        let take = |user: &str| places.take(&UserId::new(user).unwrap());
        let of_alice: Vec<_> = (0..4).map(|_| take("alice").unwrap()).collect();
        assert!(take("alice").is_none());
        let of_bob = [take("bob").unwrap(), take("bob").unwrap()];
        assert!(take("carol").is_none());
        assert_eq!(places.left(), 0);
        drop(of_alice);
        assert!(take("carol").is_some() && take("alice").is_some());
        drop(of_bob);
        assert_eq!(places.left(), 6);
        assert!(places.taken().of_users.is_empty());
    }
}
