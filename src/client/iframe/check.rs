//! Checks a postback, which passes through the user's browser.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;
use toopher_oauth1::postback;

use super::postback::{Postback, PostbackAuthentication, PostbackFailure, PostbackPairing, PostbackUser};
use crate::time::{self, UnixTime};

/// Why a postback is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostbackError {
    /// The postback has no signature.
    Unsigned,
    /// The signature is wrong.
    WrongSignature,
    /// A field occurs twice.
    DuplicateField,
    /// The timestamp or the session token is missing, or the timestamp is not a number.
    Incomplete,
    /// The timestamp is older than the maximum age.
    Expired,
    /// The timestamp is in the future.
    NotYetValid,
    /// The session token is that of another session.
    WrongSession,
    /// A field of the result is missing or invalid.
    Malformed,
    /// The application's clock is before the Unix epoch.
    Clock,
}

impl fmt::Display for PostbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "the postback is not signed",
            Self::WrongSignature => "the signature of the postback is wrong",
            Self::DuplicateField => "a field of the postback occurs twice",
            Self::Incomplete => "the postback has no valid timestamp or no session token",
            Self::Expired => "the postback is too old",
            Self::NotYetValid => "the timestamp of the postback is in the future",
            Self::WrongSession => "the postback belongs to another session",
            Self::Malformed => "a field of the postback is missing or invalid",
            Self::Clock => "system clock is before the Unix epoch",
        })
    }
}

impl std::error::Error for PostbackError {}

/// The fields, without duplicates, in the order in which they are signed.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

pub(super) fn check_fields<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    secret: &str,
    session_token: &str,
    now: UnixTime,
    max_age: Duration,
) -> Result<Postback, PostbackError> {
    let mut map = BTreeMap::new();
    for (name, value) in fields {
        if map.insert(name, value).is_some() {
            return Err(PostbackError::DuplicateField);
        }
    }
    let signature = map.remove("toopher_sig").ok_or(PostbackError::Unsigned)?;
    let signed: Vec<(&str, &str)> = map.iter().map(|(name, value)| (*name, *value)).collect();
    if !postback::is_signature(secret, &signed, signature) {
        return Err(PostbackError::WrongSignature);
    }
    let fields = Fields(map);
    let timestamp = fields.get("timestamp").ok_or(PostbackError::Incomplete)?;
    let session = fields.get("session_token").ok_or(PostbackError::Incomplete)?;
    let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let timestamp: u64 = timestamp.parse().ok().filter(|_| digits).ok_or(PostbackError::Incomplete)?;
    let age = time::age(UnixTime::from_secs(timestamp), now).ok_or(PostbackError::NotYetValid)?;
    if age >= max_age {
        return Err(PostbackError::Expired);
    }
    // An empty token does not bind the postback to the session.
    if session_token.is_empty() || !bool::from(session.as_bytes().ct_eq(session_token.as_bytes())) {
        return Err(PostbackError::WrongSession);
    }
    fields.result().ok_or(PostbackError::Malformed)
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// `true` or `false`. Older versions of the pages send `True` and `False`.
    fn bool(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "true" | "True" => Some(true),
            "false" | "False" => Some(false),
            _ => None,
        }
    }

    fn result(&self) -> Option<Postback> {
        if let Some(code) = self.get("error_code") {
            let message = self.owned("error_message").unwrap_or_default();
            return Some(Postback::Failure(PostbackFailure { code: code.parse().ok()?, message }));
        }
        match self.get("resource_type")? {
            "authentication_request" => Some(Postback::Authentication(PostbackAuthentication {
                id: self.owned("id")?,
                pending: self.bool("pending")?,
                granted: self.bool("granted")?,
                user_name: self.owned("user_name"),
                action: self.owned("action_name"),
                metadata: self.owned("requester_metadata"),
            })),
            "pairing" => Some(Postback::Pairing(PostbackPairing {
                id: self.owned("id")?,
                enabled: self.bool("enabled")?,
                pending: self.bool("pending")?,
                user_name: self.owned("user_name"),
            })),
            "requester_user" => Some(Postback::User(PostbackUser {
                id: self.owned("id")?,
                name: self.owned("name")?,
                enabled: self.bool("toopher_authentication_enabled")?,
            })),
            _ => None,
        }
    }
}
