//! The advisory locks of PostgreSQL.

use sha2::{Digest, Sha256};

/// The number of the advisory lock for a key.
pub(crate) fn lock_number(key: &str) -> i64 {
    let mut digest = Sha256::new();
    digest.update("tower-toopher lock: ");
    digest.update(key);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    i64::from_be_bytes(bytes)
}
