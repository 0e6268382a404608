use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::{Arc, PoisonError, RwLock};

use super::pairing::{Lookup, Pairing, Pairings};
use super::recovery::RecoveryCodeDigest;
use crate::verify::UserId;

/// A user table in memory, for examples, tests, and services with few users.
///
/// Clones share the table. Its size is not limited.
#[derive(Clone, Default, Debug)]
pub struct MemoryPairings {
    users: Arc<RwLock<HashMap<UserId, Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    confirmed: Option<Pairing>,
    unconfirmed: Option<Pairing>,
    recovery_codes: Vec<RecoveryCodeDigest>,
}

impl MemoryPairings {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the pairing of `user`. An unconfirmed pairing does not replace a confirmed one, which remains valid until
    /// another confirmed one is inserted.
    pub fn insert(&self, user: UserId, pairing: Pairing) {
        self.write(|users| {
            let entry = users.entry(user).or_default();
            if pairing.is_confirmed() {
                *entry = Entry { confirmed: Some(pairing), unconfirmed: None, ..std::mem::take(entry) };
            } else {
                entry.unconfirmed = Some(pairing);
            }
        });
    }

    /// Inserts `user` without a pairing.
    pub fn insert_user(&self, user: UserId) {
        self.write(|users| {
            users.entry(user).or_default();
        });
    }

    /// The unconfirmed pairing of `user`, for [`TotpVerifier::confirm`](crate::TotpVerifier::confirm).
    #[must_use]
    pub fn unconfirmed(&self, user: &UserId) -> Option<Pairing> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(user)?.unconfirmed.clone()
    }

    /// Replaces the recovery codes of `user`.
    pub fn set_recovery_codes(&self, user: UserId, codes: impl IntoIterator<Item = RecoveryCodeDigest>) {
        self.write(|users| users.entry(user).or_default().recovery_codes = codes.into_iter().collect());
    }

    /// Removes `user` with pairings and recovery codes.
    pub fn remove(&self, user: &UserId) {
        self.write(|users| users.remove(user));
    }

    fn write<T>(&self, change: impl FnOnce(&mut HashMap<UserId, Entry>) -> T) -> T {
        change(&mut self.users.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pairings for MemoryPairings {
    type Error = Infallible;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, Infallible>> + Send {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(match users.get(user) {
            None => Lookup::UnknownUser,
            Some(entry) => entry.confirmed.clone().map_or(Lookup::NotEnrolled, Lookup::Enrolled),
        }))
    }

    fn redeem_recovery_code(
        &self,
        user: &UserId,
        code: &RecoveryCodeDigest,
    ) -> impl Future<Output = Result<bool, Infallible>> + Send {
        ready(Ok(self.write(|users| {
            let Some(entry) = users.get_mut(user) else { return false };
            let before = entry.recovery_codes.len();
            entry.recovery_codes.retain(|unused| unused != code);
            entry.recovery_codes.len() < before
        })))
    }
}
