use std::fmt;

use data_encoding::{Encoding, Specification};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::otp::BACKUP_CODE_ALPHABET;
use crate::random::NoRandomness;
use crate::{Otp, OtpKind, UserId};

const DEFAULT_COUNT: usize = 10;
/// 80 bits: sixteen characters of five.
const RANDOM_BYTES: usize = 10;
/// Keeps these digests apart from any other use of SHA-256.
const DOMAIN: &[u8] = b"tower-toopher backup code 1\0";

/// A code that replaces the authenticator once, for the day when the phone is lost.
///
/// It has 80 random bits and is shown to its user once; only its [`digest`](Self::digest) is stored. `Display` shows
/// it, in groups of four; `Debug` does not. Users type it where they type a one-time password.
#[derive(Clone)]
pub struct BackupCode(Otp);

impl BackupCode {
    /// Makes ten codes.
    ///
    /// ```
    /// use tower_toopher::UserId;
    /// use tower_toopher::totp::BackupCode;
    ///
    /// let alice = UserId::new("alice")?;
    /// let codes = BackupCode::generate()?;
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
    /// [`NoRandomness`] when the operating system has no random numbers to give.
    pub fn generate() -> Result<Vec<Self>, NoRandomness> {
        Self::generate_count(DEFAULT_COUNT)
    }

    /// Makes `count` codes.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn generate_count(count: usize) -> Result<Vec<Self>, NoRandomness> {
        let mut alphabet = Specification::new();
        alphabet.symbols.push_str(BACKUP_CODE_ALPHABET);
        let encoding = alphabet.encoding().map_err(|_| NoRandomness)?;
        (0..count).map(|_| Self::one(&encoding)).collect()
    }

    fn one(encoding: &Encoding) -> Result<Self, NoRandomness> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        crate::random::fill(&mut *random)?;
        let text = Zeroizing::new(encoding.encode(&*random));
        Otp::parse(text.as_bytes()).map(Self).map_err(|_| NoRandomness)
    }

    /// What is stored for `user`.
    #[must_use]
    pub fn digest(&self, user: &UserId) -> BackupCodeDigest {
        BackupCodeDigest::of(user, &self.0)
    }
}

impl fmt::Display for BackupCode {
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

impl fmt::Debug for BackupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupCode(<redacted>)")
    }
}

/// The SHA-256 digest of a backup code and its user, which is what is stored.
///
/// The user is the salt: a list of a million users is no easier to search than that of one, and that one has 80 random
/// bits. The digests of an account whose [`UserId`] changes are void. Comparison is in constant time.
#[derive(Clone, Copy)]
pub struct BackupCodeDigest([u8; 32]);

impl BackupCodeDigest {
    pub(super) fn of(user: &UserId, otp: &Otp) -> Self {
        debug_assert_eq!(otp.kind(), OtpKind::BackupCode);
        // The code has a fixed length, so no other user and code make the same text.
        let text = Sha256::new().chain_update(DOMAIN).chain_update(otp.as_str()).chain_update(user.as_str());
        Self(text.finalize().into())
    }

    /// A digest that is no code's.
    pub(super) const fn decoy() -> Self {
        Self([0; 32])
    }

    /// Takes a stored digest.
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

impl PartialEq for BackupCodeDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for BackupCodeDigest {}

impl fmt::Debug for BackupCodeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupCodeDigest(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_codes_of_80_bits_that_people_can_type() {
        let codes = BackupCode::generate().unwrap();
        let shown: HashSet<String> = codes.iter().map(ToString::to_string).collect();
        assert_eq!((codes.len(), shown.len()), (10, 10));
        for code in &codes {
            let text = code.to_string();
            assert_eq!(text.len(), 19);
            for spelling in [text.clone(), text.to_lowercase(), text.replace('-', " "), text.replace('-', "")] {
                let typed: Otp = spelling.parse().unwrap();
                let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
                assert_eq!(BackupCodeDigest::of(&alice, &typed), code.digest(&alice));
                assert_ne!(code.digest(&alice), code.digest(&bob));
            }
        }
    }
}
