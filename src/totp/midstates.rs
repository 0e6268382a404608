//! HMAC-SHA-1 with the blocks of the key hashed in advance.

use sha1::block_api::compress;
use sha1::{Digest, Sha1};
use zeroize::Zeroize;

/// The states of the inner and the outer hash after the block of the key (RFC 2104 section 4). The message of a code
/// then takes one more block of each.
pub(super) struct Midstates([[u32; 5]; 2]);

impl Midstates {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; 64];
        if key.len() > block.len() {
            block[..20].copy_from_slice(&Sha1::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let states = [0x36, 0x5c].map(|pad| {
            // The initial value of SHA-1 (FIPS 180-4 section 5.3.1).
            let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
            let mut padded = block.map(|byte| byte ^ pad);
            compress(&mut state, &[padded]);
            padded.zeroize();
            state
        });
        block.zeroize();
        Self(states)
    }

    /// Calls `visit` with each step, its value, and its HMAC.
    pub(super) fn for_each<T>(
        &self,
        steps: impl IntoIterator<Item = (u64, T)>,
        mut visit: impl FnMut(u64, T, &[u8; 20]),
    ) {
        let [inner_state, outer_state] = self.0;
        let (mut inner, mut outer) = (last_block::<8>(), last_block::<20>());
        for (step, value) in steps {
            inner[..8].copy_from_slice(&step.to_be_bytes());
            outer[..20].copy_from_slice(&hash_last(inner_state, inner));
            visit(step, value, &hash_last(outer_state, outer));
        }
        outer.zeroize();
    }
}

impl Drop for Midstates {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The padding of SHA-1 after a block of 64 bytes and `LEN` more bytes, which are zero here.
const fn last_block<const LEN: usize>() -> [u8; 64] {
    let mut block = [0; 64];
    block[LEN] = 0x80;
    let bits = (8 * (64 + LEN) as u16).to_be_bytes();
    (block[62], block[63]) = (bits[0], bits[1]);
    block
}

fn hash_last(mut state: [u32; 5], block: [u8; 64]) -> [u8; 20] {
    compress(&mut state, &[block]);
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_hmac(key in proptest::collection::vec(any::<u8>(), 0..200), step: u64) {
            let hmac = Hmac::<Sha1>::new_from_slice(&key).unwrap().chain_update(step.to_be_bytes());
            let expected = hmac.finalize().into_bytes();
            Midstates::new(&key).for_each([(step, ())], |_, (), digest| assert_eq!(digest[..], expected[..]));
        }
    }
}
