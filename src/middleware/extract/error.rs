use std::error::Error;
use std::fmt;

use crate::verify::{BoxError, ParseOtpError};

/// Why no credentials could be read from a request, although it may contain some.
///
/// The layer rejects the request without calling the verifier. This counts no attempt, because no code was guessed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtractError {
    /// The OTP is empty or not an OTP: 401.
    Malformed(ParseOtpError),
    /// There are several values, or one that readers could interpret differently: 400.
    Ambiguous,
    /// The body is incomplete, or not what its type says: 400.
    UnreadableBody(BoxError),
    /// The body is larger than the extractor reads: 413.
    BodyTooLarge,
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(_) => "one-time password is malformed",
            Self::Ambiguous => "request has more than one one-time password or approval token",
            Self::UnreadableBody(_) => "request body cannot be read",
            Self::BodyTooLarge => "request body is too large",
        })
    }
}

impl Error for ExtractError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Malformed(error) => Some(error),
            Self::UnreadableBody(error) => Some(&**error),
            Self::Ambiguous | Self::BodyTooLarge => None,
        }
    }
}
