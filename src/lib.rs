//! Second-factor authentication as a [Tower](https://docs.rs/tower) middleware.
//!
//! A [`ToopherLayer`] wraps any HTTP service. It reads a one-time password (OTP) from a header or a form field, calls a
//! *verifier*, and forwards the request only after a grant. A verifier is any `tower::Service<Attempt, Response =
//! Verdict>`. The crate contains one that verifies TOTP codes (RFC 6238) in the process, and one that calls a server of
//! the Toopher API, which can ask users for an approval on their phones.
//!
//! # Contents
//!
//! - [First steps](#first-steps)
//! - [Forms, other locations, other formats](#forms-other-locations-other-formats)
//! - [Reuse a factor](#reuse-a-factor)
//! - [Approvals on the phone](#approvals-on-the-phone)
//! - [Password and code in one form](#password-and-code-in-one-form)
//! - [Timeouts and failures](#timeouts-and-failures)
//! - [Several processes](#several-processes)
//! - [Responses](#responses)
//! - [Guarantees](#guarantees)
//! - [Limits](#limits)
//!
//! # First steps
//!
//! The first factor, which is the application's own, inserts a [`UserId`] into the request's extensions. The layer
//! comes inside it.
//!
//! ```
//! # #[cfg(all(feature = "totp", feature = "axum"))] {
//! use axum::{Router, routing::get};
//! use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
//! use tower_toopher::{SecondFactor, ToopherLayer, TotpVerifier, UserId};
//!
//! // The user table: any type that implements `totp::Pairings`.
//! let users = MemoryPairings::new();
//! let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
//! users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));
//!
//! let app: Router = Router::new()
//!     .route("/account", get(|factor: SecondFactor| async move { format!("Hello, {}", factor.user()) }))
//!     .layer(ToopherLayer::new(TotpVerifier::new(users)?).action("see the account"));
//! // Outside the layer: the first factor, which inserts a `UserId` into the request's extensions.
//! # let _ = app; }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the first factor knows of a request, it inserts as typed extensions, and every part of the crate reads the same
//! values: [`UserId`], [`Terminal`], [`SessionId`](verify::SessionId), [`RequestId`](verify::RequestId),
//! [`ExtraBinding`](verify::ExtraBinding), [`AuditPath`](verify::AuditPath), and, for grants, their `Epoch`.
//!
//! The module `totp` documents enrollment (secret, `otpauth` URI, QR code, first code) and recovery codes.
//!
//! # Forms, other locations, other formats
//!
//! - [`HeaderOrForm`] also reads the OTP from a form field. For other locations, implement
//!   [`Extract`](middleware::Extract).
//! - [`ToopherLayer::reject_with`] changes the responses: HTML, a redirect, or gRPC statuses with
//!   [`GrpcStatus`](middleware::GrpcStatus).
//! - [`ToopherLayer::audit`] calls a function for each decision. The features `tracing` and `metrics` emit events and
//!   counters.
//! - [`Profile::ForwardAuth`](middleware::Profile::ForwardAuth) is for proxies such as nginx with `auth_request`.
//!
//! # Reuse a factor
//!
//! With the feature `grants` the layer issues a *grant* after a success, and later requests with it are forwarded
//! without verification. Each route sets the maximum age of the factor, and the other actions whose factors it accepts.
//! Grants are bound to the session and to an epoch, which the application changes when factors or passwords change.
//!
//! ```
//! # #[cfg(feature = "grants")] {
//! use std::time::Duration;
//!
//! use tower_toopher::ToopherLayer;
//! use tower_toopher::crypto::SealingKey;
//! use tower_toopher::middleware::grants::Grants;
//!
//! # let verifier = tower::service_fn(|_: tower_toopher::Attempt| async {
//! #     Ok::<_, std::convert::Infallible>(tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp))
//! # });
//! const HOUR: Duration = Duration::from_secs(60 * 60);
//! let grants = Grants::new(SealingKey::generate()?).lifetime(12 * HOUR);
//!
//! let layer = ToopherLayer::new(verifier).grants(grants);
//! let read = layer.clone().action("read the account").max_age(12 * HOUR).also_accept(["transfer money"]);
//! let transfer = layer.clone().action("transfer money").max_age(HOUR / 12);
//! // Without an age each request needs its own factor.
//! let close = layer.action("close the account");
//! # let _ = (read, transfer, close); }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A cookie (`__Host-`, `Secure`, `HttpOnly`, `SameSite`), a header, or the application's session carries the grant.
//! Behind an OAuth authorization server, a 401 can contain the challenge of RFC 9470: [`StepUp`](middleware::StepUp).
//!
//! # Approvals on the phone
//!
//! With the feature `client` the verifier calls a Toopher API, such as `toopher-server`. It verifies codes there, and
//! asks the user's phone if the request contains no code.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use tower_toopher::client::{Credentials, ToopherClient, ToopherVerifier};
//! use tower_toopher::{Approvals, ToopherLayer};
//!
//! let client = ToopherClient::new("https://mfa.example.com/v1".parse()?, Credentials::new("key", "secret")?)?;
//! // The first factor also inserts a `SessionId`, and a `Terminal`, which the phone displays.
//! let layer = ToopherLayer::new(Approvals::new(ToopherVerifier::new(client))?).approvals();
//! # let _ = layer; }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The response to such a request is 202 with an *approval token*. The client repeats the request with the token, in
//! the header `Toopher-Approval` or the form field `toopher_approval`, until it receives another response. With
//! `Prefer: wait=20` the layer waits for the decision. An approval is valid for one request, once, within two minutes:
//! for the same user, session, action, method, host, path, query and body. A page can poll the state or receive it by
//! server-sent events. One approval per user is pending at a time, and at most five are requested until the next
//! success.
//!
//! [`FallbackVerifier`](verify::FallbackVerifier) combines both: it verifies codes in the process, so that they work
//! while the server is down.
//!
//! # Password and code in one form
//!
//! If one form contains user name, password and code, verify the password first and the code second, in the handler,
//! through the verifier:
//!
//! ```
//! # #[cfg(feature = "totp")] {
//! use tower::ServiceExt;
//! use tower_toopher::totp::MemoryPairings;
//! use tower_toopher::{Attempt, BoxError, Otp, TotpVerifier, UserId, Verdict};
//!
//! # async fn verify_password(_: &str, _: &str) -> Result<Option<UserId>, BoxError> { Ok(None) }
//! async fn login(
//!     verifier: TotpVerifier<MemoryPairings>,
//!     name: &str,
//!     password: &str,
//!     code: &str,
//! ) -> Result<Option<UserId>, BoxError> {
//!     // The password comes first: without it, any client could lock any account by wrong codes.
//!     let Some(user) = verify_password(name, password).await? else { return Ok(None) };
//!     let Ok(otp) = code.parse::<Otp>() else { return Ok(None) };
//!     let verdict = verifier.oneshot(Attempt::new(user.clone(), "log in").with_otp(otp)).await?;
//!     Ok(matches!(verdict, Verdict::Granted(_)).then_some(user))
//! }
//! # let _ = login; }
//! ```
//!
//! # Timeouts and failures
//!
//! Compose timeouts, retries, circuit breakers and load shedding from tower, around the verifier. Any error of the
//! verifier becomes 503: a failure is never a denial and never a pass. [`FailOpenLayer`](verify::FailOpenLayer)
//! forwards requests within bounds while the verifier's backend is not running, for routes that must stay available.
//!
//! # Several processes
//!
//! Processes that serve the same users must share one store, and one key each for `Approvals` and for grants. Then it
//! does not matter which process a request reaches. `store::SqliteStore` serves the processes of one machine,
//! `store::RedisStore` and `store::PgStore` those of several machines.
//!
//! # Responses
//!
//! | outcome | status | contains |
//! |---|---|---|
//! | granted | the inner service's | a [`SecondFactor`] in the request's extensions; with grants, a grant |
//! | no user | 401 `unidentified` | `WWW-Authenticate` |
//! | no OTP and no reusable factor within `max_age` | 401 `otp_required` | `WWW-Authenticate` |
//! | OTP wrong, used, malformed; user unknown or not enrolled | 401 `otp_invalid` | `WWW-Authenticate` |
//! | denied on the phone | 401 `denied` | `WWW-Authenticate` |
//! | approval token of another request, expired, or redeemed | 401 `approval_invalid` | `WWW-Authenticate` |
//! | another approval of the user is pending | 401 `otp_required` | `WWW-Authenticate`, `Retry-After` |
//! | two OTPs; an unreadable form | 400 `otp_ambiguous`, `body_unreadable` | |
//! | form over the limit | 413 `body_too_large` | |
//! | not enrolled, if configured | 403 `enrollment_required` | |
//! | too many failures | 429 `too_many_failures` | `Retry-After`, unless an administrator must unlock |
//! | approval pending | 202 `pending` (401 to a forward-auth proxy) | `Toopher-Approval`, `Retry-After`, `Location` |
//! | verifier or store failed | 503 `unavailable` | `Retry-After` if known |
//!
//! Responses that depend on a factor have `Vary` ([caches](middleware#caches)). Every rejection has `Cache-Control:
//! no-store` and an `application/problem+json` body (RFC 9457) with the `type` `urn:tower-toopher:` and the word above.
//! The true reason, such as whether a code was wrong or used, is in the response's extensions as a [`Rejection`].
//!
//! # Guarantees
//!
//! - A code is accepted **once**: the store records the time step, not the text, so no other spelling, route, thread or
//!   older code of the window is accepted after it.
//! - Attempts are counted **before** they are verified, so a burst has no more guesses than a sequence. Five are free,
//!   then each doubles a delay; after a hundred in a row an administrator must unlock. A right code during a delay is
//!   rejected and not recorded as used. Beside a user who logs in, an attacker with the password has 1,925 guesses a
//!   year: a probability of 0.6 % (see `Throttle`).
//! - An approval is valid for the request that it was requested for, once. A user who is locked out by wrong codes
//!   cannot use approvals either, nor those that were allowed before the lock-out, as long as it lasts.
//! - It fails **closed**: an error of the verifier, the store, the user lookup or the clock is a 503. Absent, empty and
//!   malformed codes are three different inputs.
//! - Secrets are zeroized on drop, compared in constant time, and never part of a `Debug` output, an error or a URL.
//!
//! # Limits
//!
//! - The layer is neither a first factor nor a session.
//! - An attacker with the session and a grant needs no second factor while the grant is recent enough for the route.
//! - An in-memory store serves one process. With two replicas a code is accepted twice, and a restart deletes failures,
//!   pending approvals and the used codes of the last minutes.
//! - TOTP does not protect against a phishing site that relays the code at once. WebAuthn does.
//! - The layer limits neither slow bodies nor concurrent requests: put such layers outside.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "approvals")]
pub mod approvals;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "client", feature = "client-hyper"))]
pub mod client;
#[cfg(any(feature = "approvals", feature = "grants", feature = "totp"))]
pub mod crypto;
mod error;
pub mod headers;
pub mod middleware;
#[cfg(any(feature = "approvals", feature = "totp"))]
pub mod store;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod time;
#[cfg(feature = "totp")]
pub mod totp;
pub mod verify;

#[cfg(feature = "approvals")]
pub use crate::approvals::service::Approvals;
pub use crate::error::{ConfigError, ConfigErrorKind};
pub use crate::middleware::extract::{Header, HeaderOrForm};
pub use crate::middleware::layer::ToopherLayer;
pub use crate::middleware::response::{Rejection, RejectionKind};
pub use crate::middleware::service::ToopherService;
#[cfg(feature = "totp")]
pub use crate::totp::verifier::TotpVerifier;
pub use crate::verify::attempt::Attempt;
pub use crate::verify::error::BoxError;
pub use crate::verify::factor::{Factor, SecondFactor};
pub use crate::verify::otp::Otp;
pub use crate::verify::subject::{Action, Terminal, UserId};
pub use crate::verify::verdict::{DenyReason, Verdict};

/// The code of the README compiles and runs.
#[cfg(all(doctest, feature = "totp", feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code of the page on several machines compiles.
#[cfg(all(doctest, feature = "approvals", feature = "postgres", feature = "redis"))]
#[doc = include_str!("../docs/several-machines.md")]
struct SeveralMachines;
