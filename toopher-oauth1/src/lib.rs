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
//! assert!(request.signed_parameters("secret", &[]).is_some());
//! assert!(request.signed_parameters("another", &[]).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Base strings
//!
//! Some clients of the Toopher API do not sign what they send, so [`OauthRequest::signed_parameters`] compares up to
//! four base strings: it lists them. None of them weakens the check, for three reasons:
//!
//! - Each base string contains the method, the URL and all OAuth parameters, so no signature is valid for another call,
//!   another consumer or another nonce.
//! - The method returns the parameters of the base string that has the signature. A server that uses these, and nothing
//!   else of the query or the form, uses what is signed. Whatever an intermediary changes, adds, removes, repeats or
//!   moves between query, form and header: the signature is invalid, the call is rejected, or the parameters are those
//!   that the consumer has signed.
//! - Each is compared only for the requests that need it: with a query that repeats the form, without a form, or for a
//!   call that the server names.
//!
//! An intermediary can still change what has the same meaning, such as the order of parameters.
//!
//! A valid signature authenticates a request and does not show that it is new. A server also checks the timestamp, and
//! that the nonce was not used before, *after* the signature, so that only the consumer can use up a nonce.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod base;
mod check_error;
mod credentials;
mod header;
mod pairs;
pub mod postback;
mod protocol;
mod request;
mod service_url;
pub mod sign;

pub use self::base::{BaseUri, InvalidBaseUri, Signable};
pub use self::check_error::CheckError;
pub use self::credentials::{Credentials, EmptyCredentials};
pub use self::pairs::Parameter;
pub use self::request::OauthRequest;
pub use self::service_url::{InvalidServiceUrl, ServiceUrl};
