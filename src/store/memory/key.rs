//! What entries are kept under.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// A name, as a keyed hash of 128 bits.
///
/// Nobody outside knows the keys, so nobody can aim at two names with one hash, or fill one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u64; 2]);

/// A map that takes the hash that a key is, instead of hashing it again.
pub(super) type Map<V> = HashMap<Key, V, BuildHasherDefault<AsItIs>>;

impl Key {
    pub(super) fn of(hashers: &[RandomState; 2], user: &str, device: &str) -> Self {
        Self(hashers.each_ref().map(|hasher| hasher.hash_one((user, device))))
    }

    /// One of so many places, by another half than the one that a map goes by: within a place it would be much the same.
    pub(super) fn place(self, places: usize) -> usize {
        (self.0[0] % places as u64) as usize
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[1]);
    }
}

#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number to its map");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
