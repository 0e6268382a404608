//! The user table: passwords, authenticators, backup codes.

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
use tower_toopher::totp::{BackupCodeDigest, Lookup, Pairing, Pairings};

/// Longer ones are nobody's, and are not kept in any log or store.
const MAX_NAME: usize = 64;
/// Each hash takes 19 MiB while it is computed.
const HASHES_AT_ONCE: usize = 4;

/// What a real site has in its database. Clones share it.
#[derive(Clone)]
pub(crate) struct Users {
    table: Arc<Mutex<HashMap<UserId, Account>>>,
    /// Compared with where there is no such user, so that it takes as long.
    decoy: Arc<str>,
    hashing: Arc<Semaphore>,
}

struct Account {
    password: Arc<str>,
    pairing: Option<Pairing>,
    backup_codes: Vec<BackupCodeDigest>,
}

impl Users {
    pub(crate) fn new(users: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let mut table = HashMap::new();
        for (name, password) in users {
            let account = Account { password: hash(password)?, pairing: None, backup_codes: Vec::new() };
            table.insert(UserId::new(*name)?, account);
        }
        let hashing = Arc::new(Semaphore::new(HASHES_AT_ONCE));
        Ok(Self { table: Arc::new(Mutex::new(table)), decoy: hash("nobody's password")?, hashing })
    }

    /// The account that a typed name means. Each spelling of a name leads to one account, or each would come with free
    /// guesses of its own; and names that are nobody's lead to an id too, so that they are refused, throttled and timed
    /// like the others.
    pub(crate) fn named(typed: &str) -> Option<UserId> {
        let name = typed.trim().to_lowercase();
        if name.len() > MAX_NAME { None } else { UserId::new(name).ok() }
    }

    /// The first factor. It takes as long for users who do not exist.
    pub(crate) async fn has_password(&self, user: &UserId, password: String) -> bool {
        let stored = self.table().get(user).map(|account| Arc::clone(&account.password));
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| Arc::clone(&self.decoy));
        let Ok(_permit) = self.hashing.acquire().await else { return false };
        let compared = tokio::task::spawn_blocking(move || {
            let parsed = PasswordHash::new(&stored);
            parsed.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        compared.await.unwrap_or(false) && known
    }

    pub(crate) fn has_authenticator(&self, user: &UserId) -> bool {
        self.table().get(user).is_some_and(|account| account.pairing.is_some())
    }

    /// Gives the user this authenticator and these backup codes, in place of those before.
    pub(crate) fn set_authenticator(&self, user: &UserId, pairing: Pairing, codes: Vec<BackupCodeDigest>) {
        if let Some(account) = self.table().get_mut(user) {
            account.pairing = Some(pairing);
            account.backup_codes = codes;
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<UserId, Account>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(password: &str) -> Result<Arc<str>, Box<dyn Error>> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(hash.to_string().into())
}

/// How the verifier reads the table.
impl Pairings for Users {
    type Error = Infallible;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, Infallible>> + Send {
        ready(Ok(match self.table().get(user) {
            None => Lookup::UnknownUser,
            Some(account) => account.pairing.clone().map_or(Lookup::NotEnrolled, Lookup::Enrolled),
        }))
    }

    fn redeem_backup_code(
        &self,
        user: &UserId,
        code: &BackupCodeDigest,
    ) -> impl Future<Output = Result<bool, Infallible>> + Send {
        let mut table = self.table();
        let left = table.get_mut(user).map(|account| &mut account.backup_codes);
        ready(Ok(left.is_some_and(|left| {
            let before = left.len();
            left.retain(|digest| digest != code);
            left.len() < before
        })))
    }
}
