use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::{Arc, PoisonError, RwLock};

use super::{BackupCodeDigest, Totp};
use crate::{BoxError, UserId};

/// The bond between an account and an authenticator.
///
/// It verifies nothing before it is *confirmed*, that is, before a first code of the authenticator has shown that it
/// computes what the verifier computes.
///
/// Clones share what is in it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Pairing {
    bond: Arc<Bond>,
    confirmed: bool,
}

#[derive(Clone, Debug)]
struct Bond {
    device: Arc<str>,
    totp: Totp,
}

impl Pairing {
    /// A pairing that has not been confirmed.
    pub fn unconfirmed(totp: Totp) -> Self {
        Self { bond: Arc::new(Bond { device: "".into(), totp }), confirmed: false }
    }

    /// A pairing that the application has stored as confirmed.
    ///
    /// For one that has not been, this skips the check that the authenticator works, and lets the first code be used
    /// twice: once unseen, and once here.
    pub fn confirmed(totp: Totp) -> Self {
        Self { confirmed: true, ..Self::unconfirmed(totp) }
    }

    /// Sets the name under which spent codes are kept, apart for each device of the user. Default: the empty name.
    ///
    /// It is the device's for life: under a second name every code of the last minute would be fresh again.
    pub fn device(mut self, id: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.bond).device = id.into();
        self
    }

    /// How codes are made.
    pub fn totp(&self) -> &Totp {
        &self.bond.totp
    }

    /// The name under which spent codes are kept.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.bond.device
    }

    /// Whether it verifies.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    pub(super) fn confirm(self) -> Self {
        Self { confirmed: true, ..self }
    }
}

/// The application's user table, as the verifier sees it.
///
/// ```
/// use tower_toopher::UserId;
/// use tower_toopher::totp::{BackupCodeDigest, Lookup, Pairing, Pairings, Secret, SecretError, Totp};
///
/// struct Users { /* a connection pool */ }
///
/// impl Pairings for Users {
///     type Error = SecretError; // and the database's
///
///     async fn find(&self, user: &UserId) -> Result<Lookup, SecretError> {
///         // SELECT confirmed_totp_secret FROM users WHERE id = $1
///         # let row = (user.as_str() == "alice").then_some(Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
///         Ok(match row {
///             None => Lookup::UnknownUser,
///             Some(None) => Lookup::NotEnrolled,
///             Some(Some(base32)) => Pairing::confirmed(Totp::new(Secret::from_base32(base32)?)).into(),
///         })
///     }
///
///     async fn redeem_backup_code(&self, user: &UserId, code: &BackupCodeDigest) -> Result<bool, SecretError> {
///         // DELETE FROM backup_codes WHERE user_id = $1 AND digest = $2, and whether a row went
///         # let _ = (user, code);
///         Ok(false)
///     }
/// }
/// ```
pub trait Pairings: Send + Sync + 'static {
    /// The error of both methods. It closes the gate: 503.
    type Error: Into<BoxError>;

    /// Looks `user` up, and their pairing.
    ///
    /// # Errors
    ///
    /// When it is not certain. An error counts nothing against the user.
    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, Self::Error>> + Send;

    /// Takes the backup code out of those that `user` has left, and says whether it was among them, **in one atomic
    /// step**: of two requests with one code, one gets `true`. An application without backup codes returns `false`.
    ///
    /// # Errors
    ///
    /// When it is not certain that the code was there, and is gone.
    fn redeem_backup_code(
        &self,
        user: &UserId,
        code: &BackupCodeDigest,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// What a user table knows of a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub enum Lookup {
    /// There is no such user. To the outside that looks like a wrong OTP, whatever
    /// [`NotEnrolledPolicy`](crate::NotEnrolledPolicy) says: a first factor that names a user whom the table does not
    /// know has gone wrong somewhere.
    UnknownUser,
    /// There is, and they have no pairing.
    NotEnrolled,
    /// They have one. One that is not confirmed counts as none.
    Enrolled(Pairing),
}

impl From<Pairing> for Lookup {
    fn from(pairing: Pairing) -> Self {
        Self::Enrolled(pairing)
    }
}

impl<T: Pairings> Pairings for Arc<T> {
    type Error = T::Error;

    fn find(&self, user: &UserId) -> impl Future<Output = Result<Lookup, T::Error>> + Send {
        T::find(self, user)
    }

    fn redeem_backup_code(
        &self,
        user: &UserId,
        code: &BackupCodeDigest,
    ) -> impl Future<Output = Result<bool, T::Error>> + Send {
        T::redeem_backup_code(self, user, code)
    }
}

/// A user table in memory, for examples, tests, and services whose few users stand in a file.
///
/// Clones share it. It is as large as what is put into it.
#[derive(Clone, Default, Debug)]
pub struct MemoryPairings {
    users: Arc<RwLock<HashMap<UserId, Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    confirmed: Option<Pairing>,
    unconfirmed: Option<Pairing>,
    backup_codes: Vec<BackupCodeDigest>,
}

impl MemoryPairings {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `user` this pairing in place of the one before. One that is not confirmed takes nobody's place: the
    /// confirmed one verifies until another confirmed one comes.
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

    /// Makes `user` known, without a pairing.
    pub fn insert_user(&self, user: UserId) {
        self.write(|users| {
            users.entry(user).or_default();
        });
    }

    /// The pairing of `user` that waits for its first code, for [`TotpVerifier::confirm`](super::TotpVerifier::confirm).
    #[must_use]
    pub fn unconfirmed(&self, user: &UserId) -> Option<Pairing> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).get(user)?.unconfirmed.clone()
    }

    /// Gives `user` these backup codes in place of the ones before.
    pub fn set_backup_codes(&self, user: UserId, codes: impl IntoIterator<Item = BackupCodeDigest>) {
        self.write(|users| users.entry(user).or_default().backup_codes = codes.into_iter().collect());
    }

    /// Takes the user away, with pairings and backup codes.
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

    fn redeem_backup_code(
        &self,
        user: &UserId,
        code: &BackupCodeDigest,
    ) -> impl Future<Output = Result<bool, Infallible>> + Send {
        ready(Ok(self.write(|users| {
            let Some(entry) = users.get_mut(user) else { return false };
            let before = entry.backup_codes.len();
            entry.backup_codes.retain(|left| left != code);
            entry.backup_codes.len() < before
        })))
    }
}
