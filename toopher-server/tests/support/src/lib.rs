//! Shared parts of the test crates of toopher-server: a relying party and its phones, and clusters of servers.
#![allow(clippy::unwrap_used, missing_debug_implementations)]

pub mod burst;
pub mod cluster;
pub mod site;

use tower_toopher::UserId;
pub use tower_toopher::test_util::ManualClock as Clock;
use tower_toopher::totp::{Secret, Totp};

/// The secret of RFC 6238's SHA-1 test vectors.
pub const RFC_SECRET: &[u8; 20] = b"12345678901234567890";
/// A time at which the code of RFC_SECRET is 081804: the last second of its step.
pub const T: u64 = 1_111_111_109;

pub fn alice() -> UserId {
    user("alice")
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn rfc_totp() -> Totp {
    Totp::new(Secret::from_bytes(*RFC_SECRET).unwrap())
}
