//! The middleware: the only part that sees a request.
//!
//! A [`ToopherLayer`](crate::ToopherLayer) handles each request in these steps. The first step that decides ends it:
//!
//! 1. Skipped, or verified by an outer layer for the same user and action: the layer forwards the request unchanged. It
//!    does the same if the user has shown a factor recently and [the route allows that](crate::ToopherLayer::max_age).
//! 2. Identify: the first factor has inserted a [`UserId`](crate::UserId) into the request's extensions. Without one
//!    the response is 401, and neither verifier nor store is called.
//! 3. Extract: an [`Extract`] reads the OTP from a header, or from a header or a form field.
//! 4. Verify: the verifier receives an [`Attempt`](crate::Attempt). It sees an OTP only in its canonical form, and no
//!    OTP only if the request contained none.
//! 5. Respond: after a grant the layer inserts a [`SecondFactor`](crate::SecondFactor) into the request's extensions
//!    and forwards the request. Otherwise the layer responds. A verifier's error is 503: a failure neither grants nor
//!    denies.
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
//! // Any service that maps attempts to verdicts is a verifier.
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
//! let service = ToopherLayer::new(verifier).layer(app);
//!
//! let request = Request::builder().extension(UserId::new("alice")?);
//! let response = service.clone().oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
//!
//! let request = Request::builder().extension(UserId::new("alice")?).header("Toopher-OTP", "081 804");
//! let response = service.clone().oneshot(request.body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! # Caches
//!
//! A response that depends on a factor must not reach another client through a cache. The layer adds `Vary` to its own
//! responses and to those of requests that it verified or forwarded because of an earlier factor: the headers of the
//! OTP, the approval token and the grant, `Authorization` and `Cookie`, in one line with the names that the inner
//! service has set. What the layer adds to `Cache-Control` depends on the directives of the inner service:
//!
//! | the inner service sets | the layer adds |
//! |---|---|
//! | `no-store`, `private`, `public` or `s-maxage` | nothing |
//! | else `max-age` or `no-cache`, or only `Expires` and no `Cache-Control` | `private` |
//! | anything else | `no-store` |
//!
//! A handler that allows shared caches to store its response (`public`, `s-maxage`, or a header for one kind of cache
//! such as `CDN-Cache-Control`) enables an attack: a cache that ignores `Vary`, as some content delivery networks do,
//! gives the response to clients without a factor. So does a layer or a proxy outside that replaces `Vary`, removes or
//! replaces `Cache-Control`, or appends a line to `Vary` as tower-http's `CorsLayer` does: nginx before 1.23 reads only
//! the last line. A response with a grant in a cookie or a header is `no-store`, whatever the handler sets. Responses
//! to [skipped](crate::ToopherLayer::insecure_skip) requests do not depend on a factor and remain unchanged.
//!
//! # Where to put it
//!
//! - Inside the first factor, which must run first to identify the user.
//! - Inside CORS, compression, tracing and timeouts, so that they apply to rejections too.
//! - Around *everything* that needs protection. In axum, `Router::layer` wraps the routes that were added before it,
//!   and the fallback; `route_layer` omits the fallback; a route that is added later is not protected. Limit concurrent
//!   requests outside the layer, because it is always ready. In contrast, tower-http's `AsyncRequireAuthorization`
//!   passes the inner service's readiness on.
//! - Inside a router's `nest`, paths have no prefix: consider this in closures that read them.
//!
//! # Auditing
//!
//! Each decision emits exactly one event: to the [`audit`](crate::ToopherLayer::audit) sink, and with the features
//! `tracing` and `metrics` as an event with the target `tower_toopher::audit` and in counters. A future that is dropped
//! before the decision emits one too. The page `docs/auditing.md` lists the names, which are stable.
//!
//! # Requirements on the verifier
//!
//! Each request drives a clone of the verifier to readiness and calls it. State that requests share must be behind an
//! `Arc`, and a concurrency limit must come from `GlobalConcurrencyLimitLayer` or from one `ConcurrencyLimit` that is
//! cloned.

mod audit;
mod config;
mod decision;
pub(crate) mod extract;
mod future;
#[cfg(feature = "grants")]
pub mod grants;
mod head;
pub(crate) mod layer;
pub(crate) mod response;
mod reuse;
pub(crate) mod service;
mod step;

#[cfg(feature = "metrics")]
pub use self::audit::describe_metrics;
pub use self::audit::{AuditEvent, Outcome, escape_for_log};
pub use self::config::{NotEnrolledPolicy, Profile};
pub use self::extract::{
    Credentials, Extract, ExtractError, ExtractForm, InPlace, Rebuild, ReplayBody, UnreadableForm, Wrapped, is_form,
};
pub use self::future::ResponseFuture;
#[cfg(any(feature = "client", feature = "client-hyper"))]
pub(crate) use self::response::prevent_caching;
pub use self::response::{GrpcStatus, ProblemJson, Realm, Reject, StepUp};
