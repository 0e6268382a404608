//! The one-time password: read once, in one spelling, for ever after.

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

/// The most bytes of a spelling that are looked at; a longer one is refused unread.
const MAX_SPELLING: usize = 64;
/// Characters of a backup code: 16 of 5 bits each.
pub(crate) const BACKUP_CODE_LEN: usize = 16;
/// Crockford's base32: no I, L, O, U.
pub(crate) const BACKUP_CODE_ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A one-time password in its one canonical spelling.
///
/// It is parsed once, where the request is read. What is verified, counted, recorded and sent is this value and never
/// the text that it was read from, so no second spelling of a spent code looks fresh.
///
/// Two forms exist:
/// - six to eight ASCII digits, as authenticator apps show them (RFC 4226 section 5.3);
/// - a backup code: sixteen characters of Crockford's base32, in either case, `I` and `L` read as `1`, `O` as `0`.
///
/// White space (as Unicode defines it) and invisible formatting characters, which come along when text is copied, are
/// dropped. A single hyphen may stand between two characters. Everything else is refused: other scripts' digits, a
/// sign, a decimal point, a missing leading zero, and the empty text. An empty code is *malformed*; only a request
/// that has no code at all is without one.
///
/// ```
/// use tower_toopher::Otp;
///
/// let otp: Otp = "081 804".parse()?;
/// assert_eq!(otp.as_str(), "081804");
/// assert_eq!(format!("{otp:?}"), "Otp(<redacted>)");
/// assert!("81804".parse::<Otp>().is_err());
/// assert!("".parse::<Otp>().is_err());
/// # Ok::<(), tower_toopher::ParseOtpError>(())
/// ```
///
/// Comparison is in constant time, and the memory is cleared on drop.
#[derive(Clone)]
pub struct Otp {
    text: [u8; BACKUP_CODE_LEN],
    len: u8,
}

/// Which of its two forms an [`Otp`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtpKind {
    /// Six to eight digits, as an authenticator app shows them.
    Digits,
    /// A backup code.
    BackupCode,
}

impl Otp {
    /// Reads an OTP from the bytes of a header or of a decoded form field.
    ///
    /// # Errors
    ///
    /// [`ParseOtpError`] when the bytes are not text, are blank, or are no spelling of an OTP.
    pub fn parse(spelling: &[u8]) -> Result<Self, ParseOtpError> {
        if spelling.len() > MAX_SPELLING {
            return Err(ParseOtpError::Malformed);
        }
        let mut otp = Self { text: [0; BACKUP_CODE_LEN], len: 0 };
        // As nearly all of them are spelt.
        if matches!(spelling.len(), 6..=8) && spelling.iter().all(u8::is_ascii_digit) {
            otp.text[..spelling.len()].copy_from_slice(spelling);
            otp.len = spelling.len() as u8;
            return Ok(otp);
        }
        let spelling = std::str::from_utf8(spelling).map_err(|_| ParseOtpError::NotText)?;
        let mut hyphen = false;
        for c in spelling.chars() {
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

    /// An OTP of digits that this crate computed itself.
    #[cfg(feature = "totp")]
    pub(crate) fn from_digits(mut value: u32, digits: u8) -> Self {
        let mut otp = Self { text: [0; BACKUP_CODE_LEN], len: digits };
        for place in otp.text[..usize::from(digits)].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
        otp
    }

    /// The number that the digits are, and how many there are. A backup code is none, and longer than any.
    #[cfg(feature = "totp")]
    pub(crate) fn number(&self) -> (u32, u8) {
        let digit = |number: u32, byte: &u8| number.wrapping_mul(10).wrapping_add(u32::from(byte.wrapping_sub(b'0')));
        (self.as_bytes().iter().fold(0, digit), self.len)
    }

    fn push(&mut self, c: char) -> Result<(), ParseOtpError> {
        let place = self.text.get_mut(usize::from(self.len)).ok_or(ParseOtpError::Malformed)?;
        *place = c.to_ascii_uppercase() as u8;
        self.len += 1;
        Ok(())
    }

    /// Decides which form the characters have, and folds a backup code's look-alikes.
    fn checked(mut self) -> Result<Self, ParseOtpError> {
        match self.len {
            0 => Err(ParseOtpError::Empty),
            6..=8 if self.as_bytes().iter().all(u8::is_ascii_digit) => Ok(self),
            16 => {
                for c in &mut self.text {
                    *c = match *c {
                        b'I' | b'L' => b'1',
                        b'O' => b'0',
                        c if BACKUP_CODE_ALPHABET.as_bytes().contains(&c) => c,
                        _ => return Err(ParseOtpError::Malformed),
                    };
                }
                Ok(self)
            }
            _ => Err(ParseOtpError::Malformed),
        }
    }

    /// The canonical spelling. It is a secret until it is spent: keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored, so this cannot fail; were it to, the empty text matches no code.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Which of the two forms this is.
    #[must_use]
    pub fn kind(&self) -> OtpKind {
        if usize::from(self.len) == BACKUP_CODE_LEN { OtpKind::BackupCode } else { OtpKind::Digits }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

/// White space, and what cannot be seen but is copied along: the soft hyphen, zero-width and directional marks, the
/// word joiner, the byte order mark.
pub(crate) fn is_ignored(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl FromStr for Otp {
    type Err = ParseOtpError;

    fn from_str(spelling: &str) -> Result<Self, Self::Err> {
        Self::parse(spelling.as_bytes())
    }
}

impl ConstantTimeEq for Otp {
    fn ct_eq(&self, other: &Self) -> Choice {
        // The unused places are zero, so arrays and lengths together decide.
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

/// Why a text is no OTP. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseOtpError {
    /// Nothing but white space, or nothing at all.
    Empty,
    /// The bytes are not UTF-8.
    NotText,
    /// Not six to eight digits, and not a backup code.
    Malformed,
}

impl fmt::Display for ParseOtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the one-time password is empty",
            Self::NotText => "the one-time password is not UTF-8 text",
            Self::Malformed => "a one-time password is six to eight digits, or a backup code of sixteen characters",
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
    fn backup_codes_fold_case_and_lookalikes() {
        let otp: Otp = "il0o-abcd-efgh-jkmn".parse().unwrap();
        assert_eq!((otp.as_str(), otp.kind()), ("1100ABCDEFGHJKMN", OtpKind::BackupCode));
        assert_eq!("1234567890123456".parse::<Otp>().unwrap().kind(), OtpKind::BackupCode);
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
        fn digits_survive_any_spacing(code in "[0-9]{6,8}", at in 1usize..6, gap in "[ \u{a0}\u{202f}\t]{0,3}-?[ ]{0,2}") {
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
