//! HMAC over a counter, as RFC 4226 truncates it.

use std::fmt;
use std::sync::Arc;

use hmac::digest::FixedOutputReset;
use hmac::{HmacReset, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::Algorithm;

/// HMACs that have taken in the key, once for all codes. Clones share them; they are cleared with the last.
#[derive(Clone)]
pub(super) enum Keyed {
    Sha1(Arc<HmacReset<Sha1>>),
    Sha256(Arc<HmacReset<Sha256>>),
    Sha512(Arc<HmacReset<Sha512>>),
}

impl Keyed {
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        // An HMAC takes a key of any length (RFC 2104 section 2); the error type is the trait's, for other MACs.
        const ANY_LENGTH: &str = "HMAC takes a key of any length";
        #[allow(clippy::expect_used, reason = "new_from_slice of HmacReset never fails")]
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(HmacReset::new_from_slice(key).expect(ANY_LENGTH).into()),
            Algorithm::Sha256 => Self::Sha256(HmacReset::new_from_slice(key).expect(ANY_LENGTH).into()),
            Algorithm::Sha512 => Self::Sha512(HmacReset::new_from_slice(key).expect(ANY_LENGTH).into()),
        }
    }

    /// Tells `see` each of the steps with its truncated HMAC, and with what came along.
    pub(super) fn each<T>(&self, steps: impl IntoIterator<Item = (u64, T)>, see: impl FnMut(u64, T, u32)) {
        match self {
            Self::Sha1(mac) => each((**mac).clone(), steps, see),
            Self::Sha256(mac) => each((**mac).clone(), steps, see),
            Self::Sha512(mac) => each((**mac).clone(), steps, see),
        }
    }
}

fn each<M, T>(mut mac: M, steps: impl IntoIterator<Item = (u64, T)>, mut see: impl FnMut(u64, T, u32))
where
    M: Mac + FixedOutputReset,
{
    for (step, with) in steps {
        Mac::update(&mut mac, &step.to_be_bytes());
        see(step, with, truncate(&mac.finalize_reset().into_bytes()));
    }
}

/// Dynamic truncation: the offset comes from the *last* byte, whatever the algorithm (RFC 4226 section 5.3).
fn truncate(digest: &[u8]) -> u32 {
    let offset = usize::from(digest.last().map_or(0, |last| last & 0xf));
    let four = digest[offset..].iter().take(4).fold(0, |value: u32, &byte| value << 8 | u32::from(byte));
    four & 0x7fff_ffff
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(<redacted>)")
    }
}
