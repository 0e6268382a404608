//! The epoch of a user's grants.

use std::fmt;

use sha2::{Digest, Sha256};

/// A value whose change invalidates all grants of a user. Any other value is another epoch, including a smaller one.
///
/// The application loads it with the user and inserts it into the request's extensions.
///
/// ```
/// use tower_toopher::middleware::grants::Epoch;
///
/// // A counter, or a column of SQL, which has no unsigned numbers.
/// assert_eq!(Epoch::from(7_u64), Epoch::from(7_i64));
/// // Or data that changes with password and authenticator, such as their digests, concatenated.
/// assert_ne!(Epoch::from_bytes("2b1f…"), Epoch::from_bytes("9c07…"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub(super) [u8; 32]);

impl Epoch {
    /// The epoch that any bytes identify.
    #[must_use]
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::new().chain_update(b"bytes").chain_update(bytes).finalize().into())
    }

    fn from_number(number: i128) -> Self {
        Self(Sha256::new().chain_update(b"number").chain_update(number.to_be_bytes()).finalize().into())
    }
}

impl From<u64> for Epoch {
    fn from(number: u64) -> Self {
        Self::from_number(number.into())
    }
}

impl From<u32> for Epoch {
    fn from(number: u32) -> Self {
        Self::from_number(number.into())
    }
}

impl From<i32> for Epoch {
    fn from(number: i32) -> Self {
        Self::from_number(number.into())
    }
}

impl From<i64> for Epoch {
    fn from(number: i64) -> Self {
        Self::from_number(number.into())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoch(<digest>)")
    }
}
