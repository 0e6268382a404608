//! Text messages and mails, which the application sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tower_toopher::BoxError;

pub(crate) type Messenger = dyn Fn(Message) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync;

/// A message to a person.
#[derive(Clone)]
#[non_exhaustive]
pub enum Message {
    /// A text message.
    Sms {
        /// The number, as the requester sent it: digits, blanks, `+`, `(`, `)`, `-` and `.`, without a leading `-`.
        number: String,
        /// The text.
        text: String,
    },
    /// A mail.
    Mail {
        /// The address, as the requester sent it: one address in ASCII, with letters, digits, `.`, `_`, `+`, `-`, `=`
        /// and `~` before the `@`, a host name after it, and without a leading `-`. A program that sends mail cannot
        /// take it for an option, a list, a name in quotes, a route, a command, or another address.
        address: String,
        /// The text.
        text: String,
    },
}

impl fmt::Debug for Message {
    /// Omits the text, which contains a secret link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sms { number, .. } => f.debug_struct("Sms").field("number", number).finish_non_exhaustive(),
            Self::Mail { address, .. } => f.debug_struct("Mail").field("address", address).finish_non_exhaustive(),
        }
    }
}

/// Whether a program that sends text messages can only take this text for a number.
pub(crate) fn is_phone_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    // E.164 allows 15 digits; dialed numbers may have a prefix.
    (1..=20).contains(&digits)
        && text.len() <= 40
        && text.bytes().all(|b| b.is_ascii_digit() || b"+ ()-.".contains(&b))
        && !text.starts_with(['-', '.', ' '])
        // At most one plus, before the digits.
        && text.rfind('+').is_none_or(|at| !text[..at].contains(|c: char| c == '+' || c.is_ascii_digit()))
}

/// Whether a program that sends mail can only take this text for one address. Quoted names, comments, routes and lists
/// of RFC 5322 are not accepted.
pub(crate) fn is_mail_address(text: &str) -> bool {
    /// The longest address that fits into a path of RFC 5321.
    const MAX_ADDRESS: usize = 254;
    const MAX_LOCAL: usize = 64;
    const MAX_LABEL: usize = 63;
    let Some((local, domain)) = text.split_once('@') else { return false };
    // With dots only between two other characters. Programs that normalize text (NFKC, IDNA) make other letters and
    // dots of those that are not ASCII.
    let parts = |text: &str, others: &[u8]| {
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('-');
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || others.contains(&b))
            && text.split('.').all(is_part)
    };
    text.len() <= MAX_ADDRESS
        && local.len() <= MAX_LOCAL
        && parts(local, b"_+-=~")
        && parts(domain, b"-")
        && domain.split('.').all(|label| label.len() <= MAX_LABEL && !label.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "jdoe@example.com",
            "j.doe+mfa=1_~-x@mail.example-1.co.uk",
            "zoe@xn--bcher-kva.example",
            "a@localhost",
            "a@1.b",
        ] {
            assert!(is_mail_address(good), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(65));
        let label = "x".repeat(64);
        let long_label = format!("a@{label}.example");
        for bad in [
            "",
            "@",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "-a@b",
            "a@-b",
            "a.-f@b",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a b@c",
            "a\tb@c",
            "a@b\n",
            "a@b\nBcc: c",
            "a@b\r",
            "\u{0}a@b",
            "a\u{7f}@b",
            "a\u{ad}@b",
            "a\u{2028}@b",
            "a,b@c",
            "a;b@c",
            "a@b,c@d",
            "\"a\"@b",
            "'a'@b",
            "o'brien@b",
            "`id`@b",
            "a|b@c",
            "a&b@c",
            "$HOME@b",
            "a%b@c",
            "a!b@c",
            "/etc/passwd@b",
            "a\\b@c",
            "<a@b>",
            "a(b)@c",
            "a:b@c",
            "a@[127.0.0.1]",
            "a@b:25",
            "a*@b",
            "a{b}@c",
            &long,
            &long_label,
            "a@b-",
            "a@b-.c",
            "a@b.c-",
            // Programs normalize these to `admin@example.com`, `admin@evil.com@b`, and others.
            "\u{ff41}dmin@example.com",
            "admin@\u{ff45}xample.com",
            "admin@example\u{ff0e}com",
            "admin@example\u{3002}com",
            "admin@evil.com\u{ff20}b",
            "admin@evil\u{fe6b}b",
            "\u{fb01}n@example.com",
            "a\u{2460}@b",
            "a\u{b2}@b",
            "a@\u{2102}.com",
            "a@b\u{33c2}",
            "a\u{212a}@b",
            "\u{ff0d}a@b",
            "\u{430}dmin@example.com",
            "zo\u{eb}@example.com",
            "a@b\u{fc}cher.example",
            "a\u{661}@b",
        ] {
            assert!(!is_mail_address(bad), "{bad:?}");
        }
    }

    #[test]
    fn numbers() {
        for good in ["+15550100", "+1 (555) 01-00", "0049.555.0100", "911"] {
            assert!(is_phone_number(good), "{good}");
        }
        let long = "1".repeat(21);
        for bad in [
            "",
            "+",
            "-1",
            "1+2",
            "++1",
            "+1+",
            "--help",
            ".1",
            " 1",
            "1;2",
            "1,2",
            "1|2",
            "1\n2",
            "1\t2",
            "\"1\"",
            "'1'",
            "tel:1",
            "\u{663}",
            "1\u{0}",
            "+1\u{a0}5",
            "x",
            "$1",
            &long,
        ] {
            assert!(!is_phone_number(bad), "{bad:?}");
        }
    }
}
