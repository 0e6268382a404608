//! Random tokens, and digests of what the database must not contain in plain text.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tower_toopher::crypto::SealingKey;

use crate::api_error::ApiError;

/// A random token of 256 bits.
pub(crate) fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

/// The digest of a token. Tokens have at least 128 random bits, so a salt would add nothing.
pub(crate) fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A digest that needs `key` (HMAC-SHA-256), for text that an attacker could guess from a plain digest. The key is
/// derived for this purpose, and encrypts nothing.
pub(crate) fn keyed_digest(key: &SealingKey, text: &str) -> Result<Vec<u8>, ApiError> {
    let mac = Hmac::<Sha256>::new_from_slice(key.to_hex().as_bytes()).map_err(|error| ApiError::internal(&error))?;
    Ok(mac.chain_update(text).finalize().into_bytes().to_vec())
}
