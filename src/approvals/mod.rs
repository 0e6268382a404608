//! Approvals on the user's phone: requested once, polled, bound to one request, and redeemed once.
//!
//! [`Approvals`](crate::Approvals) wraps a verifier that can request approvals, such as `client::ToopherVerifier`, in a
//! layer that [allows them](crate::ToopherLayer::approvals):
//!
//! 1. For a request without an OTP, the verifier sends a push to the user's phone. The response is 202. It contains an
//!    *approval token*, in the header `Toopher-Approval` and in the body, and `Retry-After`.
//! 2. The client repeats **the same request** with the token (in the header `Toopher-Approval`, or in the form field
//!    `toopher_approval`) until the response is not 202. Or it sends an OTP, which decides at once. With `Prefer:
//!    wait=20` (RFC 7240) the layer waits for the decision, at most for that time.
//! 3. If the user allows it, one request is granted. If the user denies it, the response is 401. For every other token
//!    (altered, of another user, of another session, for another request, expired, or redeemed) it is 401
//!    `approval_invalid`.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_toopher::verify::{ApprovalId, ApprovalMode, PendingApproval, SessionId};
//! use tower_toopher::{Approvals, Attempt, DenyReason, Factor, ToopherLayer, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static ALLOWED: AtomicBool = AtomicBool::new(false);
//! // A verifier that asks the user in its own way.
//! let verifier = service_fn(|attempt: Attempt| async move {
//!     Ok::<_, Infallible>(match attempt.approval_mode() {
//!         ApprovalMode::Request => PendingApproval::new().with_id(ApprovalId::new("request 1").unwrap()).into(),
//!         ApprovalMode::Poll(id) if id.as_str() == "request 1" => match ALLOWED.load(Ordering::SeqCst) {
//!             true => Verdict::Granted(Factor::Push),
//!             false => PendingApproval::new().into(),
//!         },
//!         _ => Verdict::Denied(DenyReason::OtpRequired),
//!     })
//! });
//! let app = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("paid")))
//! });
//! let service = ToopherLayer::new(Approvals::new(verifier)?).approvals().layer(app);
//!
//! // The first factor inserts the user and the session into the request's extensions.
//! let (user, session) = (UserId::new("alice")?, SessionId::new("d1f5c2")?);
//! let pay = || Request::post("/pay").extension(user.clone()).extension(session.clone());
//! let response = service.clone().oneshot(pay().body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::ACCEPTED);
//! let token = response.headers()["toopher-approval"].clone();
//!
//! ALLOWED.store(true, Ordering::SeqCst);
//! let again = || pay().header("toopher-approval", &token).body(Full::default());
//! assert_eq!(service.clone().oneshot(again()?).await?.status(), StatusCode::OK);
//! // The approval is redeemed.
//! assert_eq!(service.clone().oneshot(again()?).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # What an attacker with the password can do
//!
//! - Send pushes to the user's phone, one at a time, up to [a limit](crate::Approvals::limit) until the user logs in.
//!   The user may allow one of them, which is the weakness of all approvals. If the verifier supports it, display a
//!   number that the user enters on the phone ([`PendingApproval::number`](crate::verify::PendingApproval::number)).
//! - Keep an approval pending, so that the user must enter an OTP, which is always possible.
//! - Not: use an approval that the user was asked for in another session.
//!
//! # Nested layers
//!
//! A request contains one token. If two layers require approvals for different actions, the inner one is never
//! satisfied. Let one of them require an OTP.
//!
//! # Several processes
//!
//! They must share [the key](crate::Approvals::key) and [the store](crate::Approvals::store). With a store in memory,
//! the token of another process is unknown.

mod config;
mod error;
mod flow;
mod limiter;
mod poll;
pub(crate) mod service;
mod sse;
mod status;
mod status_response;
mod token;
mod withdraw;

pub use self::config::SecondRequest;
pub use self::error::{ApprovalError, ApprovalErrorKind};
pub use self::sse::StatusBody;
pub use self::status::{ApprovalStatus, StatusFuture};
