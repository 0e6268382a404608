//! Why a request cannot be verified.

use std::fmt;

/// The error of [`OauthRequest::parse`](crate::OauthRequest::parse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckError {
    /// An OAuth parameter is missing.
    Unsigned,
    /// An OAuth parameter occurs twice.
    Repeated,
    /// The OAuth parameters are not all in the header, all in the query, or all in the form.
    Scattered,
    /// The `Authorization` header is malformed, or there are two.
    MalformedHeader,
    /// The request has another signature method or version, or a token.
    Unsupported,
    /// The request has more than 256 parameters.
    TooMany,
    /// The nonce is empty or longer than 256 bytes.
    BadNonce,
    /// The timestamp is not a number of seconds.
    BadTimestamp,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "the request is not signed with OAuth 1.0a",
            Self::Repeated => "an OAuth parameter occurs twice",
            Self::Scattered => "the OAuth parameters are in more than one part of the request",
            Self::MalformedHeader => "the Authorization header is malformed",
            Self::Unsupported => "only HMAC-SHA1 and version 1.0 without a token are supported",
            Self::TooMany => "the request has more than 256 parameters",
            Self::BadNonce => "the OAuth nonce is empty or too long",
            Self::BadTimestamp => "the OAuth timestamp is not a number of seconds",
        })
    }
}

impl std::error::Error for CheckError {}
