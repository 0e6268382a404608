//! Where a user's records are.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::UserId;

const MAX_PREFIX: usize = 64;

/// The beginning of every key, and how the rest is made.
///
/// A key is `PREFIX:{USER}:f`, `PREFIX:{USER}:p` or `PREFIX:{USER}:s:DEVICE`: failures, pushes, the spent step of a
/// device. `USER` and `DEVICE` are SHA-256 of what the application calls them, in 43 characters: of one length whatever
/// comes, without a character that means something in a key, and different for different names, since nobody has ever
/// found two texts with one hash. The braces put all keys of one user into one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(Box<str>);

impl Prefix {
    pub(super) fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(may_stand) {
            return Err(InvalidPrefix);
        }
        Ok(Self(prefix.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn failures(&self, user: &UserId) -> String {
        format!("{}:{{{}}}:f", self.0, digest(user.as_str()))
    }

    pub(super) fn pushes(&self, user: &UserId) -> String {
        format!("{}:{{{}}}:p", self.0, digest(user.as_str()))
    }

    pub(super) fn step(&self, user: &UserId, device: &str) -> String {
        format!("{}:{{{}}}:s:{}", self.0, digest(user.as_str()), digest(device))
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("toopher".into())
    }
}

fn digest(name: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(name))
}

/// A text that cannot begin the keys of a [`RedisStore`](super::RedisStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPrefix;

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a prefix has 1 to {MAX_PREFIX} letters, digits, `-`, `_`, `.`, `:` or `/`")
    }
}

impl std::error::Error for InvalidPrefix {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes() {
        for good in ["toopher", "a", "shop:prod/2.0_x-y", &"x".repeat(64)] {
            assert_eq!(Prefix::new(good).map(|prefix| prefix.as_str().to_owned()), Ok(good.to_owned()));
        }
        for bad in ["", "{", "a}", "a b", "a\0", "\u{e9}", "a*", &"x".repeat(65)] {
            assert_eq!(Prefix::new(bad), Err(InvalidPrefix), "{bad:?}");
        }
        assert!(Prefix::new(Prefix::default().as_str()).is_ok());
    }

    /// The slot of a cluster that a key is in is that of the text between its first `{` and the `}` after it.
    fn hash_tag(key: &str) -> String {
        let after = key.split_once('{').unwrap().1;
        after.split_once('}').unwrap().0.to_owned()
    }

    proptest! {
        #[test]
        fn keys_tell_users_and_devices_apart_and_are_bounded(
            names in prop::collection::hash_set((name(), name()), 1..30),
            prefix in "[a-zA-Z0-9._:/-]{1,64}",
        ) {
            let prefix = Prefix::new(&prefix).unwrap();
            let users: HashSet<_> = names.iter().filter_map(|(user, _)| UserId::new(user.as_str()).ok()).collect();
            let names = names.iter().filter_map(|(user, device)| Some((UserId::new(user.as_str()).ok()?, device)));
            let steps: Vec<_> = names.map(|(user, device)| (prefix.step(&user, device), user)).collect();
            let mut keys: HashSet<_> = steps.iter().map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(keys.len(), steps.len());
            for user in &users {
                prop_assert!(keys.insert(prefix.failures(user)) && keys.insert(prefix.pushes(user)));
                prop_assert_eq!(hash_tag(&prefix.failures(user)), hash_tag(&prefix.pushes(user)));
            }
            for (key, user) in &steps {
                prop_assert_eq!(hash_tag(key), hash_tag(&prefix.failures(user)));
            }
            let tags: HashSet<_> = keys.iter().map(|key| hash_tag(key)).collect();
            prop_assert_eq!(tags.len(), users.len());
            prop_assert!(keys.iter().all(|key| key.len() <= 160 && key.starts_with(prefix.as_str())));
        }

        /// Applications with users of their own, in one server.
        #[test]
        fn keys_tell_prefixes_apart(
            prefixes in prop::collection::hash_set(prop_oneof!["[a:]{1,5}", "[a-zA-Z0-9._:/-]{1,64}"], 2..6),
            names in prop::collection::hash_set((name(), name()), 1..8),
        ) {
            let users = names.iter().filter_map(|(user, device)| Some((UserId::new(user.as_str()).ok()?, device)));
            let users: Vec<_> = users.collect();
            let names: HashSet<_> = users.iter().map(|(user, _)| user).collect();
            let mut keys = HashSet::new();
            for prefix in prefixes.iter().map(|prefix| Prefix::new(prefix).unwrap()) {
                for (user, device) in &users {
                    prop_assert!(keys.insert(prefix.step(user, device)));
                }
                for user in &names {
                    prop_assert!(keys.insert(prefix.failures(user)) && keys.insert(prefix.pushes(user)));
                }
                // That of `RedisStore::check` is nobody's.
                let nobodys = prefix.as_str().to_owned() + ":{}";
                prop_assert!(keys.insert(nobodys));
            }
        }
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[ab{}:\\x00 ]{0,4}", ".{0,40}", Just("{a}:f".to_owned()), Just("x".repeat(500))]
    }
}
