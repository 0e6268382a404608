//! Verification of a request, whose OAuth parameters may be in the header, the query or the form.

use std::fmt;

use crate::base::{BaseUri, Signable};
use crate::header;
use crate::pairs::Pairs;

/// The maximum length of a nonce in bytes.
const MAX_NONCE: usize = 256;
/// The maximum number of parameters of a request. They are sorted before the signature is verified, so an attacker
/// could otherwise cause much work.
const MAX_PARAMETERS: usize = 256;
/// Twelve digits of seconds are enough for thirty thousand years.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// A parsed request with a signature, which is only verified by [`is_signed_with`](Self::is_signed_with).
pub struct OauthRequest {
    method: String,
    base: BaseUri,
    header: Pairs,
    query: Pairs,
    form: Pairs,
    timestamp: u64,
}

impl OauthRequest {
    /// Parses a request: its `Authorization` headers, its query, and its body if that is a form.
    ///
    /// The OAuth parameters must be in exactly one of the three (RFC 5849 section 3.5), each of them once. Query and
    /// form are decoded as UTF-8 with replacement of invalid sequences, as some clients sign them. Two bodies that only
    /// differ within an invalid sequence have the same signature.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the request is not signed, or its signature cannot be verified.
    pub fn parse<'h>(
        method: &str,
        base: BaseUri,
        authorization: impl IntoIterator<Item = &'h [u8]>,
        query: Option<&str>,
        form: Option<&[u8]>,
    ) -> Result<Self, CheckError> {
        let mut headers = authorization.into_iter().filter_map(header::parse);
        let header = headers.next().transpose().map_err(|_| CheckError::MalformedHeader)?.unwrap_or_default();
        if headers.next().is_some() {
            return Err(CheckError::MalformedHeader);
        }
        let pairs = |encoded: &[u8]| encoded.iter().filter(|&&b| b == b'&').count();
        let count = header.len() + pairs(query.unwrap_or_default().as_bytes()) + pairs(form.unwrap_or_default());
        if count > MAX_PARAMETERS {
            return Err(CheckError::TooMany);
        }
        let mut request = Self {
            method: method.to_owned(),
            base,
            header,
            query: Pairs::from_form(query.unwrap_or_default().as_bytes()),
            form: Pairs::from_form(form.unwrap_or_default()),
            timestamp: 0,
        };
        request.timestamp = request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<u64, CheckError> {
        let sources = [&self.header, &self.query, &self.form];
        let protocol = |pairs: &&Pairs| pairs.iter().any(|(name, _)| name == "oauth_signature");
        if sources.into_iter().filter(protocol).count() != 1 {
            return Err(if sources.into_iter().any(|pairs| protocol(&pairs)) {
                CheckError::Repeated
            } else {
                CheckError::Unsigned
            });
        }
        for name in
            ["oauth_consumer_key", "oauth_nonce", "oauth_signature", "oauth_signature_method", "oauth_timestamp"]
        {
            match self.all(name).count() {
                0 => return Err(CheckError::Unsigned),
                1 => {}
                _ => return Err(CheckError::Repeated),
            }
        }
        if self.one("oauth_signature_method") != "HMAC-SHA1"
            || self.all("oauth_version").count() > 1
            || self.all("oauth_version").any(|version| version != "1.0")
            || self.all("oauth_token").any(|token| !token.is_empty())
        {
            return Err(CheckError::Unsupported);
        }
        if !(1..=MAX_NONCE).contains(&self.nonce().len()) {
            return Err(CheckError::BadNonce);
        }
        let digits = self.one("oauth_timestamp");
        if digits.len() > MAX_TIMESTAMP_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CheckError::BadTimestamp);
        }
        digits.parse().map_err(|_| CheckError::BadTimestamp)
    }

    /// Whether the signature is valid for this consumer secret.
    ///
    /// A parameter that is both in the query and in the form may be signed once or twice: some clients sign it once.
    #[must_use]
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let signature = self.one("oauth_signature");
        let every = || self.pairs().filter(|(name, _)| *name != "oauth_signature");
        if Signable::new(&self.method, &self.base, every()).is_signature(secret, signature) {
            return true;
        }
        let again = |pair: &(&str, &str)| self.query.iter().any(|in_query| in_query == *pair);
        if !self.form.iter().any(|pair| again(&pair)) {
            return false;
        }
        let form = self.form.iter().filter(|pair| !again(pair));
        let once = self.header.iter().chain(self.query.iter()).chain(form);
        let once = once.filter(|(name, _)| *name != "oauth_signature");
        Signable::new(&self.method, &self.base, once).is_signature(secret, signature)
    }

    /// The consumer key, which the sender claims to have.
    #[must_use]
    pub fn consumer_key(&self) -> &str {
        self.one("oauth_consumer_key")
    }

    /// The nonce, which must be unique for each key and timestamp: text of up to 256 bytes.
    #[must_use]
    pub fn nonce(&self) -> &str {
        self.one("oauth_nonce")
    }

    /// The time of the signature, in seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.header.iter().chain(self.query.iter()).chain(self.form.iter())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    fn one(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }
}

impl fmt::Debug for OauthRequest {
    /// Omits the parameters, which may contain an OTP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthRequest")
            .field("method", &self.method)
            .field("base", &self.base)
            .field("consumer_key", &self.consumer_key())
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// The error of [`OauthRequest::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckError {
    /// An OAuth parameter is missing.
    Unsigned,
    /// An OAuth parameter occurs twice.
    Repeated,
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
            Self::MalformedHeader => "the Authorization header is malformed",
            Self::Unsupported => "only HMAC-SHA1 and version 1.0 without a token are supported",
            Self::TooMany => "the request has more than 256 parameters",
            Self::BadNonce => "the OAuth nonce is empty or too long",
            Self::BadTimestamp => "the OAuth timestamp is not a number of seconds",
        })
    }
}

impl std::error::Error for CheckError {}
