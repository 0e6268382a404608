//! `WWW-Authenticate`.

use std::fmt;

use http::{HeaderValue, StatusCode};

use super::problem::{self, Problem};

/// The name of the protection space in `WWW-Authenticate` (RFC 9110 section 11.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Takes a name of printable ASCII characters.
    ///
    /// # Errors
    ///
    /// [`InvalidRealm`] when another character is in it, or nothing.
    pub fn new(name: &str) -> Result<Self, InvalidRealm> {
        if name.is_empty() || !name.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(InvalidRealm);
        }
        Ok(Self(name.replace('\\', "\\\\").replace('"', "\\\"")))
    }
}

/// A text that cannot be a [`Realm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidRealm;

impl fmt::Display for InvalidRealm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a realm is one or more printable ASCII characters")
    }
}

impl std::error::Error for InvalidRealm {}

/// `WWW-Authenticate`, made once, for each problem that carries it.
#[derive(Clone)]
pub(super) struct Challenges(Vec<(&'static str, HeaderValue)>);

impl Default for Challenges {
    fn default() -> Self {
        Self::new(&Realm("second factor".into()))
    }
}

impl Challenges {
    pub(super) fn new(realm: &Realm) -> Self {
        let challenged = [
            &problem::UNIDENTIFIED,
            &problem::OTP_REQUIRED,
            &problem::OTP_INVALID,
            &problem::REFUSED,
            &problem::CHALLENGE_INVALID,
            &problem::PENDING_NOT_GRANTED,
        ];
        let challenge = |problem: &&Problem| {
            let text = format!("Toopher realm=\"{}\", error=\"{}\"", realm.0, problem.code);
            Some((problem.code, HeaderValue::try_from(text).ok()?))
        };
        Self(challenged.iter().filter_map(challenge).collect())
    }

    pub(super) fn of(&self, problem: &Problem) -> Option<HeaderValue> {
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
        let challenges = Challenges::new(&Realm::new(r#"a"b\c"#).unwrap());
        assert_eq!(challenges.of(&problem::OTP_REQUIRED).unwrap(), r#"Toopher realm="a\"b\\c", error="otp_required""#);
        for bad in ["", "a\r\nb", "caf\u{e9}", "\u{7f}"] {
            assert_eq!(Realm::new(bad), Err(InvalidRealm), "{bad:?}");
        }
    }
}
