use std::fmt;

use form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::{Pairing, Secret, SecretError, Totp};
use crate::otp::is_ignored;

/// The longest URI that is made. Its QR code is about the densest that phones read from a screen.
const MAX_URI: usize = 1000;

/// A new authenticator in the making: the secret, and how to bring it onto the phone.
///
/// Show the QR code, and the secret for those who cannot scan it. Keep [`pairing`](Self::pairing) apart as
/// unconfirmed, and let [`TotpVerifier::confirm`](super::TotpVerifier::confirm) check the first code. A wrong first
/// code spoils nothing: ask again with the same enrolment.
///
/// ```
/// use tower_toopher::totp::Enrolment;
///
/// let enrolment = Enrolment::new("Example Bank", "alice@example.com")?;
/// assert!(enrolment.uri().starts_with("otpauth://totp/Example%20Bank:alice%40example.com?secret="));
/// # Ok::<(), tower_toopher::totp::EnrolmentError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Enrolment {
    issuer: String,
    account: String,
    totp: Totp,
}

impl Enrolment {
    /// Makes a secret for `account` at `issuer`, with SHA-1, six digits and 30 seconds, which every app computes.
    ///
    /// Both names are shown in the app. Any text will do; colons become spaces, since apps split the label at a colon,
    /// and so do control characters and invisible ones.
    ///
    /// # Errors
    ///
    /// [`EnrolmentError`] when a name is blank, when both are so long that no QR code of them can be scanned, or when
    /// the operating system has no random numbers.
    pub fn new(issuer: &str, account: &str) -> Result<Self, EnrolmentError> {
        Self::with_totp(issuer, account, Totp::new(Secret::generate().map_err(EnrolmentError::Secret)?))
    }

    /// Uses this secret and these parameters. Mind that some apps ignore parameters other than the default ones.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_totp(issuer: &str, account: &str, totp: Totp) -> Result<Self, EnrolmentError> {
        let (issuer, account) = (displayed(issuer), displayed(account));
        if issuer.is_empty() || account.is_empty() {
            return Err(EnrolmentError::BlankName);
        }
        let enrolment = Self { issuer, account, totp };
        if enrolment.uri().len() > MAX_URI { Err(EnrolmentError::TooLong) } else { Ok(enrolment) }
    }

    /// The pairing to keep until it is confirmed.
    pub fn pairing(&self) -> Pairing {
        Pairing::unconfirmed(self.totp.clone())
    }

    /// The secret, for typing it by hand.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        self.totp.secret()
    }

    /// The `otpauth` URI that authenticator apps read. It holds the secret.
    #[must_use]
    pub fn uri(&self) -> Zeroizing<String> {
        let (issuer, account) = (percent_encode(&self.issuer), percent_encode(&self.account));
        let secret = self.secret().to_base32();
        let (algorithm, digits, period) = self.totp.parameters();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm={}&digits={}&period={period}",
            *secret,
            algorithm.name(),
            digits.get(),
        ))
    }

    /// The URI as a QR code in SVG, black on white, with the margin that scanners need. It holds the secret: serve it
    /// with `Cache-Control: no-store`.
    #[cfg(feature = "qr")]
    #[must_use]
    pub fn qr_svg(&self) -> Zeroizing<String> {
        use qrcode::render::svg::Color;
        Zeroizing::new(self.qr().map_or_else(String::new, |code| code.render::<Color<'_>>().build()))
    }

    /// The URI as a QR code in half-block characters, for a terminal with light text on a dark ground. It holds the
    /// secret.
    #[cfg(feature = "qr")]
    #[must_use]
    pub fn qr_text(&self) -> Zeroizing<String> {
        use qrcode::render::unicode::Dense1x2;
        let render =
            |code: qrcode::QrCode| code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        Zeroizing::new(self.qr().map_or_else(String::new, render))
    }

    /// `None` cannot happen: [`MAX_URI`] bytes fit into a QR code.
    #[cfg(feature = "qr")]
    fn qr(&self) -> Option<qrcode::QrCode> {
        qrcode::QrCode::with_error_correction_level(self.uri().as_bytes(), qrcode::EcLevel::M).ok()
    }
}

/// The name as apps can show it.
fn displayed(name: &str) -> String {
    let blank = |c: char| c == ':' || c.is_control() || is_ignored(c);
    name.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3: apps differ on all others.
fn percent_encode(text: &str) -> String {
    // The form encoder leaves `*` and writes a space as `+`, both of which some apps show as they stand.
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20").replace('*', "%2A").replace("%7E", "~")
}

/// Why there is no [`Enrolment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The issuer or the account is empty, or nothing but blanks and colons.
    BlankName,
    /// The names are too long for a QR code that can be scanned.
    TooLong,
    /// No secret could be made.
    Secret(SecretError),
}

impl fmt::Display for EnrolmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlankName => "the issuer and the account must have a name",
            Self::TooLong => "the issuer and the account are too long for a QR code",
            Self::Secret(_) => "no secret could be made",
        })
    }
}

