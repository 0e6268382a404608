//! OAuth 1.0a (RFC 5849), two-legged, HMAC-SHA1: the signature under every call of the Toopher API.
//!
//! One code path signs and checks: both gather the same [`Signable`] and differ only in what they do with its
//! signature. No token takes part, and no other signature method: a request that names one is refused.
//!
//! ```
//! use tower_toopher::oauth1::{BaseUri, Credentials, OauthRequest, sign};
//!
//! let credentials = Credentials::new("key", "secret")?;
//! let base = BaseUri::new("https", "mfa.example.test", "/v1/users/create")?;
//! let form = [("name", "zo\u{eb} + co")];
//! let header = sign::authorization(&credentials, "POST", &base, &form, "a nonce", 1_700_000_000);
//!
//! let request = OauthRequest::parse("POST", base, [header.as_bytes()], None, Some(b"name=zo%C3%AB+%2B+co"))?;
//! assert_eq!(request.consumer_key(), "key");
//! assert!(request.is_signed_with("secret"));
//! assert!(!request.is_signed_with("another"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A right signature says who made the request, not that it is new: the server also checks the timestamp, and that the
//! nonce has not been seen, *after* the signature, so that nobody else can use one up.

mod base;
mod check;
mod header;
mod pairs;
pub mod postback;
pub mod sign;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::base::{BaseUri, InvalidBaseUri, Signable};
pub use self::check::{CheckError, OauthRequest};

/// A consumer's key and secret. Clones share the secret, which is erased with the last of them.
#[derive(Clone)]
pub struct Credentials {
    key: Arc<str>,
    secret: Arc<Zeroizing<String>>,
}

impl Credentials {
    /// Takes both.
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

    /// The consumer key, which is no secret.
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

/// A consumer key or secret that is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptyCredentials;

impl fmt::Display for EmptyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the consumer key and the consumer secret must not be empty")
    }
}

impl std::error::Error for EmptyCredentials {}
