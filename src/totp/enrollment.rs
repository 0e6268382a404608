use std::fmt;

use form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::code::Totp;
use super::pairing::Pairing;
use super::secret::{Secret, SecretError};
use crate::verify::is_ignored;

/// The maximum length of a URI. Its QR code is about the densest that phones can scan from a screen.
const MAX_URI: usize = 1000;

/// A new authenticator that is not confirmed yet: its secret, and the ways to transfer it to the phone.
///
/// Show the QR code, and the secret for users who cannot scan it. Store [`pairing`](Self::pairing) as unconfirmed, and
/// verify the first code with [`TotpVerifier::confirm`](crate::TotpVerifier::confirm). After a wrong first code, ask
/// for another one with the same enrollment.
///
/// ```
/// use tower_toopher::totp::Enrollment;
///
/// let enrollment = Enrollment::new("Example Bank", "alice@example.com")?;
/// assert!(enrollment.uri().starts_with("otpauth://totp/Example%20Bank:alice%40example.com?secret="));
/// # Ok::<(), tower_toopher::totp::EnrollmentError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Enrollment {
    issuer: String,
    account: String,
    totp: Totp,
}

impl Enrollment {
    /// Generates a secret for `account` at `issuer`, with SHA-1, six digits and 30 seconds, which every app computes.
    ///
    /// The app displays both names. Every text is valid. Colons become spaces, because apps split the label at a colon,
    /// and so do control characters and invisible characters.
    ///
    /// # Errors
    ///
    /// [`EnrollmentError`] when a name is blank, when both are too long for a QR code, or when the operating system
    /// provides no random numbers.
    pub fn new(issuer: &str, account: &str) -> Result<Self, EnrollmentError> {
        Self::with_totp(issuer, account, Totp::new(Secret::generate().map_err(EnrollmentError::Secret)?))
    }

    /// Uses the secret and the parameters of `totp`. Some apps ignore parameters other than the defaults.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_totp(issuer: &str, account: &str, totp: Totp) -> Result<Self, EnrollmentError> {
        let (issuer, account) = (display_name(issuer), display_name(account));
        if issuer.is_empty() || account.is_empty() {
            return Err(EnrollmentError::BlankName);
        }
        let enrollment = Self { issuer, account, totp };
        if enrollment.uri().len() > MAX_URI { Err(EnrollmentError::TooLong) } else { Ok(enrollment) }
    }

    /// The unconfirmed pairing.
    pub fn pairing(&self) -> Pairing {
        Pairing::unconfirmed(self.totp.clone())
    }

    /// The secret, for users who type it.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        self.totp.secret()
    }

    /// The `otpauth` URI that authenticator apps read. It contains the secret.
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

    /// The URI as a QR code in SVG, black on white, with the margin that scanners need. It contains the secret: serve
    /// it with `Cache-Control: no-store`.
    #[must_use]
    pub fn qr_svg(&self) -> Zeroizing<String> {
        use qrcode::render::svg::Color;
        Zeroizing::new(self.qr().map_or_else(String::new, |code| code.render::<Color<'_>>().build()))
    }

    /// The URI as a QR code in half-block characters, black on white whatever the colors of the terminal are: ANSI
    /// escape sequences set them. It contains the secret. For output that is not a terminal, use
    /// [`qr_text`](Self::qr_text).
    #[must_use]
    pub fn qr_ansi(&self) -> Zeroizing<String> {
        use qrcode::render::unicode::Dense1x2;
        let render =
            |code: qrcode::QrCode| code.render().dark_color(Dense1x2::Dark).light_color(Dense1x2::Light).build();
        let text = Zeroizing::new(self.qr().map_or_else(String::new, render));
        // Black and white of the 256 colors: themes change only the first sixteen.
        let lines = text.lines().map(|line| format!("\x1b[38;5;16;48;5;231m{line}\x1b[0m\n"));
        Zeroizing::new(lines.collect())
    }

    /// The URI as a QR code in half-block characters, for a terminal with light text on a dark ground. It contains the
    /// secret. [`qr_ansi`](Self::qr_ansi) is for every terminal.
    #[must_use]
    pub fn qr_text(&self) -> Zeroizing<String> {
        use qrcode::render::unicode::Dense1x2;
        let render =
            |code: qrcode::QrCode| code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        Zeroizing::new(self.qr().map_or_else(String::new, render))
    }

    /// Never `None`: [`MAX_URI`] bytes fit into a QR code.
    fn qr(&self) -> Option<qrcode::QrCode> {
        qrcode::QrCode::with_error_correction_level(self.uri().as_bytes(), qrcode::EcLevel::M).ok()
    }
}

/// The name as the app displays it.
fn display_name(name: &str) -> String {
    let blank = |c: char| c == ':' || c.is_control() || is_ignored(c);
    name.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3, because apps differ on the others.
fn percent_encode(text: &str) -> String {
    // The form encoder leaves `*` and writes a space as `+`. Some apps display both literally.
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20").replace('*', "%2A").replace("%7E", "~")
}

/// The error of [`Enrollment::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrollmentError {
    /// The issuer or the account is empty, or consists of blanks and colons.
    BlankName,
    /// The names are too long for a QR code.
    TooLong,
    /// The secret could not be generated.
    Secret(SecretError),
}

impl fmt::Display for EnrollmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlankName => "the issuer and the account must have a name",
            Self::TooLong => "the issuer and the account are too long for a QR code",
            Self::Secret(_) => "the secret could not be generated",
        })
    }
}

