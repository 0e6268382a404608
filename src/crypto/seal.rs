//! Authenticated encryption of what clients and databases store for this crate.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::random::{self, NoRandomness};
use crate::error::{ConfigError, ConfigErrorKind};

/// The length of the nonce, which precedes the ciphertext.
const NONCE: usize = 24;

/// A key of 256 bits for XChaCha20-Poly1305. It encrypts approval tokens and grants, which clients store, and the
/// secrets in a database.
///
/// Without the key, a stolen database reveals no consumer secret and no secret of a pairing, and no client can create
/// or alter an approval token or a grant. Store the key apart from the database, and keep a copy: what was encrypted
/// with a lost key cannot be recovered.
///
/// ```
/// use tower_toopher::crypto::SealingKey;
///
/// let key = SealingKey::generate()?;
/// let encrypted = key.encrypt("consumer secret of row 7", b"secret")?;
/// assert_eq!(key.decrypt("consumer secret of row 7", &encrypted)?.as_slice(), b"secret");
/// assert!(key.decrypt("consumer secret of row 8", &encrypted).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Generates a random key.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when the operating system provides no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// Parses a key from 64 hexadecimal digits, or from 32 bytes in base64 (RFC 4648 section 4).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the text is neither.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        const INVALID: ConfigError = ConfigError::new(ConfigErrorKind::SealingKey);
        let text = text.trim().as_bytes();
        let bytes = HEXLOWER_PERMISSIVE.decode(text).or_else(|_| BASE64.decode(text)).map_err(|_| INVALID)?;
        let bytes = Zeroizing::new(bytes);
        Ok(Self(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| INVALID)?)))
    }

    /// The key as hexadecimal digits, for storing it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&*self.0).to_ascii_lowercase())
    }

    /// Derives the key for one purpose (HKDF-SHA-256, RFC 5869, with `purpose` as the info).
    ///
    /// A key must have one purpose. `Grants`, `Approvals` and `toopher-server` derive their keys with labels of their
    /// own, so one stored key is enough for all of them. If an application encrypts several kinds of data, or also uses
    /// the key for an HMAC, it derives a key for each.
    ///
    /// ```
    /// use tower_toopher::crypto::SealingKey;
    ///
    /// let key = SealingKey::generate()?;
    /// let (cookies, columns) = (key.derive("my-app cookies"), key.derive("my-app columns"));
    /// assert!(columns.decrypt("", &cookies.encrypt("", b"secret")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let derived = Hkdf::<Sha256>::new(None, &*self.0).expand(purpose.as_bytes(), &mut *key);
        #[allow(clippy::expect_used, reason = "HKDF derives up to 255 blocks of 32 bytes (RFC 5869 section 2.3)")]
        derived.expect("HKDF derives 32 bytes");
        Self(key)
    }

    /// Encrypts and authenticates `secret` (XChaCha20-Poly1305 with a random nonce, which the result begins with).
    ///
    /// `aad` is the associated data, which names what the secret belongs to, for example the id of a row. The result
    /// decrypts only with the same `aad`, so it cannot be moved to another row.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when the operating system provides no random numbers.
    pub fn encrypt(&self, aad: &(impl AsRef<[u8]> + ?Sized), secret: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let mut nonce = [0; NONCE];
        random::fill(&mut nonce)?;
        let payload = Payload { msg: secret, aad: aad.as_ref() };
        // Encryption fails only for messages of more than 256 GiB.
        let encrypted = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| NoRandomness)?;
        Ok([&nonce[..], &encrypted].concat())
    }

    /// Decrypts what [`encrypt`](Self::encrypt) returned for the same `aad`.
    ///
    /// # Errors
    ///
    /// [`DecryptError`] when the data was encrypted with another key or for other associated data, or was altered.
    pub fn decrypt(
        &self,
        aad: &(impl AsRef<[u8]> + ?Sized),
        encrypted: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let (nonce, encrypted) = encrypted.split_first_chunk::<NONCE>().ok_or(DecryptError)?;
        let payload = Payload { msg: encrypted, aad: aad.as_ref() };
        self.cipher().decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| DecryptError)
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

/// The keys for approval tokens and grants, which clients store as letters, digits, `-` and `_`.
#[derive(Clone, Debug)]
pub(crate) struct KeyRing {
    /// The keys are derived with this label, so that a text of one purpose decrypts for no other one.
    purpose: &'static str,
    /// Encrypts, and decrypts.
    current: SealingKey,
    /// Only decrypts: the key before the current one.
    previous: Option<SealingKey>,
}

