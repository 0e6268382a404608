//! The verifier over a Toopher API.

mod config;
mod error;
mod toopher_verifier;
mod user_lookup;
mod verify;

pub use self::toopher_verifier::ToopherVerifier;
pub use self::user_lookup::{ByPairingId, ByUserName, PairingIds, UserLookup};
