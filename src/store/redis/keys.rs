//! The keys of a user's records.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::error::{ConfigError, ConfigErrorKind};
use crate::verify::UserId;

const MAX_PREFIX: usize = 64;

/// The prefix of every key.
///
/// A key is `PREFIX:{USER}:f` (failures), `PREFIX:{USER}:a` (approvals) or `PREFIX:{USER}:s:DEVICE` (the used step of a
/// device). `USER` and `DEVICE` are SHA-256 digests in 43 characters: they have one length, contain no character with a
/// meaning in keys, and differ for different names. The braces put all keys of a user into one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(Box<str>);

impl Prefix {
    pub(super) fn new(prefix: &str) -> Result<Self, ConfigError> {
        let is_valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(is_valid) {
            return Err(ConfigError::new(ConfigErrorKind::Prefix));
        }
        Ok(Self(prefix.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn failures(&self, user: &UserId) -> String {
        format!("{}:{{{}}}:f", self.0, digest(user.as_str()))
    }

    pub(super) fn approvals(&self, user: &UserId) -> String {
        format!("{}:{{{}}}:a", self.0, digest(user.as_str()))
    }

    pub(super) fn step(&self, user: &UserId, device: &str) -> String {
        format!("{}:{{{}}}:s:{}", self.0, digest(user.as_str()), digest(device))
    }

    /// The key of `RedisStore::check`. No user has it, because a digest is never empty.
    pub(super) fn check(&self) -> String {
        format!("{}:{{}}", self.0)
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
            assert_eq!(Prefix::new(bad).unwrap_err().kind(), ConfigErrorKind::Prefix, "{bad:?}");
        }
        assert!(Prefix::new(Prefix::default().as_str()).is_ok());
    }

    /// A cluster derives the slot of a key from the text between its first `{` and the `}` after it.
    fn hash_tag(key: &str) -> String {
        let after = key.split_once('{').unwrap().1;
        after.split_once('}').unwrap().0.to_owned()
    }

    proptest! {
        #[test]
        fn keys_differ_for_users_and_devices_and_are_bounded(
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
                prop_assert!(keys.insert(prefix.failures(user)) && keys.insert(prefix.approvals(user)));
                prop_assert_eq!(hash_tag(&prefix.failures(user)), hash_tag(&prefix.approvals(user)));
            }
            for (key, user) in &steps {
                prop_assert_eq!(hash_tag(key), hash_tag(&prefix.failures(user)));
            }
            let tags: HashSet<_> = keys.iter().map(|key| hash_tag(key)).collect();
            prop_assert_eq!(tags.len(), users.len());
            prop_assert!(keys.iter().all(|key| key.len() <= 160 && key.starts_with(prefix.as_str())));
        }

        /// Several applications with different users in one server.
        #[test]
        fn keys_differ_for_prefixes(
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
                    prop_assert!(keys.insert(prefix.failures(user)) && keys.insert(prefix.approvals(user)));
                }
                prop_assert!(keys.insert(prefix.check()));
            }
        }
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["[ab{}:\\x00 ]{0,4}", ".{0,40}", Just("{a}:f".to_owned()), Just("x".repeat(500))]
    }
}
