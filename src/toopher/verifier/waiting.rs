//! The approvals that people have been asked for, each bound to who, what and where.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Attempt, UserId};

/// How many approvals of one user may be pending at once, so that one account, whose terminals a thief can make up,
/// neither fills the table nor rings its phone without end.
const PER_USER: usize = 4;
/// How long a call that was begun and never heard of again keeps a second one away. Longer than the
/// calls of one attempt should take.
const STARTING_FOR: Duration = Duration::from_secs(30);

/// At most so many approvals, kept for so long. Nothing is stored outside the process.
#[derive(Debug)]
pub(super) struct Waiting {
    users: Mutex<Table>,
    // Two independent keys: nobody outside can find, or aim at, two attempts with one hash.
    hashers: [RandomState; 2],
}

/// What an attempt is about and where it comes from, in a size that does not depend on what a stranger sends.
type Key = [u64; 2];

#[derive(Debug, Default)]
struct Table {
    users: HashMap<UserId, Vec<Slot>>,
    /// How many slots all users have.
    len: usize,
}

#[derive(Debug)]
struct Slot {
    key: Key,
    state: State,
    until: Instant,
}

#[derive(Debug, PartialEq)]
enum State {
    /// The call that asks is under way; the number tells whose.
    Starting(Instant),
    /// The phone has been asked, under this id.
    Asked(String),
}

/// What is known of an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Claim {
    /// Nothing was: ask, and then [`asked`](Waiting::asked) or [`give_up`](Waiting::give_up).
    Start,
    /// Somebody is asking at this moment.
    Starting,
    /// The phone was asked, under this id.
    Asked(String),
    /// The user has enough pending. One of them ends after this time.
    TooMany(Duration),
    /// The table is full.
    Full,
}

impl Table {
    fn forget_expired(&mut self, now: Instant) {
        self.users.retain(|_, slots| {
            slots.retain(|slot| slot.until > now);
            !slots.is_empty()
        });
        self.len = self.users.values().map(Vec::len).sum();
    }

