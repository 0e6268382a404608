//! The middleware: the only part that sees a request.
//!
//! A [`ToopherLayer`] takes each request through these steps, and the first that says no ends it:
//!
//! 1. Skipped, or let pass by an outer gate for the same user and action: it goes on untouched. So does one whose user has
//!    shown a factor a while ago, where [the route takes that](ToopherLayer::max_age).
//! 2. Who is it? The first factor has put a [`UserId`](crate::UserId) into the request's extensions; without one the
//!    answer is 401, and neither verifier nor store hears of it.
//! 3. Where is the OTP? An [`Extract`] finds it: in a header, or in a header or form field.
//! 4. The verifier is asked. It sees an OTP only in its canonical spelling, and no OTP only if there was none at all.
//! 5. Granted: a [`SecondFactor`](crate::SecondFactor) goes into the request's extensions, and the request goes on.
//!    Everything else is answered here. A verifier's error is 503: trouble is never a pass, and never a denial.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_toopher::{Attempt, DenyReason, Factor, ToopherLayer, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any service of attempts verifies.
//! let verifier = service_fn(|attempt: Attempt| async move {
//!     Ok::<_, Infallible>(match attempt.otp() {
//!         None => Verdict::Denied(DenyReason::OtpRequired),
//!         Some(otp) if otp.as_str() == "081804" => Verdict::Granted(Factor::Totp),
//!         Some(_) => Verdict::Denied(DenyReason::WrongOtp),
//!     })
//! });
//! let app = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("in")))
//! });
//! let guarded = ToopherLayer::new(verifier).layer(app);
//!
//! let request = Request::builder().extension(UserId::new("alice")?);
//! let response = guarded.clone().oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//!
//! let request = Request::builder().extension(UserId::new("alice")?).header("Toopher-OTP", "081 804");
//! let response = guarded.clone().oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to put it
//!
//! - Inside the first factor, which must run first to say who it is.
//! - Inside CORS, compression, tracing and time limits, so that refusals pass through them too.
//! - Over *everything* that is to be guarded. In axum, `Router::layer` wraps the routes that were added before it, and
//!   the fallback; `route_layer` leaves the fallback out; a route that is added afterwards stands outside. Requests in
//!   flight are bounded outside the layer, as it is always ready.
//! - Inside a router's `nest`, paths have lost their prefix: remember it in closures that look at them.
//!
//! # Who hears of it
//!
//! Every decision is told, once: to a function ([`ToopherLayer::audit`]), and with the features `tracing` and `metrics` as
//! an event of the target `tower_toopher::audit` and in counters. A future that is dropped before it is decided is
//! one, too. The page `docs/observing.md` lists the names, which stay.
//!
//! # What the verifier must keep
//!
//! A `tower::Service` is made ready and called on a clone for each request, so state that is to be shared between
//! requests must be behind an `Arc`, and a concurrency limit must come from `GlobalConcurrencyLimitLayer` or a
//! `ConcurrencyLimit` that is cloned, not built anew.

mod body;
mod challenge;
mod decide;
mod extract;
#[cfg(feature = "faults")]
mod faults;
mod freshness;
mod future;
#[cfg(feature = "grants")]
pub mod grants;
#[cfg(not(feature = "grants"))]
#[path = "no_grants.rs"]
mod grants;
mod grpc;
mod layer;
mod observe;
mod policy;
mod problem;
mod realm;
mod refusals;
mod reject;
mod service;
mod settings;
mod step_up;

pub use self::body::ReplayBody;
pub use self::extract::{
    Extract, ExtractError, ExtractForm, Extracted, Header, HeaderOrForm, InPlace, Rebuild, Wrapped,
};
#[cfg(feature = "faults")]
pub use self::faults::{FaultPolicy, InvalidFaultPolicy};
pub use self::future::ResponseFuture;
#[cfg(feature = "grants")]
pub use self::grants::{Grant, Grants};
pub use self::grpc::GrpcStatus;
pub use self::layer::ToopherLayer;
#[cfg(feature = "metrics")]
pub use self::observe::describe_metrics;
pub use self::observe::{AuditEvent, AuditOutcome};
pub use self::realm::{InvalidRealm, Realm};
pub use self::reject::{ProblemJson, Reject, Rejection, RejectionKind};
pub use self::service::ToopherService;
pub use self::settings::{NotEnrolledPolicy, Profile};
pub use self::step_up::{InvalidAcrValue, StepUp};
