//! Requests, an inner service and a verifier for the tests of the audit.

use http::Request;
pub use test_support::service::{Body, Calls, OneShotService};
use tower_toopher::TotpVerifier;
use tower_toopher::UserId;
pub use tower_toopher::test_util::{ManualClock as Clock, ScriptedVerifier};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};

/// The seed of RFC 6238's SHA-1 vectors.
pub const RFC_SECRET: &[u8; 20] = b"12345678901234567890";
/// A time at which the code of RFC_SECRET is 081804: the last second of its step.
pub const T: u64 = 1_111_111_109;
pub const CODE: &str = "081804";

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
