//! OAuth 1.0a signatures (RFC 5849), two-legged, with HMAC-SHA1, as calls of the Toopher API have them.
//!
//! One code path signs and verifies: both build the same [`Signable`], and one compares its signature. Requests with a
//! token or another signature method are rejected.
//!
//! ```
//! use toopher_oauth1::{BaseUri, Credentials, OauthRequest, sign};
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
//! A valid signature authenticates a request and does not show that it is new. A server also checks the timestamp, and
//! that the nonce was not used before, *after* the signature, so that only the consumer can use up a nonce.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod base;
mod credentials;
mod header;
mod pairs;
pub mod postback;
mod request;
pub mod sign;

pub use self::base::{BaseUri, InvalidBaseUri, Signable};
pub use self::credentials::{Credentials, EmptyCredentials};
pub use self::request::{CheckError, OauthRequest};
