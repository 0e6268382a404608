//! The challenges of `WWW-Authenticate` (RFC 9110 section 11.6.1).

use http::{HeaderValue, StatusCode};

use super::problem::{self, Problem};
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
}

/// The challenge of each problem with status 401, built once.
#[derive(Clone)]
pub(in crate::middleware) struct WwwAuthenticate(Vec<(&'static str, HeaderValue)>);

impl Default for WwwAuthenticate {
    fn default() -> Self {
        Self::new(&Realm("second factor".into()))
    }
}

impl WwwAuthenticate {
    pub(in crate::middleware) fn new(realm: &Realm) -> Self {
        let problems = [
            &problem::UNIDENTIFIED,
            &problem::OTP_REQUIRED,
            &problem::OTP_INVALID,
            &problem::DENIED,
            &problem::APPROVAL_INVALID,
            &problem::PENDING_NOT_GRANTED,
        ];
        let challenge = |problem: &&Problem| {
            let text = format!("Toopher realm=\"{}\", error=\"{}\"", realm.0, problem.code);
            Some((problem.code, HeaderValue::try_from(text).ok()?))
        };
        Self(problems.iter().filter_map(challenge).collect())
    }

    pub(super) fn challenge(&self, problem: &Problem) -> Option<HeaderValue> {
        if problem.status != StatusCode::UNAUTHORIZED {
            return None;
        }
        self.0.iter().find(|(code, _)| *code == problem.code).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms_cannot_break_out_of_their_quotes() {
        let challenges = WwwAuthenticate::new(&Realm::new(r#"a"b\c"#).unwrap());
        let challenge = challenges.challenge(&problem::OTP_REQUIRED).unwrap();
        assert_eq!(challenge, r#"Toopher realm="a\"b\\c", error="otp_required""#);
        for bad in ["", "a\r\nb", "caf\u{e9}", "\u{7f}"] {
            assert_eq!(Realm::new(bad), Err(ConfigError::new(ConfigErrorKind::Realm)), "{bad:?}");
        }
    }
}
