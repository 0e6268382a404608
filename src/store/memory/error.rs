use std::fmt;

/// The [`MemoryStore`](super::MemoryStore) is full: it may delete no entry to make room for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFull;

impl fmt::Display for StoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory store is full: increase its capacity, or look for a flood of logins")
    }
}

impl std::error::Error for StoreFull {}
