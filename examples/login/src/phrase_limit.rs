//! A limit on pairing phrases. A phrase is short, so a user who guesses could pair with the phone of another user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tower_toopher::UserId;

/// How many phrases of a user are compared within a period.
const MAX_PHRASES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10 * 60);

/// A real site has this table in its database. Clones share it. It has at most one entry for each known user, because
/// only users whose password was verified may enroll.
#[derive(Clone, Default)]
pub(crate) struct PhraseLimit(Arc<Mutex<HashMap<UserId, (u32, Instant)>>>);

impl PhraseLimit {
    /// Counts a phrase before it is compared. Returns whether it may be compared.
    pub(crate) fn count(&self, user: &UserId) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = counts.entry(user.clone()).or_insert_with(|| (0, Instant::now()));
        if since.elapsed() >= PERIOD {
            (*count, *since) = (0, Instant::now());
        }
        *count += 1;
        *count <= MAX_PHRASES
    }
}
