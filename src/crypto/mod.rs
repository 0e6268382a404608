//! Authenticated encryption, and random numbers.

pub(crate) mod random;
#[cfg(any(feature = "approvals", feature = "grants"))]
mod seal;

pub use self::random::NoRandomness;
#[cfg(any(feature = "approvals", feature = "grants"))]
pub use self::seal::{DecryptError, SealingKey};
#[cfg(any(feature = "approvals", feature = "grants"))]
pub(crate) use self::seal::{KeyRing, update_length_prefixed};
