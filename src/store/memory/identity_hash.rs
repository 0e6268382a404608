//! The keys of the maps.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState};

/// A user and a device, as a keyed hash of 128 bits.
///
/// The keys of the hash are secret, so a client can neither find two names with one hash nor fill one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u64; 2]);

/// A map that uses a part of the key as its hash, instead of hashing the key again.
pub(super) type Map<V> = HashMap<Key, V, BuildHasherDefault<IdentityHasher>>;

/// Ends a name. Neither byte occurs in UTF-8, so the inputs of different names differ.
const END: u8 = 0xff;
const SECOND_HALF: u8 = 0xfe;

impl Key {
    /// The key of a user, and what [`Key::device`] continues with.
    pub(super) fn user(state: &RandomState, user: &str) -> (Self, DefaultHasher) {
        let mut hasher = state.build_hasher();
        hasher.write(user.as_bytes());
        hasher.write_u8(END);
        (Self::finish(&hasher), hasher)
    }

    /// The key of a device of the user.
    pub(super) fn device(mut user: DefaultHasher, device: &str) -> Self {
        user.write(device.as_bytes());
        user.write_u8(END);
        Self::finish(&user)
    }

    /// Two outputs of the keyed hash for two different inputs: the names, and the names with one more byte.
    fn finish(names: &DefaultHasher) -> Self {
        let mut longer = names.clone();
        longer.write_u8(SECOND_HALF);
        Self([names.finish(), longer.finish()])
    }

    /// The number of the shard, from the half of the key that the map does not use: within one shard, the other half
    /// would be nearly constant.
    pub(super) fn shard(self, shards: usize) -> usize {
        (self.0[0] % shards as u64) as usize
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

/// Returns the number that was written as the hash.
#[derive(Debug, Default)]
pub(super) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// A [`Key`] only calls `write_u64`.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
