//! Grants: the encrypted proof that a factor was verified earlier.
//!
//! Without grants each request needs its own factor. With grants the layer, after a success, sends a grant to the
//! client, and a later request with it can be forwarded without verification. **The route decides, not the grant**: how
//! long ago the factor may have been verified ([`ToopherLayer::max_age`](crate::ToopherLayer::max_age), zero by
//! default), and for which actions ([`ToopherLayer::also_accept`](crate::ToopherLayer::also_accept), its own by
//! default).
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_toopher::crypto::SealingKey;
//! use tower_toopher::middleware::grants::{Epoch, Grants};
//! use tower_toopher::verify::SessionId;
//! use tower_toopher::{Attempt, DenyReason, Factor, ToopherLayer, UserId, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let grants = Grants::new(SealingKey::generate()?);
//! # let verifier = service_fn(|attempt: Attempt| async move {
//! #     Ok::<_, Infallible>(match attempt.otp() {
//! #         Some(otp) if otp.as_str() == "081804" => Verdict::Granted(Factor::Totp),
//! #         _ => Verdict::Denied(DenyReason::OtpRequired),
//! #     })
//! # });
//! # let app = service_fn(|_: Request<Full<Bytes>>| async {
//! #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("in")))
//! # });
//! let layer = ToopherLayer::new(verifier).grants(grants);
//! let quarter = Duration::from_secs(15 * 60);
//! let read = layer.clone().action("read").max_age(quarter).also_accept(["pay"]).layer(app.clone());
//! let pay = layer.action("pay").layer(app);
//!
//! // The first factor inserts the user, the session and the epoch into the request's extensions.
//! let (user, session) = (UserId::new("alice")?, SessionId::new("d1f5c2")?);
//! let alice =
//!     || Request::builder().extension(user.clone()).extension(session.clone()).extension(Epoch::from(7_u64));
//! let response = pay.clone().oneshot(alice().header("Toopher-OTP", "081804").body(Full::default())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! // `__Host-second-factor=…; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Strict`
//! let set = response.headers()["set-cookie"].to_str()?;
//! let cookie = set.split(';').next().unwrap();
//!
//! let again = || alice().header("Cookie", cookie).body(Full::default());
//! assert_eq!(read.clone().oneshot(again()?).await?.status(), StatusCode::OK);
//! // This route requires a factor for each request.
//! assert_eq!(pay.oneshot(again()?).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # Content of a grant
//!
//! A grant contains the verified factors, their actions and times: the latest of each action, at most eight. It is
//! encrypted and authenticated (XChaCha20-Poly1305), so the client can neither read nor alter it, and it decrypts only
//! for the same user, session and epoch. An invalid grant is not an error: the layer handles the request like one
//! without a grant and requires a factor.
//!
//! - **Only a factor that was verified for this request leads to a grant**: not another grant, so a grant cannot be
//!   renewed without a factor, and not a request that was skipped or forwarded without a factor. The new grant also
//!   contains the factors of the grant that came with the request, with their original times.
//! - The layer adds the grant to the inner service's response, whatever its status. It does not replace a cookie of the
//!   same name that the response sets. With a grant in a cookie or a header, `Cache-Control` becomes `no-store`, and
//!   the headers that allow caches to store the response are removed.
//! - If no grant can be issued (no session, no epoch, no random numbers), the layer forwards the request without one.
//!
//! # Nested layers
//!
//! Each layer applies its own rules: a factor that an outer layer accepts may be too old for an inner one, which then
//! requires a new one. An OTP in the request stays for the inner layer. If both layers need a new factor, an OTP in a
//! *form* stays in the form, so the inner layer finds the code that the outer one has used, and rejects it as used.
//! Give each layer its own field then, as [`HeaderOrForm`](crate::HeaderOrForm#a-form-for-two-layers) shows. If both
//! layers issue a grant for one request, the inner one is kept. A
//! [forward-auth](crate::middleware::Profile::ForwardAuth) proxy must pass `Set-Cookie` on to the client.
//!
//! # Invalidation
//!
//! - Age: [`lifetime`](Grants::lifetime), whatever a route allows.
//! - Session: the grant does not decrypt with another session id.
//! - Epoch, for all grants of a user at once: change it when factors are enrolled or removed, when a password changes,
//!   and for "log out everywhere".
//! - Keys: a grant does not decrypt after its key was removed.
//! - [`clear_cookie`](Grants::clear_cookie) deletes the browser's copy, and no other copy.
//!
//! # What an attacker can do
//!
//! An attacker with the session **and** the grant needs no second factor while the grant is recent enough. That is the
//! price of fewer prompts. The grant alone gives no access, because it identifies no user. Neither does the session
//! alone.

mod codec;
mod config;
mod epoch;
mod grant;
mod issue;
mod transport;

pub use self::config::Grants;
pub use self::epoch::Epoch;
pub use self::grant::Grant;
pub(super) use self::issue::{GrantContext, GrantHeader};
pub use self::transport::SameSite;
