//! The one-time password, parsed once into one canonical form.

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

/// The maximum length of the input in bytes.
const MAX_INPUT: usize = 64;
/// The length of a recovery code: 16 characters of 5 bits each.
pub(crate) const RECOVERY_CODE_LEN: usize = 16;
/// Crockford's base32: no I, L, O, U.
pub(crate) const RECOVERY_CODE_ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A one-time password in its canonical form.
///
/// It is parsed once, where the request is read. The verifier, the store and the client use this value and never the
/// original text, so no other spelling of a used code is accepted as new.
///
/// Two forms exist:
/// - six to eight ASCII digits, as authenticator apps show them (RFC 4226 section 5.3);
/// - a recovery code: sixteen characters of Crockford's base32, in either case, `I` and `L` read as `1`, `O` as `0`.
///
/// White space (as Unicode defines it) and invisible formatting characters, which are often copied with a code, are
/// ignored. A single hyphen is allowed between two characters. All other input is rejected: digits of other scripts, a
/// sign, a decimal point, a missing leading zero, and empty text. An empty code is *malformed*; only a request without
/// any code has no OTP.
///
/// ```
/// use tower_toopher::Otp;
///
/// let otp: Otp = "081 804".parse()?;
/// assert_eq!(otp.as_str(), "081804");
/// assert_eq!(format!("{otp:?}"), "Otp(<redacted>)");
/// assert!("81804".parse::<Otp>().is_err());
/// assert!("".parse::<Otp>().is_err());
/// # Ok::<(), tower_toopher::verify::ParseOtpError>(())
/// ```
///
/// Comparison takes constant time, and the memory is zeroized on drop.
#[derive(Clone)]
pub struct Otp {
    text: [u8; RECOVERY_CODE_LEN],
    len: u8,
}

/// The form of an [`Otp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtpKind {
    /// Six to eight digits, as an authenticator app shows them.
    Digits,
    /// A recovery code.
    RecoveryCode,
}

impl Otp {
    /// Parses an OTP from the bytes of a header or of a decoded form field.
    ///
    /// # Errors
    ///
    /// [`ParseOtpError`] when the bytes are not UTF-8, are blank, or are not an OTP.
    pub fn parse(input: &[u8]) -> Result<Self, ParseOtpError> {
        if input.len() > MAX_INPUT {
            return Err(ParseOtpError::Malformed);
        }
        let mut otp = Self { text: [0; RECOVERY_CODE_LEN], len: 0 };
        // The common form.
        if matches!(input.len(), 6..=8) && input.iter().all(u8::is_ascii_digit) {
            otp.text[..input.len()].copy_from_slice(input);
            otp.len = input.len() as u8;
            return Ok(otp);
        }
        let input = std::str::from_utf8(input).map_err(|_| ParseOtpError::NotText)?;
        let mut hyphen = false;
        for c in input.chars() {
            if is_ignored(c) {
                continue;
            }
            match c {
                '-' if !hyphen && otp.len > 0 => hyphen = true,
                _ if c.is_ascii_alphanumeric() => {
                    otp.push(c)?;
                    hyphen = false;
                }
                _ => return Err(ParseOtpError::Malformed),
            }
        }
        if hyphen {
            return Err(ParseOtpError::Malformed);
        }
        otp.checked()
    }

    /// An OTP of digits that this crate computed.
    #[cfg(feature = "totp")]
    pub(crate) fn from_digits(mut value: u32, digits: u8) -> Self {
        let mut otp = Self { text: [0; RECOVERY_CODE_LEN], len: digits };
        for digit in otp.text[..usize::from(digits)].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
        otp
    }

    /// The digits as a number, and how many there are. The result is meaningless for a recovery code, which is longer.
    #[cfg(feature = "totp")]
    pub(crate) fn number(&self) -> (u32, u8) {
        let digit = |number: u32, byte: &u8| number.wrapping_mul(10).wrapping_add(u32::from(byte.wrapping_sub(b'0')));
        (self.as_bytes().iter().fold(0, digit), self.len)
    }

    fn push(&mut self, c: char) -> Result<(), ParseOtpError> {
        let next = self.text.get_mut(usize::from(self.len)).ok_or(ParseOtpError::Malformed)?;
        *next = c.to_ascii_uppercase() as u8;
        self.len += 1;
        Ok(())
    }

    /// Determines the form, and maps the look-alike letters of a recovery code.
    fn checked(mut self) -> Result<Self, ParseOtpError> {
        match self.len {
            0 => Err(ParseOtpError::Empty),
            6..=8 if self.as_bytes().iter().all(u8::is_ascii_digit) => Ok(self),
            16 => {
                for c in &mut self.text {
                    *c = match *c {
                        b'I' | b'L' => b'1',
                        b'O' => b'0',
                        c if RECOVERY_CODE_ALPHABET.as_bytes().contains(&c) => c,
                        _ => return Err(ParseOtpError::Malformed),
                    };
                }
                Ok(self)
            }
            _ => Err(ParseOtpError::Malformed),
        }
    }

    /// The canonical form. It is a secret until it is used: keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is stored, so this cannot fail. The empty text matches no code.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The form.
    #[must_use]
    pub fn kind(&self) -> OtpKind {
        if usize::from(self.len) == RECOVERY_CODE_LEN { OtpKind::RecoveryCode } else { OtpKind::Digits }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// White space and invisible characters: the soft hyphen, zero-width and directional marks, the word joiner, and the
/// byte order mark.
pub(crate) fn is_ignored(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}'
                | '\u{feff}')
}

