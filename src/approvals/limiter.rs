//! The limit on requests that wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::verify::UserId;

/// The maximum number of waiting requests of one user: enough for the tabs of one person, and not for a flood.
const MAX_PER_USER: usize = 4;

/// Limits the number of requests that wait at the same time, in total and for each user.
#[derive(Debug)]
pub(super) struct WaitLimiter {
    max: usize,
    acquired: Mutex<Acquired>,
}

#[derive(Debug, Default)]
struct Acquired {
    total: usize,
    per_user: HashMap<UserId, usize>,
}

/// The permission to wait. Released on drop.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<WaitLimiter>,
    user: UserId,
}

impl WaitLimiter {
    pub(super) fn new(max: usize) -> Self {
        Self { max, acquired: Mutex::default() }
    }

    fn acquired(&self) -> MutexGuard<'_, Acquired> {
        self.acquired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn available_permits(&self) -> usize {
        self.max.saturating_sub(self.acquired().total)
    }

    pub(super) fn try_acquire(self: &Arc<Self>, user: &UserId) -> Option<Permit> {
        let mut acquired = self.acquired();
        let of_user = acquired.per_user.get(user).copied().unwrap_or_default();
        if acquired.total >= self.max || of_user >= MAX_PER_USER {
            return None;
        }
        acquired.total += 1;
        *acquired.per_user.entry(user.clone()).or_default() += 1;
        drop(acquired);
        Some(Permit { limiter: Arc::clone(self), user: user.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut acquired = self.limiter.acquired();
        acquired.total = acquired.total.saturating_sub(1);
        if let Some(of_user) = acquired.per_user.get_mut(&self.user) {
            *of_user = of_user.saturating_sub(1);
            if *of_user == 0 {
                acquired.per_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_in_total_and_for_each_user() {
        let limiter = Arc::new(WaitLimiter::new(6));
        let try_acquire = |user: &str| limiter.try_acquire(&UserId::new(user).unwrap());
        let of_alice: Vec<_> = (0..4).map(|_| try_acquire("alice").unwrap()).collect();
        assert!(try_acquire("alice").is_none());
        let of_bob = [try_acquire("bob").unwrap(), try_acquire("bob").unwrap()];
        assert!(try_acquire("carol").is_none());
        assert_eq!(limiter.available_permits(), 0);
        drop(of_alice);
        assert!(try_acquire("carol").is_some() && try_acquire("alice").is_some());
        drop(of_bob);
        assert_eq!(limiter.available_permits(), 6);
        assert!(limiter.acquired().per_user.is_empty());
    }
}
