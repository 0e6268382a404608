//! The challenges of `WWW-Authenticate` (RFC 9110 section 11.6.1).

use http::HeaderValue;

use crate::error::{ConfigError, ConfigErrorKind};

/// The name of the protection space in `WWW-Authenticate` (RFC 9110 section 11.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Creates a realm from printable ASCII characters.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is empty or contains another character.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(ConfigError::new(ConfigErrorKind::Realm));
        }
        Ok(Self(name.replace('\\', "\\\\").replace('"', "\\\"")))
    }

    /// The challenge of a problem. A realm is printable ASCII, so there always is one.
    pub(super) fn challenge(&self, code: &str) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("Toopher realm=\"{}\", error=\"{code}\"", self.0)).ok()
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("second factor".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_cannot_break_out_of_their_quotes() {
        let challenge = Realm::new(r#"a"b\c"#).unwrap().challenge("otp_required").unwrap();
        assert_eq!(challenge, r#"Toopher realm="a\"b\\c", error="otp_required""#);
        for bad in ["", "a\r\nb", "caf\u{e9}", "\u{7f}"] {
            assert_eq!(Realm::new(bad), Err(ConfigError::new(ConfigErrorKind::Realm)), "{bad:?}");
        }
    }
}
