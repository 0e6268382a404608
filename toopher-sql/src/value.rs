//! Values that are bound to statements.

use std::fmt;

/// A value for [`Query::bind`](crate::Query::bind). `From` implementations convert from the types of columns.
pub struct Value(pub(crate) ValueKind);

pub(crate) enum ValueKind {
    Integer(Option<i64>),
    Bool(Option<bool>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    OpaqueText(Option<String>),
}

/// Text of any length with any characters, which the database only compares: names of users and nonces.
///
/// PostgreSQL's text type accepts no NUL, and its indexes have a maximum length. So it is stored as bytes there, and
/// text of more than 512 bytes as its beginning and a digest.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a newtype")]
pub struct OpaqueText<'a>(pub &'a str);

#[cfg(feature = "postgres")]
impl Value {
    /// The number of the lock that [`Database::transaction`](crate::Database::transaction) acquires for a key in
    /// PostgreSQL, for functions that acquire it.
    #[must_use]
    pub fn lock(key: &str) -> Self {
        crate::lock::lock_number(key).into()
    }
}

impl fmt::Debug for Value {
    /// Omits the value, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ValueKind::Integer(_) => "Integer(..)",
            ValueKind::Bool(_) => "Bool(..)",
            ValueKind::Text(_) => "Text(..)",
            ValueKind::Bytes(_) => "Bytes(..)",
            ValueKind::OpaqueText(_) => "OpaqueText(..)",
        })
    }
}

macro_rules! value_from {
    ($($from:ty => $kind:ident($value:ident) $into:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                Self(ValueKind::$kind($into))
            }
        }
    )*};
}

value_from! {
    i64 => Integer(value) Some(value);
    Option<i64> => Integer(value) value;
    bool => Bool(value) Some(value);
    Option<bool> => Bool(value) value;
    &str => Text(value) Some(value.to_owned());
    String => Text(value) Some(value);
    &String => Text(value) Some(value.clone());
    Option<&str> => Text(value) value.map(str::to_owned);
    Option<String> => Text(value) value;
    &Option<String> => Text(value) value.clone();
    &[u8] => Bytes(value) Some(value.to_owned());
    Vec<u8> => Bytes(value) Some(value);
    &Vec<u8> => Bytes(value) Some(value.clone());
    Option<Vec<u8>> => Bytes(value) value;
    OpaqueText<'_> => OpaqueText(value) Some(value.0.to_owned());
    Option<OpaqueText<'_>> => OpaqueText(value) value.map(|text| text.0.to_owned());
}

/// The bytes of an opaque text in PostgreSQL. Those of a long one are its beginning, as long as an index permits, and
/// the digest of the whole text. The result is longer than that of any text that is not shortened.
#[cfg(feature = "postgres")]
pub(crate) fn opaque_bytes(text: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    const MAX_LENGTH: usize = 512;
    match text.as_bytes().get(..MAX_LENGTH + 1) {
        None => text.into(),
        Some(long) => [&long[..MAX_LENGTH], &Sha256::digest(text)].concat(),
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn long_texts_stay_distinct() {
        assert_eq!(opaque_bytes("zo\u{eb}\0"), "zo\u{eb}\0".as_bytes());
        let longest = "x".repeat(512);
        assert_eq!(opaque_bytes(&longest), longest.as_bytes());
        let long =
            [format!("{longest}1"), format!("{longest}2"), "\u{20ac}".repeat(10_000)].map(|text| opaque_bytes(&text));
        assert!(long.iter().all(|bytes| bytes.len() == 544));
        assert!(long[0] != long[1] && long[0][..512] == long[1][..512]);
    }
}
