//! A grant as it is kept.

use std::fmt;
use std::sync::Arc;

/// The most characters of a grant. Eight factors with the longest names take less.
pub(super) const MAX_GRANT: usize = 1024;

/// A grant as the client or the session keeps it: see the [module docs](crate::gate::grants).
///
/// It is sealed, so a session store that somebody else can write to makes none.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant(Arc<str>);

impl Grant {
    /// Takes the text as it was kept. One that cannot be a grant is an empty one, which does not open.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let is_one = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        Self(if text.len() <= MAX_GRANT && text.bytes().all(is_one) { text.into() } else { "".into() })
    }

    /// Letters, digits, `-` and `_`. Whoever has taken over the session can use it: keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant(<{} characters>)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_grant_is_an_empty_one() {
        assert_eq!(Grant::new("aZ09-_").as_str(), "aZ09-_");
        for bad in ["a b", "a=", "a; Domain=test", "a\r\nb", "\u{e9}", &"a".repeat(MAX_GRANT + 1)] {
            assert_eq!(Grant::new(bad).as_str(), "", "{bad:?}");
        }
        assert_eq!(Grant::new(&"a".repeat(MAX_GRANT)).as_str().len(), MAX_GRANT);
    }
}
