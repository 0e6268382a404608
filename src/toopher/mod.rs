//! The verifier that asks a Toopher API, and the client of that API.
//!
//! The API verifies OTPs, and asks people on their phones. The vendor's cloud closed in 2015, so there is no default
//! address: it is a server of your own, with the key and the secret that it gave you.
//!
//! [`ToopherVerifier`] turns an attempt into calls and their answers into a verdict:
//!
//! - with an OTP: the API verifies it at once; nobody's phone rings;
//! - without, inside [`Approvals`](crate::Approvals): the phone is asked, and the verdict is
//!   [`Pending`](crate::Verdict::Pending) until it has answered. Only a boolean `pending: false` with a boolean
//!   `granted: true` is a grant. Without them around it nobody is asked, and an OTP is required;
//! - everything else (no answer in time, an answer of another shape, our own credentials refused) is an error, and the
//!   gate answers 503. Too many calls (429) are a denial with a time to wait.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_toopher::oauth1::Credentials;
//! use tower_toopher::toopher::{Initiate, ToopherClient, ToopherVerifier};
//! use tower_toopher::{Attempt, Factor, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any service of HTTP requests carries the calls; this one answers them itself.
//! let transport = service_fn(|request: Request<Bytes>| async move {
//!     assert_eq!(request.uri(), "https://mfa.example.com/v1/authentication_requests/initiate");
//!     let granted = request.body().ends_with(b"&otp=081804");
//!     let answer = format!(r#"{{"id": "1", "pending": false, "granted": {granted}}}"#);
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
//! });
//! let credentials = Credentials::new("key", "secret")?;
//! let client = ToopherClient::with_transport("https://mfa.example.com/v1".parse()?, credentials, transport);
//!
//! // Directly,
//! let status = client.authenticate(Initiate::by_user_name("alice").otp(&"081 804".parse()?)).await?;
//! assert!(status.is_granted());
//!
//! // or as the verifier of a gate: `ToopherLayer::new(Approvals::new(verifier)?)`.
//! let mut verifier = ToopherVerifier::new(client);
//! let attempt = Attempt::new(UserId::new("alice")?, "log in").with_otp(Some("081 804".parse()?));
//! assert_eq!(verifier.ready().await?.call(attempt).await?, Verdict::Granted(Factor::Totp));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `client`, `ToopherClient::new` takes `reqwest` for a transport. The feature `client-hyper` has a
//! leaner one, and `reqwest` is then not needed.
//!
//! # Terminals
//!
//! A [`Terminal`](crate::Terminal) is what people see on their phone of where a request comes from, and what a rule of
//! theirs ("automate here") is about. Two browsers from which one user does one thing are the same to the API **unless
//! their terminals differ**. Give each browser one with a discriminator, such as the random cookie of
//! [`TerminalCookie`] ([`ToopherLayer::terminal`](crate::ToopherLayer::terminal)).

mod base_url;
mod call;
mod client;
mod error;
mod error_kind;
mod exchange;
mod expected;
pub mod iframe;
mod initiate;
mod json;
mod methods;
mod reply;
mod terminal_cookie;
mod transport;
mod user;
mod verifier;

pub use self::base_url::{BaseUrl, InvalidBaseUrl};
pub use self::call::ApiCall;
pub use self::client::ToopherClient;
pub use self::error::ClientError;
pub use self::error_kind::ApiErrorKind;
pub use self::initiate::Initiate;
pub use self::reply::{ApiReply, AuthenticationStatus, PairingStatus, ResetLink};
pub use self::terminal_cookie::{TerminalCookie, TerminalCookieFuture, TerminalCookieService};
#[cfg(feature = "client-hyper")]
pub use self::transport::HyperTransport;
pub use self::transport::TransportError;
#[cfg(feature = "client")]
pub use self::transport::{ReqwestBody, ReqwestTransport};
pub use self::user::{User, UserTerminal};
pub use self::verifier::{Address, ByPairingId, ByUserName, PairingIds, ToopherError, ToopherVerifier};
