use std::fmt;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, Specification};
use zeroize::Zeroizing;

use crate::crypto::random;

/// The length that RFC 4226 section 4 (R6) recommends, and that authenticator apps expect.
const GENERATED_BYTES: usize = 20;
/// The length that RFC 4226 section 4 (R6) requires.
const MIN_BYTES: usize = 16;
/// More than any of the algorithms uses.
const MAX_BYTES: usize = 1024;

/// The key that a user's authenticator and the verifier share.
///
/// Clones share one copy of the bytes, which is zeroized when the last clone is dropped. `Debug` omits it.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

impl Secret {
    /// Generates a secret of 160 bits.
    ///
    /// # Errors
    ///
    /// [`SecretError::NoRandomness`] when the operating system provides no random numbers.
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_BYTES]);
        random::fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
        Ok(Self(Arc::new(bytes)))
    }

    /// Creates a secret of at least 128 bits from its bytes.
    ///
    /// # Errors
    ///
    /// [`SecretError::TooShort`] and [`SecretError::TooLong`] (over 1,024 bytes).
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        Self::checked(Zeroizing::new(bytes.into()), MIN_BYTES)
    }

    /// Parses a secret of at least 128 bits in base32 (RFC 4648 section 6): in upper or lower case, with or without
    /// padding, with spaces or hyphens between the characters.
    ///
    /// ```
    /// use tower_toopher::totp::Secret;
    ///
    /// let secret = Secret::from_base32("gezd gnbv gy3t qojq gezd gnbv gy3t qojq")?;
    /// assert_eq!(secret.to_base32().as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    /// # Ok::<(), tower_toopher::totp::SecretError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SecretError::NotBase32`], and the errors of [`from_bytes`](Self::from_bytes). Sixteen characters are 80 bits,
    /// not 128: use [`from_short_base32`](Self::from_short_base32) to import such a secret.
    pub fn from_base32(text: &str) -> Result<Self, SecretError> {
        Self::checked(decode_base32(text)?, MIN_BYTES)
    }

    /// Parses a secret of any length but zero, to import it from another system.
    ///
    /// An attacker who sees a few codes, or reads the store of used steps, can find a short secret by trying all
    /// secrets. With 80 bits this is too expensive for most attackers, with 40 bits for none.
    ///
    /// # Errors
    ///
    /// As [`from_base32`](Self::from_base32), but only an empty secret is too short.
    pub fn from_short_base32(text: &str) -> Result<Self, SecretError> {
        Self::checked(decode_base32(text)?, 1)
    }

    fn checked(bytes: Zeroizing<Vec<u8>>, min: usize) -> Result<Self, SecretError> {
        match bytes.len() {
            len if len < min => Err(SecretError::TooShort { bits: len * 8 }),
            len if len > MAX_BYTES => Err(SecretError::TooLong),
            _ => Ok(Self(Arc::new(bytes))),
        }
    }

    /// The secret in base32 without padding, as users type it and as `otpauth` URIs contain it. Zeroized on drop.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// The bytes, for storing them encrypted.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn decode_base32(text: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let mut symbols = Zeroizing::new(Vec::with_capacity(text.len()));
    symbols.extend(text.bytes().filter(|b| !matches!(b, b' ' | b'-' | b'\t' | b'\r' | b'\n')));
    symbols.make_ascii_uppercase();
    let padding = symbols.iter().rev().take_while(|&&b| b == b'=').count();
    // Padding is optional. If present, it completes the last group of eight (RFC 4648 section 6).
    if padding > 0 && (symbols.len() % 8 != 0 || padding > 6) {
        return Err(SecretError::NotBase32);
    }
    let significant = symbols.len() - padding;
    // If an issuer chose the characters at random, the last one has extra bits, which authenticators ignore.
    let mut lenient: Specification = BASE32_NOPAD.specification();
    lenient.check_trailing_bits = false;
    let encoding = lenient.encoding().map_err(|_| SecretError::NotBase32)?;
    encoding.decode(&symbols[..significant]).map(Zeroizing::new).map_err(|_| SecretError::NotBase32)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

/// Why a [`Secret`] could not be created. The error never contains a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// The text has a character that is not base32, or an impossible length.
    NotBase32,
    /// The secret has fewer bits than RFC 4226 requires.
    TooShort {
        /// The number of bits.
        bits: usize,
    },
    /// The secret has more than 1,024 bytes.
    TooLong,
    /// The operating system provided no random numbers.
    NoRandomness,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase32 => f.write_str("the secret is not base32: use the letters A to Z and the digits 2 to 7"),
            Self::TooShort { bits } => {
                write!(f, "the secret has {bits} bits, and 128 are the minimum: `from_short_base32` imports it")
            }
            Self::TooLong => f.write_str("the secret has more than 1024 bytes"),
            Self::NoRandomness => f.write_str("the operating system provided no random numbers"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_base32() {
        for spelling in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY======",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY",
            "gezd gnbv gy3t qojq gezd gnbv gy",
            "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY",
            "\tGEZDGNBVGY3TQOJQGEZDGNBVGY\r\n",
            "GEZDGNBVGY3TQOJQGEZDGNBVGZ",
        ] {
            assert_eq!(Secret::from_base32(spelling).unwrap().as_bytes(), b"1234567890123456", "{spelling:?}");
        }
        for bad in [
            "GEZDGNBV0189GEZDGNBVGY3TQOJQGEZD",
            "GEZ=DGNBGEZDGNBVGY3TQOJQGEZDGNBV",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY=",
            "GEZDGNBVGY3TQOJQGEZDGNBVG",
            "========",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ========",
            "ＧＥＺＤ",
            "GEZDGNBVGY3TQOJQ\0",
        ] {
            assert_eq!(Secret::from_short_base32(bad).unwrap_err(), SecretError::NotBase32, "{bad:?}");
        }
    }

    #[test]
    fn short_secrets_are_parsed_only_by_from_short_base32() {
        assert_eq!(Secret::from_base32("GEZDGNBVGY3TQOJQ").unwrap_err(), SecretError::TooShort { bits: 80 });
        assert_eq!(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBV").unwrap_err(), SecretError::TooShort { bits: 120 });
        assert_eq!(Secret::from_short_base32("GEZDGNBVGY3TQOJQ").unwrap().as_bytes(), b"1234567890");
        assert_eq!(Secret::from_short_base32("").unwrap_err(), SecretError::TooShort { bits: 0 });
        assert_eq!(Secret::from_bytes([0; 15]).unwrap_err(), SecretError::TooShort { bits: 120 });
        assert_eq!(Secret::from_bytes([0; 1025]).unwrap_err(), SecretError::TooLong);
    }

    #[test]
    fn generated_secrets_have_160_bits_and_differ() {
        let (a, b) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!((a.as_bytes().len(), a.to_base32().len()), (20, 32));
        assert_ne!(a.as_bytes(), b.as_bytes());
        assert_eq!(Secret::from_base32(&a.to_base32()).unwrap().as_bytes(), a.as_bytes());
    }
}
