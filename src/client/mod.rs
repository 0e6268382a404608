//! A client of the Toopher API, and the verifier that uses it.
//!
//! The API verifies OTPs and requests approvals on the user's phone. The vendor shut its service down in 2015, so there
//! is no default URL: use your own server, with the consumer key and secret that it issued.
//!
//! [`ToopherVerifier`] maps attempts to API calls, and their responses to verdicts:
//!
//! - An attempt with an OTP: the API verifies the OTP immediately. It sends no push.
//! - An attempt without an OTP, inside [`Approvals`](crate::Approvals): the API sends a push, and the verdict is
//!   [`Verdict::Pending`](crate::Verdict::Pending) until the user decides. Only a response with the JSON booleans
//!   `pending: false` and `granted: true` is a grant. Outside `Approvals` the verifier sends no push and requires an
//!   OTP.
//! - HTTP 429: the verdict is a denial with the time to wait.
//! - Every other error (a timeout, a malformed response, rejected credentials): the verifier returns an error, and the
//!   layer responds with 503.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_toopher::client::{AuthenticationRequest, Credentials, ToopherClient, ToopherVerifier};
//! use tower_toopher::{Attempt, Factor, Otp, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any service of HTTP requests is a transport. This one responds without a network.
//! let transport = service_fn(|request: Request<Bytes>| async move {
//!     assert_eq!(request.uri(), "https://mfa.example.com/v1/authentication_requests/initiate");
//!     let granted = request.body().ends_with(b"&otp=081804");
//!     let body = format!(r#"{{"id": "1", "pending": false, "granted": {granted}}}"#);
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
//! });
//! let credentials = Credentials::new("key", "secret")?;
//! let client = ToopherClient::with_transport("https://mfa.example.com/v1".parse()?, credentials, transport);
//!
//! // Call the API directly,
//! let otp: Otp = "081 804".parse()?;
//! let status = client.authenticate(AuthenticationRequest::from_user_name("alice").otp(&otp)).await?;
//! assert!(status.is_granted());
//!
//! // or use the client in the verifier of a layer: `ToopherLayer::new(Approvals::new(verifier)?)`.
//! let mut verifier = ToopherVerifier::new(client);
//! let attempt = Attempt::new(UserId::new("alice")?, "log in").with_otp(otp);
//! assert_eq!(verifier.ready().await?.call(attempt).await?, Verdict::Granted(Factor::Totp));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `client`, `ToopherClient::new` uses `reqwest` as its transport. The feature `client-hyper` provides
//! a smaller transport and does not need `reqwest`.
//!
//! # Terminals
//!
//! A [`Terminal`](crate::Terminal) describes where a request comes from. The phone displays its name, and the user can
//! automate approvals for it. The API cannot distinguish two browsers of the same user **unless their terminals
//! differ**. Insert a terminal with a discriminator for each browser: [`TerminalCookie`] is a layer that does this with
//! a random cookie.

mod api_error_kind;
mod authentication_request;
mod authentication_status;
mod base_url;
mod call;
mod config;
mod error;
pub mod iframe;
mod json;
mod methods;
mod pairing_status;
mod response;
mod response_shape;
mod send;
mod terminal_cookie;
mod toopher_client;
mod transport;
mod user;
mod verifier;

pub use toopher_oauth1::Credentials;

pub use self::api_error_kind::ApiErrorKind;
pub use self::authentication_request::AuthenticationRequest;
pub use self::authentication_status::AuthenticationStatus;
pub use self::base_url::BaseUrl;
pub use self::call::ApiCall;
pub use self::error::{ClientError, ClientErrorKind};
pub use self::pairing_status::PairingStatus;
pub use self::response::{ApiResponse, ResetLink};
pub use self::terminal_cookie::{TerminalCookie, TerminalCookieFuture, TerminalCookieService};
pub use self::toopher_client::ToopherClient;
#[cfg(feature = "client-hyper")]
pub use self::transport::HyperTransport;
pub use self::transport::TransportError;
#[cfg(feature = "client")]
pub use self::transport::{ReqwestBody, ReqwestTransport};
pub use self::user::{User, UserTerminal};
pub use self::verifier::{ByPairingId, ByUserName, PairingIds, ToopherVerifier, UserLookup};
