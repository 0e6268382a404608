//! What a page posts back by way of the user's browser.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::oauth1::postback;

use super::result::{Postback, PostbackAuthentication, PostbackFailure, PostbackPairing, PostbackUser};

/// How far the API's clock may be ahead of ours, in seconds.
const MAX_SKEW: u64 = 30;

/// Why a postback is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostbackError {
    /// It has no signature.
    Unsigned,
    /// The signature is another one than ours would be.
    WrongSignature,
    /// A field is there twice.
    Repeated,
    /// The timestamp or the session token is missing, or the timestamp is no number.
    Incomplete,
    /// It is too old.
    Expired,
    /// It is from the future.
    FromTheFuture,
    /// It belongs to another session.
    WrongSession,
    /// A field of the result is missing, or not what it should be.
    Malformed,
    /// Our own clock stands before 1970.
    Clock,
}

impl fmt::Display for PostbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "the postback is not signed",
            Self::WrongSignature => "the signature of the postback is wrong",
            Self::Repeated => "a field of the postback is there twice",
            Self::Incomplete => "the postback has no timestamp or no session token",
            Self::Expired => "the postback is too old",
            Self::FromTheFuture => "the postback is from the future",
            Self::WrongSession => "the postback belongs to another session",
            Self::Malformed => "a field of the postback is missing or malformed",
            Self::Clock => "the clock stands before 1970",
        })
    }
}

impl std::error::Error for PostbackError {}

/// The fields, none of them twice, in the order in which they are signed.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

pub(super) fn check<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    secret: &str,
    session_token: &str,
    now: u64,
    max_age: Duration,
) -> Result<Postback, PostbackError> {
    let mut map = BTreeMap::new();
    for (name, value) in fields {
        if map.insert(name, value).is_some() {
            return Err(PostbackError::Repeated);
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
    if timestamp > now.saturating_add(MAX_SKEW) {
        return Err(PostbackError::FromTheFuture);
    }
    if now.saturating_sub(timestamp) >= max_age.as_secs() {
        return Err(PostbackError::Expired);
    }
    // Without a token nothing ties the postback to the session.
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

    /// `true` and `false`; earlier pages begin them with capitals.
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
