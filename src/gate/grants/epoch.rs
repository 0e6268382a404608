//! What ends all grants of a user at once.

use std::fmt;

use sha2::{Digest, Sha256};

/// What ends all grants of a user when it changes. Any other value is another epoch, a smaller one too.
///
/// ```
/// use tower_toopher::gate::grants::Epoch;
///
/// // A counter, or a column of SQL, which has no unsigned numbers.
/// assert_eq!(Epoch::from(7_u64), Epoch::from(7_i64));
/// // Or whatever changes with password and authenticator: their digests, say, one after the other.
/// assert_ne!(Epoch::of("2b1f…"), Epoch::of("9c07…"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub(super) [u8; 32]);

impl Epoch {
    /// Takes any bytes.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::new().chain_update(b"bytes").chain_update(bytes).finalize().into())
    }

    fn number(number: i128) -> Self {
        Self(Sha256::new().chain_update(b"number").chain_update(number.to_be_bytes()).finalize().into())
    }
}

impl From<u64> for Epoch {
    fn from(number: u64) -> Self {
        Self::number(number.into())
    }
}

impl From<u32> for Epoch {
    fn from(number: u32) -> Self {
        Self::number(number.into())
    }
}

impl From<i32> for Epoch {
    fn from(number: i32) -> Self {
        Self::number(number.into())
    }
}

impl From<i64> for Epoch {
    fn from(number: i64) -> Self {
        Self::number(number.into())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoch(<digest>)")
    }
}
