use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A consumer key and secret. Clones share the secret, which is zeroized when the last one is dropped.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<str>,
    secret: Arc<Zeroizing<String>>,
}

impl Credentials {
    /// Creates the credentials.
    ///
    /// # Errors
    ///
    /// [`EmptyCredentials`] when one of them is empty.
    pub fn new(key: impl Into<Arc<str>>, secret: impl Into<String>) -> Result<Self, EmptyCredentials> {
        let (key, secret) = (key.into(), Zeroizing::new(secret.into()));
        if key.is_empty() || secret.is_empty() {
            return Err(EmptyCredentials);
        }
        Ok(Self { key, secret: Arc::new(secret) })
    }

    /// The consumer key, which is not secret.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The consumer secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The error for an empty consumer key or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptyCredentials;

impl fmt::Display for EmptyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the consumer key and the consumer secret must not be empty")
    }
}

impl std::error::Error for EmptyCredentials {}
