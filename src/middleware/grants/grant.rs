//! A grant, as clients and sessions keep it.

use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum length of a grant. Eight factors with the longest names need less.
pub(super) const MAX_GRANT: usize = 1024;

/// A grant, as clients and sessions keep it: see the [module docs](crate::middleware::grants).
///
/// It is encrypted and authenticated, so write access to a session store does not allow to forge one.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant(Arc<str>);

impl Grant {
    /// Parses a stored grant.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless it consists of 1 to 1,024 letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if text.is_empty() || text.len() > MAX_GRANT || !text.bytes().all(valid) {
            return Err(ConfigError::new(ConfigErrorKind::Grant));
        }
        Ok(Self(text.into()))
    }

    /// Letters, digits, `-` and `_`. An attacker with the session can use it: keep it out of logs.
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
    fn invalid_grants_are_errors() {
        assert_eq!(Grant::new("aZ09-_").unwrap().as_str(), "aZ09-_");
        for bad in ["", "a b", "a=", "a; Domain=test", "a\r\nb", "\u{e9}", &"a".repeat(MAX_GRANT + 1)] {
            assert_eq!(Grant::new(bad).unwrap_err().kind(), ConfigErrorKind::Grant, "{bad:?}");
        }
        assert_eq!(Grant::new(&"a".repeat(MAX_GRANT)).unwrap().as_str().len(), MAX_GRANT);
    }
}
