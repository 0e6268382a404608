//! The keys of the maps.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// A user and a device, as a keyed hash of 128 bits.
///
/// The keys of the hash are secret, so a client can neither find two names with one hash nor fill one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u64; 2]);

/// A map that uses a part of the key as its hash, instead of hashing the key again.
pub(super) type Map<V> = HashMap<Key, V, BuildHasherDefault<IdentityHasher>>;

impl Key {
    pub(super) fn new(hashers: &[RandomState; 2], user: &str, device: &str) -> Self {
        Self(hashers.each_ref().map(|hasher| hasher.hash_one((user, device))))
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