impl KeyRing {
    pub(crate) fn new(purpose: &'static str, current: &SealingKey) -> Self {
        Self { purpose, current: current.derive(purpose), previous: None }
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn set_current(&mut self, key: &SealingKey) {
        self.current = key.derive(self.purpose);
    }

    pub(crate) fn set_previous(&mut self, key: &SealingKey) {
        self.previous = Some(key.derive(self.purpose));
    }

    pub(crate) fn encrypt_text(&self, aad: &[u8], secret: &[u8]) -> Result<String, NoRandomness> {
        Ok(BASE64URL_NOPAD.encode(&self.current.encrypt(aad, secret)?))
    }

    /// Decrypts with one of the keys. Returns `None` if neither key encrypted the text for `aad`.
    pub(crate) fn decrypt_text(&self, aad: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let encrypted = BASE64URL_NOPAD.decode(text).ok()?;
        std::iter::once(&self.current).chain(&self.previous).find_map(|key| key.decrypt(aad, &encrypted).ok())
    }
}

/// Adds a part with its length to `digest`, so that two different lists of parts never give the same digest.
pub(crate) fn update_length_prefixed(digest: &mut Sha256, part: Option<&[u8]>) {
    match part {
        None => digest.update([0]),
        Some(part) => {
            digest.update([1]);
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
}

/// The error of [`SealingKey::decrypt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecryptError;

impl fmt::Display for DecryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("decryption failed: the key is another one, or the data belongs to another record or was altered")
    }
}

impl std::error::Error for DecryptError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decryption_needs_the_same_key_and_the_same_aad() {
        let key = SealingKey::generate().unwrap();
        let encrypted = key.encrypt("pairing 1", b"hush").unwrap();
        assert_eq!(key.decrypt("pairing 1", &encrypted).unwrap().as_slice(), b"hush");
        assert_eq!(key.decrypt("pairing 2", &encrypted), Err(DecryptError));
        assert_eq!(SealingKey::generate().unwrap().decrypt("pairing 1", &encrypted), Err(DecryptError));
        for at in 0..encrypted.len() {
            let mut changed = encrypted.clone();
            changed[at] ^= 1;
            assert_eq!(key.decrypt("pairing 1", &changed), Err(DecryptError));
        }
        for length in 0..encrypted.len() {
            assert_eq!(key.decrypt("pairing 1", &encrypted[..length]), Err(DecryptError));
        }
        assert_ne!(key.encrypt("pairing 1", b"hush").unwrap(), encrypted);
    }

    /// Computed with the HKDF of another implementation.
    #[test]
    fn each_purpose_has_its_own_key() {
        let key = SealingKey::parse(&"07".repeat(32)).unwrap();
        assert_eq!(
            key.derive("a purpose").to_hex().as_str(),
            "2be1604292badce768e060ace7b4c7616bbd060b3f97fd003fc16621b34abd4e"
        );
        let keys = [key.clone(), key.derive(""), key.derive("a"), key.derive("b"), key.derive("a").derive("a")];
        for (i, one) in keys.iter().enumerate() {
            let encrypted = one.encrypt("", b"x").unwrap();
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(other.decrypt("", &encrypted).is_ok(), i == j, "{i} {j}");
            }
        }
        // The same stored key for two purposes: what one part of an application encrypts, the other does not accept.
        let (grants, approvals) = (KeyRing::new("grants", &key), KeyRing::new("approvals", &key));
        let text = grants.encrypt_text(b"", b"x").unwrap();
        assert!(grants.decrypt_text(b"", text.as_bytes()).is_some());
        assert!(approvals.decrypt_text(b"", text.as_bytes()).is_none());
    }

    #[test]
    fn keys_are_parsed_from_hex_and_base64() {
        let key = SealingKey::generate().unwrap();
        let hex = key.to_hex();
        let encrypted = SealingKey::parse(&format!(" {}\n", hex.to_uppercase())).unwrap().encrypt("", b"x").unwrap();
        assert!(key.decrypt("", &encrypted).is_ok());
        let base64 = BASE64.encode(&HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap());
        assert!(SealingKey::parse(&base64).unwrap().decrypt("", &encrypted).is_ok());
        for bad in ["", "00", "secret", &hex[1..], &format!("{}00", *hex)] {
            assert_eq!(SealingKey::parse(bad).unwrap_err().kind(), ConfigErrorKind::SealingKey);
        }
        assert_eq!(format!("{key:?}"), "SealingKey(<redacted>)");
    }
}