    /// Takes the attempt's slot out if it is in a state; says whether it was.
    fn take(&mut self, attempt: &Attempt, key: Key, is: impl Fn(&Slot) -> bool) -> bool {
        let Some(slots) = self.users.get_mut(attempt.user()) else { return false };
        let Some(at) = slots.iter().position(|slot| slot.key == key && is(slot)) else { return false };
        slots.swap_remove(at);
        self.len -= 1;
        if slots.is_empty() {
            self.users.remove(attempt.user());
        }
        true
    }
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self { users: Mutex::default(), hashers: [RandomState::new(), RandomState::new()] }
    }

    fn key(&self, attempt: &Attempt) -> Key {
        self.hashers.each_ref().map(|hasher| hasher.hash_one((attempt.action(), attempt.terminal())))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks the attempt up and, where nothing is known of it, takes a place for it: all in one, so that of many equal
    /// attempts one asks.
    pub(super) fn claim(&self, attempt: &Attempt, capacity: usize, now: Instant) -> Claim {
        let (key, mut table) = (self.key(attempt), self.table());
        if table.len >= capacity {
            table.forget_expired(now);
        }
        let full = table.len >= capacity;
        let slots = table.users.get_mut(attempt.user());
        let before = slots.as_ref().map_or(0, |slots| slots.len());
        if let Some(slots) = slots {
            slots.retain(|slot| slot.until > now);
            let (left, found) = (slots.len(), slots.iter().find(|slot| slot.key == key));
            let claim = match found.map(|slot| &slot.state) {
                Some(State::Starting(_)) => Some(Claim::Starting),
                Some(State::Asked(id)) => Some(Claim::Asked(id.clone())),
                None if left >= PER_USER => {
                    let first = slots.iter().map(|slot| slot.until).min().unwrap_or(now);
                    Some(Claim::TooMany(first.saturating_duration_since(now)))
                }
                None => None,
            };
            table.len -= before - left;
            if let Some(claim) = claim {
                return claim;
            }
        }
        if full {
            return Claim::Full;
        }
        let slot = Slot { key, state: State::Starting(now), until: now + STARTING_FOR };
        table.users.entry(attempt.user().clone()).or_default().push(slot);
        table.len += 1;
        Claim::Start
    }

    /// Remembers the id under which the phone was asked, by the claim that was made at `started`.
    ///
    /// When that claim has run out in the meantime, the id is forgotten, and nobody can redeem it.
    pub(super) fn asked(&self, attempt: &Attempt, started: Instant, id: &str, until: Instant) {
        let (key, mut table) = (self.key(attempt), self.table());
        let slots = table.users.get_mut(attempt.user());
        let ours = State::Starting(started);
        if let Some(slot) = slots.and_then(|slots| slots.iter_mut().find(|slot| slot.key == key && slot.state == ours))
        {
            slot.state = State::Asked(id.to_owned());
            slot.until = until;
        }
    }

    /// Gives the place back that was taken at `started`.
    pub(super) fn give_up(&self, attempt: &Attempt, started: Instant) {
        self.table().take(attempt, self.key(attempt), |slot| slot.state == State::Starting(started));
    }

    /// Takes the approval out, and says whether it was there and in time: of many that ask, one is told so.
    pub(super) fn redeem(&self, attempt: &Attempt, id: &str, now: Instant) -> bool {
        self.table().take(attempt, self.key(attempt), |slot| {
            slot.until > now && matches!(&slot.state, State::Asked(asked) if asked == id)
        })
    }

    /// Forgets the approval, which nobody needs any more.
    pub(super) fn forget(&self, attempt: &Attempt) {
        self.table().take(attempt, self.key(attempt), |slot| matches!(slot.state, State::Asked(_)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Terminal;

    fn attempt(user: &str, action: &str, terminal: Option<Terminal>) -> Attempt {
        Attempt::new(UserId::new(user).unwrap(), action).with_terminal(terminal)
    }

    const TWO_MINUTES: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn an_approval_is_its_own_attempts_and_redeemed_once() {
        let waiting = Waiting::new();
        let now = Instant::now();
        let laptop = Terminal::new("laptop").with_discriminator("a");
        let alice = attempt("alice", "log in", Some(laptop.clone()));
        assert_eq!(waiting.claim(&alice, 10, now), Claim::Start);
        assert_eq!(waiting.claim(&alice, 10, now), Claim::Starting);
        waiting.asked(&alice, now, "id", now + TWO_MINUTES);
        assert_eq!(waiting.claim(&alice, 10, now), Claim::Asked("id".into()));
        for other in [
            attempt("bob", "log in", Some(laptop.clone())),
            attempt("alice", "pay", Some(laptop.clone())),
            attempt("alice", "log in", None),
            attempt("alice", "log in", Some(Terminal::new("laptop"))),
            attempt("alice", "log in", Some(Terminal::new("laptop").with_discriminator("b"))),
            attempt("alice", "log in", Some(Terminal::new("desk").with_discriminator("a"))),
        ] {
            assert!(!waiting.redeem(&other, "id", now), "{other:?}");
            assert_ne!(waiting.claim(&other, 10, now), Claim::Asked("id".into()), "{other:?}");
            waiting.give_up(&other, now);
        }
        assert!(!waiting.redeem(&alice, "another", now));
        assert!(waiting.redeem(&alice, "id", now));
        assert!(!waiting.redeem(&alice, "id", now));
        assert_eq!(waiting.table().len, 0);
        assert!(waiting.table().users.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn everything_expires() {
        let waiting = Waiting::new();
        let (now, alice) = (Instant::now(), attempt("alice", "log in", None));
        assert_eq!(waiting.claim(&alice, 1, now), Claim::Start);
        let later = now + STARTING_FOR;
        assert_eq!(waiting.claim(&alice, 1, later), Claim::Start);
        // The first caller comes back, too late to have a say.
        waiting.asked(&alice, now, "old", later + TWO_MINUTES);
        waiting.give_up(&alice, now);
        assert_eq!(waiting.claim(&alice, 1, later), Claim::Starting);
        waiting.asked(&alice, later, "id", later + TWO_MINUTES);
        assert!(!waiting.redeem(&alice, "id", later + TWO_MINUTES));
        assert_eq!(waiting.claim(&alice, 1, later + TWO_MINUTES), Claim::Start);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_for_all_and_for_each() {
        let waiting = Waiting::new();
        let now = Instant::now();
        for at in 0..PER_USER {
            assert_eq!(waiting.claim(&attempt("alice", &at.to_string(), None), 6, now), Claim::Start);
        }
        let another = attempt("alice", "another", None);
        assert_eq!(waiting.claim(&another, 6, now), Claim::TooMany(STARTING_FOR));
        assert_eq!(waiting.claim(&attempt("bob", "log in", None), 6, now), Claim::Start);
        assert_eq!(waiting.claim(&attempt("carol", "log in", None), 6, now), Claim::Start);
        assert_eq!(waiting.claim(&attempt("dave", "log in", None), 6, now), Claim::Full);
        assert_eq!(waiting.claim(&attempt("bob", "log in", None), 6, now), Claim::Starting);
        let later = now + STARTING_FOR;
        assert_eq!(waiting.claim(&attempt("dave", "log in", None), 6, later), Claim::Start);
        assert_eq!(waiting.table().len, 1);
        assert_eq!(waiting.claim(&another, 6, later), Claim::Start);
    }
}
