//! Encryption of what others keep for us and must not see: a database, or a client.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
#[cfg(any(feature = "approvals", feature = "grants"))]
use data_encoding::BASE64URL_NOPAD;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
#[cfg(feature = "server")]
use hmac::{Hmac, Mac};
#[cfg(any(feature = "approvals", feature = "grants"))]
use sha2::Digest;
#[cfg(any(feature = "approvals", feature = "grants", feature = "server"))]
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::random::{self, NoRandomness};

const NONCE: usize = 24;

/// A key of 256 bits (XChaCha20-Poly1305), under which secrets stand in a database, or challenges and grants in a
/// client's hands.
///
/// Without it a stolen database shows no consumer secret and no secret of a pairing, and nobody can make or alter a
/// challenge or a grant. Keep it apart from the database, and keep it: what was sealed with a lost key is lost.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// When the operating system has no random numbers to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// Reads a key from 64 hexadecimal digits, or from base64 (RFC 4648 section 4) of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidSealingKey`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidSealingKey> {
        let text = text.trim().as_bytes();
        let bytes = HEXLOWER_PERMISSIVE.decode(text).or_else(|_| BASE64.decode(text)).map_err(|_| InvalidSealingKey)?;
        let bytes = Zeroizing::new(bytes);
        Ok(Self(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| InvalidSealingKey)?)))
    }

    /// The key in hexadecimal digits, to keep it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&*self.0).to_ascii_lowercase())
    }

    /// Seals `secret` for one place, say a column of the row with an id: it opens nowhere else.
    pub(crate) fn seal(&self, place: &(impl AsRef<[u8]> + ?Sized), secret: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let mut nonce = [0; NONCE];
        random::fill(&mut nonce)?;
        let payload = Payload { msg: secret, aad: place.as_ref() };
        // Encryption fails only for messages of more than 256 GiB.
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| NoRandomness)?;
        Ok([&nonce[..], &sealed].concat())
    }

    pub(crate) fn open(
        &self,
        place: &(impl AsRef<[u8]> + ?Sized),
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Unsealable)?;
        let payload = Payload { msg: sealed, aad: place.as_ref() };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| Unsealable)
    }

    /// A digest that only the key can make: of what could be guessed from a plain one.
    #[cfg(feature = "server")]
    pub(crate) fn digest(&self, text: &str) -> Vec<u8> {
        #[allow(clippy::expect_used, reason = "an HMAC takes a key of any length (RFC 2104 section 2)")]
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&*self.0).expect("HMAC takes a key of any length");
        mac.chain_update(text).finalize().into_bytes().to_vec()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(<redacted>)")
    }
}

/// The keys of what clients keep for us, as letters, digits, `-` and `_`.
#[cfg(any(feature = "approvals", feature = "grants"))]
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) seals: SealingKey,
    /// The one before: what it has sealed still opens.
    pub(crate) opens: Option<SealingKey>,
}

#[cfg(any(feature = "approvals", feature = "grants"))]
impl Keys {
    pub(crate) fn seal_text(&self, place: &[u8], secret: &[u8]) -> Result<String, NoRandomness> {
        Ok(BASE64URL_NOPAD.encode(&self.seals.seal(place, secret)?))
    }

    /// What was sealed for `place` with one of the keys.
    pub(crate) fn open_text(&self, place: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = BASE64URL_NOPAD.decode(text).ok()?;
        std::iter::once(&self.seals).chain(&self.opens).find_map(|key| key.open(place, &sealed).ok())
    }
}

/// A digest of parts, each with its length, so that no two lists of parts are one text.
#[cfg(any(feature = "approvals", feature = "grants"))]
pub(crate) fn field(digest: &mut Sha256, part: Option<&[u8]>) {
    match part {
        None => digest.update([0]),
        Some(part) => {
            digest.update([1]);
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
}

/// A text that is no [`SealingKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSealingKey;

impl fmt::Display for InvalidSealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sealing key is 64 hexadecimal digits, or 32 bytes in base64")
    }
}

impl std::error::Error for InvalidSealingKey {}

/// What is sealed was sealed with another key, for another place, or has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsealable;

impl fmt::Display for Unsealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret in the database does not open with this key: is it the key the database was made with?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_in_the_same_place() {
        let key = SealingKey::generate().unwrap();
        let sealed = key.seal("pairing 1", b"hush").unwrap();
        assert_eq!(key.open("pairing 1", &sealed).unwrap().as_slice(), b"hush");
        assert_eq!(key.open("pairing 2", &sealed), Err(Unsealable));
        assert_eq!(SealingKey::generate().unwrap().open("pairing 1", &sealed), Err(Unsealable));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open("pairing 1", &changed), Err(Unsealable));
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open("pairing 1", &sealed[..length]), Err(Unsealable));
        }
        assert_ne!(key.seal("pairing 1", b"hush").unwrap(), sealed);
    }

    #[test]
    fn keys_are_read_in_two_spellings() {
        let key = SealingKey::generate().unwrap();
        let hex = key.to_hex();
        let sealed = SealingKey::parse(&format!(" {}\n", hex.to_uppercase())).unwrap().seal("", b"x").unwrap();
        assert!(key.open("", &sealed).is_ok());
        let base64 = BASE64.encode(&HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap());
        assert!(SealingKey::parse(&base64).unwrap().open("", &sealed).is_ok());
        for bad in ["", "00", "secret", &hex[1..], &format!("{}00", *hex)] {
            assert!(SealingKey::parse(bad).is_err());
        }
        assert_eq!(format!("{key:?}"), "SealingKey(<redacted>)");
    }
}
