use std::fmt;

use data_encoding::{Encoding, Specification};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::{NoRandomness, random};
use crate::verify::{Otp, OtpKind, RECOVERY_CODE_ALPHABET, UserId};

const DEFAULT_COUNT: usize = 10;
/// 80 bits: sixteen characters of five bits.
const RANDOM_BYTES: usize = 10;
/// Separates these digests from all other uses of SHA-256.
const DOMAIN: &[u8] = b"tower-toopher recovery code 1\0";

/// A single-use recovery code, for users who lost their phone.
///
/// It has 80 random bits. The application displays it to the user once and stores only its [`digest`](Self::digest).
/// `Display` writes it in groups of four characters, `Debug` omits it. Users enter it instead of a one-time password.
#[derive(Clone)]
pub struct RecoveryCode(Otp);

impl RecoveryCode {
    /// Generates ten codes.
    ///
    /// ```
    /// use tower_toopher::UserId;
    /// use tower_toopher::totp::RecoveryCode;
    ///
    /// let alice = UserId::new("alice")?;
    /// let codes = RecoveryCode::generate()?;
    /// for code in &codes {
    ///     println!("{code}"); // to the user, once
    /// }
    /// let stored: Vec<_> = codes.iter().map(|code| code.digest(&alice)).collect();
    /// # assert_eq!(stored.len(), 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoRandomness`] when the operating system provides no random numbers.
    pub fn generate() -> Result<Vec<Self>, NoRandomness> {
        Self::generate_count(DEFAULT_COUNT)
    }

    /// Generates `count` codes.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn generate_count(count: usize) -> Result<Vec<Self>, NoRandomness> {
        let mut alphabet = Specification::new();
        alphabet.symbols.push_str(RECOVERY_CODE_ALPHABET);
        let encoding = alphabet.encoding().map_err(|_| NoRandomness)?;
        (0..count).map(|_| Self::generate_one(&encoding)).collect()
    }

    fn generate_one(encoding: &Encoding) -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        random::fill(&mut *random)?;
        let text = Zeroizing::new(encoding.encode(&*random));
        Otp::parse(text.as_bytes()).map(Self).map_err(|_| NoRandomness)
    }

    /// The digest to store for `user`.
    #[must_use]
    pub fn digest(&self, user: &UserId) -> RecoveryCodeDigest {
        RecoveryCodeDigest::new(user, &self.0)
    }
}

impl fmt::Display for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in self.0.as_str().chars().enumerate() {
            if i > 0 && i % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(<redacted>)")
    }
}

/// The SHA-256 digest of a recovery code and its user, for storing.
///
/// The user is the salt, so a list of a million users is as hard to search as a list of one user, whose codes have 80
/// random bits. If the [`UserId`] of an account changes, its digests become invalid. Comparison takes constant time.
#[derive(Clone, Copy)]
pub struct RecoveryCodeDigest([u8; 32]);

impl RecoveryCodeDigest {
    pub(super) fn new(user: &UserId, otp: &Otp) -> Self {
        debug_assert_eq!(otp.kind(), OtpKind::RecoveryCode);
        // The code has a fixed length, so no other user and code give the same text.
        let text = Sha256::new().chain_update(DOMAIN).chain_update(otp.as_str()).chain_update(user.as_str());
        Self(text.finalize().into())
    }

    /// The digest of no code.
    pub(super) const DECOY: Self = Self([0; 32]);

    /// Creates the digest from stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for RecoveryCodeDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for RecoveryCodeDigest {}

impl fmt::Debug for RecoveryCodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCodeDigest(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_codes_of_80_bits_that_users_can_type() {
        let codes = RecoveryCode::generate().unwrap();
        let shown: HashSet<String> = codes.iter().map(ToString::to_string).collect();
        assert_eq!((codes.len(), shown.len()), (10, 10));
        for code in &codes {
            let text = code.to_string();
            assert_eq!(text.len(), 19);
            for spelling in [text.clone(), text.to_lowercase(), text.replace('-', " "), text.replace('-', "")] {
                let typed: Otp = spelling.parse().unwrap();
                let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
                assert_eq!(RecoveryCodeDigest::new(&alice, &typed), code.digest(&alice));
                assert_ne!(code.digest(&alice), code.digest(&bob));
            }
        }
    }
}
