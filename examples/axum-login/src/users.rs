//! The site before the guide: its users, as axum-login needs them. The guide adds the columns of the second factor.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum_login::{AuthUser, AuthnBackend};
use serde::Deserialize;
use tower_toopher::totp::{Pairing, RecoveryCodeDigest};

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    password: String,
    /// Another value ends all sessions of the user, as axum-login compares it.
    auth_hash: Vec<u8>,
    // The columns of the second factor.
    pub(crate) pairing: Option<Pairing>,
    pub(crate) recovery_codes: Vec<RecoveryCodeDigest>,
    /// Another value makes all grants of the user invalid.
    pub(crate) epoch: u64,
}

/// axum-login logs users at the level `debug`, so their secrets are no part of this.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        &self.auth_hash
    }
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    username: String,
    password: String,
    /// The checkbox "Remember this browser".
    pub(crate) remember: Option<String>,
}

/// A table in memory. A real site has a database.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Mutex<HashMap<String, User>>>);

impl Backend {
    pub(crate) fn new(users: &[(&str, &str)]) -> Self {
        let users = users.iter().map(|(name, password)| {
            let user = User {
                name: (*name).to_owned(),
                password: (*password).to_owned(),
                auth_hash: password.as_bytes().to_vec(),
                pairing: None,
                recovery_codes: Vec::new(),
                epoch: 0,
            };
            (user.name.clone(), user)
        });
        Self(Arc::new(Mutex::new(users.collect())))
    }

    pub(crate) fn find(&self, name: &str) -> Option<User> {
        self.lock().get(name).cloned()
    }

    /// Changes a user in one step, and returns the result.
    pub(crate) fn update<T>(&self, name: &str, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.lock().get_mut(name).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, User>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl User {
    /// After a change of the second factor: no session and no grant of before is valid.
    pub(crate) fn revoke(&mut self) {
        self.epoch += 1;
        self.auth_hash = format!("{} {}", self.password, self.epoch).into_bytes();
    }
}

impl AuthnBackend for Backend {
    type User = User;
    type Credentials = Credentials;
    type Error = Infallible;

    /// A real site compares a salted hash, in constant time.
    async fn authenticate(&self, credentials: Credentials) -> Result<Option<User>, Infallible> {
        Ok(self.find(&credentials.username).filter(|user| user.password == credentials.password))
    }

    async fn get_user(&self, name: &String) -> Result<Option<User>, Infallible> {
        Ok(self.find(name))
    }
}