impl FromStr for Otp {
    type Err = ParseOtpError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        Self::parse(input.as_bytes())
    }
}

impl ConstantTimeEq for Otp {
    fn ct_eq(&self, other: &Self) -> Choice {
        // Unused bytes are zero, so comparing arrays and lengths is sufficient.
        self.text.ct_eq(&other.text) & self.len.ct_eq(&other.len)
    }
}

impl PartialEq for Otp {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Otp {}

impl Drop for Otp {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl fmt::Debug for Otp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otp(<redacted>)")
    }
}

/// Why a text is not an OTP. The error never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseOtpError {
    /// The text is empty or consists of white space.
    Empty,
    /// The bytes are not UTF-8.
    NotText,
    /// The text is neither six to eight digits nor a recovery code.
    Malformed,
}

impl fmt::Display for ParseOtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "one-time password is empty",
            Self::NotText => "one-time password is not UTF-8 text",
            Self::Malformed => "a one-time password is six to eight digits, or a recovery code of sixteen characters",
        })
    }
}

impl std::error::Error for ParseOtpError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_code() {
        for spelling in [
            "081804",
            " 081804",
            "081804 ",
            "081 804",
            "081-804",
            "081 - 804",
            "0 8 1 8 0 4",
            "\t081804\r\n",
            "081\u{a0}804",
            "081\u{202f}804",
            "\u{3000}081804",
            "\u{200b}081804",
            "\u{202a}081804\u{202c}",
            "\u{feff}081804",
        ] {
            assert_eq!(spelling.parse::<Otp>().map(|o| o.as_str().to_owned()), Ok("081804".into()), "{spelling:?}");
        }
    }

    #[test]
    fn texts_that_are_no_code() {
        for text in [
            "81804",
            "0081804a",
            "081804abc",
            "081804.0",
            "+81804",
            "+081804",
            "-081804",
            "081804-",
            "081--804",
            "8.1804e4",
            "081_804",
            "081.804",
            "081,804",
            "000000, 081804",
            "000000081804",
            "123456789",
            "None",
            "null",
            "undefined",
            "nil",
            "NaN",
            "true",
            "0x13f8c",
            "\u{ff10}\u{ff18}\u{ff11}\u{ff18}\u{ff10}\u{ff14}",
            "\u{660}\u{668}\u{661}\u{668}\u{660}\u{664}",
            "\u{966}\u{96e}\u{967}\u{96e}\u{966}\u{96a}",
            "08180\u{2074}",
            "081804\0",
            "081\u{301}804",
            "081\u{2010}804",
            "①②③④⑤⑥",
            "𝟎𝟖𝟏𝟖𝟎𝟒",
            "UUUU-UUUU-UUUU-UUUU",
        ] {
            assert_eq!(text.parse::<Otp>(), Err(ParseOtpError::Malformed), "{text:?}");
        }
        for blank in ["", " ", "\u{200b}", "\u{3000}\t"] {
            assert_eq!(blank.parse::<Otp>(), Err(ParseOtpError::Empty), "{blank:?}");
        }
        assert_eq!(Otp::parse(b"081804\xff"), Err(ParseOtpError::NotText));
        assert_eq!(Otp::parse(&[b' '; 65]), Err(ParseOtpError::Malformed));
    }

    #[test]
    fn recovery_codes_fold_case_and_lookalikes() {
        let otp: Otp = "il0o-abcd-efgh-jkmn".parse().unwrap();
        assert_eq!((otp.as_str(), otp.kind()), ("1100ABCDEFGHJKMN", OtpKind::RecoveryCode));
        assert_eq!("1234567890123456".parse::<Otp>().unwrap().kind(), OtpKind::RecoveryCode);
        assert_eq!("12345678".parse::<Otp>().unwrap().kind(), OtpKind::Digits);
    }

    #[test]
    fn equality_needs_the_same_length() {
        let parse = |s: &str| s.parse::<Otp>().unwrap();
        assert_ne!(parse("000000"), parse("0000000"));
        assert_eq!(parse("081 804"), parse("081804"));
        assert_ne!(parse("081804"), parse("081805"));
        assert_ne!(parse("081804"), parse("181804"));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_to_canonical_text_or_not_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(otp) = Otp::parse(&bytes) {
                prop_assert!(matches!(otp.as_str().len(), 6..=8 | 16));
                let again = Otp::parse(otp.as_str().as_bytes());
                prop_assert_eq!(again, Ok(otp));
            }
        }

        #[test]
        fn digits_survive_any_spacing(
            code in "[0-9]{6,8}",
            at in 1usize..6,
            gap in "[ \u{a0}\u{202f}\t]{0,3}-?[ ]{0,2}",
        ) {
            let spelling = format!("{}{gap}{}", &code[..at], &code[at..]);
            let otp: Otp = spelling.parse().unwrap();
            prop_assert_eq!(otp.as_str(), code);
        }

        #[test]
        fn one_foreign_character_spoils_it(code in "[0-9]{6}", at in 0usize..=6, c in any::<char>()) {
            prop_assume!(!is_ignored(c) && !c.is_ascii_digit() && c != '-');
            let spelling = format!("{}{c}{}", &code[..at], &code[at..]);
            prop_assert!(spelling.parse::<Otp>().is_err());
        }
    }
}
