//! HMAC over a counter, with the truncation of RFC 4226.

use std::fmt;
use std::sync::Arc;

use hmac::digest::FixedOutputReset;
use hmac::{HmacReset, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::algorithm::Algorithm;
use super::midstates::Midstates;

/// An HMAC whose key is processed once, for all codes. Clones share it. It is zeroized with the last clone.
#[derive(Clone)]
pub(super) enum HmacKey {
    Sha1(Arc<Midstates>),
    Sha256(Arc<HmacReset<Sha256>>),
    Sha512(Arc<HmacReset<Sha512>>),
}

impl HmacKey {
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Midstates::new(key).into()),
            Algorithm::Sha256 => Self::Sha256(keyed::<HmacReset<Sha256>>(key).into()),
            Algorithm::Sha512 => Self::Sha512(keyed::<HmacReset<Sha512>>(key).into()),
        }
    }

    /// Calls `visit` with each step, its value, and its truncated HMAC.
    pub(super) fn for_each<T>(&self, steps: impl IntoIterator<Item = (u64, T)>, mut visit: impl FnMut(u64, T, u32)) {
        match self {
            Self::Sha1(mac) => {
                mac.for_each(steps, |step, value, digest| visit(step, value, truncate(digest)));
            }
            Self::Sha256(mac) => for_each((**mac).clone(), steps, visit),
            Self::Sha512(mac) => for_each((**mac).clone(), steps, visit),
        }
    }
}

/// The whole HMAC of a text that is no counter.
pub(super) fn hmac(algorithm: Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    fn digest<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
        keyed::<M>(key).chain_update(text).finalize().into_bytes().to_vec()
    }
    match algorithm {
        Algorithm::Sha1 => digest::<HmacReset<Sha1>>(key, text),
        Algorithm::Sha256 => digest::<HmacReset<Sha256>>(key, text),
        Algorithm::Sha512 => digest::<HmacReset<Sha512>>(key, text),
    }
}

/// HMAC accepts a key of any length (RFC 2104 section 2). The error type of the trait is for other MACs.
#[allow(clippy::expect_used, reason = "new_from_slice of HMAC never fails")]
fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC accepts a key of any length")
}

fn for_each<M, T>(mut mac: M, steps: impl IntoIterator<Item = (u64, T)>, mut visit: impl FnMut(u64, T, u32))
where
    M: Mac + FixedOutputReset,
{
    for (step, value) in steps {
        Mac::update(&mut mac, &step.to_be_bytes());
        visit(step, value, truncate(&mac.finalize_reset().into_bytes()));
    }
}

/// Dynamic truncation: the *last* byte contains the offset, for every algorithm (RFC 4226 section 5.3).
fn truncate(digest: &[u8]) -> u32 {
    let offset = usize::from(digest.last().map_or(0, |last| last & 0xf));
    let four = digest[offset..].iter().take(4).fold(0, |value: u32, &byte| value << 8 | u32::from(byte));
    four & 0x7fff_ffff
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(<redacted>)")
    }
}
