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
        /// The address, as the requester sent it: one address, with letters, digits, `.`, `_`, `+`, `-`, `=` and `~`
        /// before the `@`, and without a leading `-`. A program that sends mail cannot take it for an option, a list, a
        /// name in quotes, a route or a command.
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
    let Some((local, domain)) = text.split_once('@') else { return false };
    // With dots only between two other characters.
    let parts = |text: &str, allowed: fn(char) -> bool, inner: fn(char) -> bool| {
        text.split('.')
            .all(|part| !part.is_empty() && part.chars().all(|c| allowed(c) || inner(c)) && !part.starts_with('-'))
    };
    text.len() <= MAX_ADDRESS
        && local.len() <= MAX_LOCAL
        && parts(local, char::is_alphanumeric, |c| "_+-=~".contains(c))
        && parts(domain, char::is_alphanumeric, |c| c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in
            ["jdoe@example.com", "j.doe+mfa=1_~-x@mail.example-1.co.uk", "zo\u{eb}@b\u{fc}cher.example", "a@localhost"]
        {
            assert!(is_mail_address(good), "{good}");
        }
        let long = format!("{}@example.com", "x".repeat(65));
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