impl std::error::Error for EnrollmentError {
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

    fn uri(issuer: &str, account: &str) -> Result<String, EnrollmentError> {
        let totp = Totp::new(Secret::from_bytes(*b"12345678901234567890").unwrap());
        Enrollment::with_totp(issuer, account, totp).map(|enrollment| enrollment.uri().to_string())
    }

    const TAIL: &str = "&algorithm=SHA1&digits=6&period=30";

    #[test]
    fn unusual_names() {
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
            assert_eq!(uri(issuer, account), Err(EnrollmentError::BlankName));
        }
        assert_eq!(uri(&"\u{e9}".repeat(200), "a"), Err(EnrollmentError::TooLong));
    }

    proptest! {
        #[test]
        fn a_reader_decodes_the_displayed_names(issuer in "\\PC{1,30}", account in "\\PC{1,30}") {
            prop_assume!(!display_name(&issuer).is_empty() && !display_name(&account).is_empty());
            let uri = uri(&issuer, &account).unwrap();
            let (label, query) = uri.strip_prefix("otpauth://totp/").unwrap().split_once('?').unwrap();
            prop_assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%:/?&=".contains(&b)));
            let decode = |s: &str| form_urlencoded::parse(s.as_bytes()).next().unwrap().0.into_owned();
            let label = decode(label);
            prop_assert_eq!(label.split_once(':'), Some((&*display_name(&issuer), &*display_name(&account))));
            let fields: std::collections::HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(&fields["issuer"], &display_name(&issuer));
        }
    }

    /// The modules of a terminal whose ground is white, or black, drawn by the colors that the text sets.
    #[test]
    fn the_terminal_sets_the_colors() {
        let enrollment = Enrollment::new("Example Bank", "alice").unwrap();
        let ansi = enrollment.qr_ansi();
        let code = enrollment.qr().unwrap();
        let (width, modules) = (code.width(), code.to_colors());
        let is_dark = |x: usize, y: usize| {
            // Four modules of margin.
            let (x, y) = (x.wrapping_sub(4), y.wrapping_sub(4));
            x < width && y < width && modules[y * width + x] == qrcode::Color::Dark
        };
        let lines: Vec<_> = ansi.lines().collect();
        assert_eq!(lines.len(), (width + 8).div_ceil(2));
        for (row, line) in lines.iter().enumerate() {
            let drawn = line.strip_prefix("\x1b[38;5;16;48;5;231m").unwrap().strip_suffix("\x1b[0m").unwrap();
            assert_eq!(drawn.chars().count(), width + 8);
            for (x, block) in drawn.chars().enumerate() {
                let expected = match (is_dark(x, 2 * row), is_dark(x, 2 * row + 1)) {
                    (true, true) => '\u{2588}',
                    (true, false) => '\u{2580}',
                    (false, true) => '\u{2584}',
                    (false, false) => ' ',
                };
                assert_eq!(block, expected, "{x} {row}");
            }
        }
    }

    #[test]
    fn the_longest_uri_has_a_qr_code() {
        let issuer = "x".repeat(440);
        let enrollment = Enrollment::new(&issuer, "a").unwrap();
        assert!(enrollment.uri().len() > MAX_URI - 30);
        assert!(enrollment.qr_svg().contains("<path") && enrollment.qr_text().lines().count() > 60);
    }
}
