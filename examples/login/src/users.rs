//! The user table: names and passwords. The second factors in it are in [`table`](super::table).

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use tower_toopher::UserId;
use tower_toopher::totp::{Lookup, Pairings, RecoveryCodeDigest};

use super::table::SecondFactors;

/// Longer names are rejected before they reach a log or a store. In bytes.
const MAX_NAME_BYTES: usize = 64;
/// A limit on memory: each hash needs 19 MiB while it is computed.
const MAX_CONCURRENT_HASHES: usize = 4;

/// A real site has this table in its database. Clones share it.
#[derive(Clone)]
pub(crate) struct Users {
    table: Arc<Mutex<HashMap<UserId, Account>>>,
    /// Compared with the password of an unknown user, so that the response takes the same time.
    decoy: Arc<str>,
    hashing: Arc<Semaphore>,
}

struct Account {
    password: Arc<str>,
    factors: SecondFactors,
}

impl Users {
    pub(crate) fn new(users: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let mut table = HashMap::new();
        for (name, password) in users {
            let account = Account { password: hash(password)?, factors: SecondFactors::default() };
            table.insert(UserId::new(*name)?, account);
        }
        let hashing = Arc::new(Semaphore::new(MAX_CONCURRENT_HASHES));
        Ok(Self { table: Arc::new(Mutex::new(table)), decoy: hash("the decoy's password")?, hashing })
    }

    /// The id for a typed name. All spellings of a name have the same id; otherwise each spelling would allow more
    /// attempts. Unknown names have an id too, so that they are rejected, throttled and timed as known ones.
    pub(crate) fn parse_name(typed: &str) -> Option<UserId> {
        let name = typed.trim().to_lowercase();
        if name.len() > MAX_NAME_BYTES { None } else { UserId::new(name).ok() }
    }

    /// Verifies the first factor. It takes the same time for an unknown user.
    pub(crate) async fn has_password(&self, user: &UserId, password: String) -> bool {
        let stored = self.lock().get(user).map(|account| Arc::clone(&account.password));
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| Arc::clone(&self.decoy));
        let Ok(_permit) = self.hashing.acquire().await else { return false };
        let compared = tokio::task::spawn_blocking(move || {
            let parsed = PasswordHash::new(&stored);
            parsed.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        compared.await.unwrap_or(false) && known
    }

    /// Reads or changes the second factors of a user. `None` for an unknown user.
    pub(crate) fn factors<T>(&self, user: &UserId, use_them: impl FnOnce(&mut SecondFactors) -> T) -> Option<T> {
        self.lock().get_mut(user).map(|account| use_them(&mut account.factors))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Account>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(password: &str) -> Result<Arc<str>, Box<dyn Error>> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(hash.to_string().into())
}

/// The verifier reads the table through this trait.
impl Pairings for Users {
    type Error = Infallible;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, Infallible>> + Send {
        let first = self.factors(user, |factors| factors.pairings().into_iter().next());
        ready(Ok(match first {
            None => Lookup::UnknownUser,
            Some(first) => first.map_or(Lookup::NotEnrolled, Lookup::Enrolled),
        }))
    }

    fn redeem_recovery_code(
        &self,
        user: &UserId,
        code: &RecoveryCodeDigest,
    ) -> impl Future<Output = Result<bool, Infallible>> + Send {
        ready(Ok(self.factors(user, |factors| factors.redeem_recovery_code(code)).unwrap_or(false)))
    }
}