impl std::error::Error for EnrolmentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Secret(error) => Some(error),
            Self::BlankName | Self::TooLong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(issuer: &str, account: &str) -> Result<String, EnrolmentError> {
        let totp = Totp::new(Secret::from_bytes(*b"12345678901234567890").unwrap());
        Enrolment::with_totp(issuer, account, totp).map(|enrolment| enrolment.uri().to_string())
    }

    const TAIL: &str = "&algorithm=SHA1&digits=6&period=30";

    #[test]
    fn odd_names() {
        for (issuer, account, label, parameter) in [
            ("Example Bank", "alice@example.com", "Example%20Bank:alice%40example.com", "Example%20Bank"),
            ("A&B=C?D#E/F", "a+b", "A%26B%3DC%3FD%23E%2FF:a%2Bb", "A%26B%3DC%3FD%23E%2FF"),
            ("Big: Corp", "x:y", "Big%20Corp:x%20y", "Big%20Corp"),
            (":A:", "100%", "A:100%25", "A"),
            ("caf\u{e9}", "\u{1f600}", "caf%C3%A9:%F0%9F%98%80", "caf%C3%A9"),
            ("a\r\nb\0c", " x\t ", "a%20b%20c:x", "a%20b%20c"),
            ("~-._*", "'\"<>", "~-._%2A:%27%22%3C%3E", "~-._%2A"),
        ] {
            let expected =
                format!("otpauth://totp/{label}?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer={parameter}{TAIL}");
            assert_eq!(uri(issuer, account), Ok(expected), "{issuer:?} {account:?}");
        }
        for (issuer, account) in
            [("", "a"), ("a", ""), (" ", "a"), ("::", "a"), ("a", "\n"), ("a", ":"), ("\u{200b}", "a")]
        {
            assert_eq!(uri(issuer, account), Err(EnrolmentError::BlankName));
        }
        assert_eq!(uri(&"\u{e9}".repeat(200), "a"), Err(EnrolmentError::TooLong));
    }

    proptest! {
        #[test]
        fn a_reader_gets_back_what_is_shown(issuer in "\\PC{1,30}", account in "\\PC{1,30}") {
            prop_assume!(!displayed(&issuer).is_empty() && !displayed(&account).is_empty());
            let uri = uri(&issuer, &account).unwrap();
            let (label, query) = uri.strip_prefix("otpauth://totp/").unwrap().split_once('?').unwrap();
            prop_assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%:/?&=".contains(&b)));
            let decode = |s: &str| form_urlencoded::parse(s.as_bytes()).next().unwrap().0.into_owned();
            let label = decode(label);
            prop_assert_eq!(label.split_once(':'), Some((&*displayed(&issuer), &*displayed(&account))));
            let fields: std::collections::HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(&fields["issuer"], &displayed(&issuer));
        }
    }

    #[cfg(feature = "qr")]
    #[test]
    fn the_longest_uri_has_a_qr_code() {
        let issuer = "x".repeat(440);
        let enrolment = Enrolment::new(&issuer, "a").unwrap();
        assert!(enrolment.uri().len() > MAX_URI - 30);
        assert!(enrolment.qr_svg().contains("<path") && enrolment.qr_text().lines().count() > 60);
    }
}
