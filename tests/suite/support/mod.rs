//! Requests, an inner service and a verifier that the tests share.
#![allow(dead_code, reason = "each set of features uses a part")]

#[cfg(feature = "redis")]
pub mod burst;
#[cfg(feature = "redis")]
pub mod fault_injection;
pub mod harness;
pub mod phones;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub mod servers;
pub mod stores;

use http::{Request, Response};
pub use test_support::service::{Body, Calls, OneShotService};
use tower_toopher::TotpVerifier;
pub use tower_toopher::test_util::{ManualClock as Clock, ScriptedVerifier};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::verify::SessionId;
use tower_toopher::{Rejection, RejectionKind, UserId};

/// The seed of RFC 6238's SHA-1 vectors.
pub const RFC_SECRET: &[u8; 20] = b"12345678901234567890";
/// A time at which the code of RFC_SECRET is 081804: the last second of its step.
pub const T: u64 = 1_111_111_109;
pub const CODE: &str = "081804";
/// The code of RFC_SECRET one step later.
pub const NEXT_CODE: &str = "050471";

pub fn alice() -> UserId {
    user("alice")
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn rfc_totp() -> Totp {
    Totp::new(Secret::from_bytes(*RFC_SECRET).unwrap())
}

/// A verifier that knows alice with RFC_SECRET, and its clock, which is at [`T`].
pub fn totp_verifier() -> (TotpVerifier<MemoryPairings>, Clock, MemoryPairings) {
    let (clock, users) = (Clock::from_secs(T), MemoryPairings::new());
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    let verifier = TotpVerifier::new(users.clone()).unwrap().clock(&clock);
    (verifier, clock, users)
}

/// A request of alice with this OTP in its header.
pub fn request(otp: Option<&str>) -> Request<Body> {
    request_of(alice(), otp)
}

pub fn request_of(user: UserId, otp: Option<&str>) -> Request<Body> {
    let builder = Request::builder().uri("/account").extension(user);
    let builder = match otp {
        Some(otp) => builder.header("Toopher-OTP", otp),
        None => builder,
    };
    builder.body(Body::default()).unwrap()
}

/// The request with this session in its extensions.
pub fn with_session<B>(mut request: Request<B>, session: &str) -> Request<B> {
    request.extensions_mut().insert(SessionId::new(session).unwrap());
    request
}

/// The reason of a rejection.
pub fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get::<Rejection>().map(Rejection::kind)
}
