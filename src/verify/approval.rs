//! A pending approval, and its handles: the client's token and the verifier's id.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum length of an [`ApprovalToken`], so that a header or a URL can contain it.
const MAX_APPROVAL_TOKEN: usize = 2048;
/// The maximum length of an [`ApprovalId`] in bytes.
const MAX_APPROVAL_ID: usize = 256;

/// The client's handle for a pending approval: the value of `Toopher-Approval`.
///
/// It is encrypted, so the client learns nothing from it. It is not a credential either: it is valid only for the user
/// and the request that it was issued for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApprovalToken(Arc<str>);

impl ApprovalToken {
    /// Parses a token.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless it consists of 1 to 2,048 letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if text.is_empty() || text.len() > MAX_APPROVAL_TOKEN || !text.bytes().all(valid) {
            return Err(ConfigError::new(ConfigErrorKind::ApprovalToken));
        }
        Ok(Self(text.into()))
    }

    /// Reads what a client sent. Text that is not a token becomes a value that matches no approval, because a request
    /// with an invalid token must not be handled like a request without one.
    pub(crate) fn from_client(text: &[u8]) -> Self {
        let token = std::str::from_utf8(text).ok().and_then(|text| Self::new(text).ok());
        token.unwrap_or_else(|| Self("".into()))
    }

    /// The token: letters, digits, `-` and `_`. It is empty if the client sent text that is not a token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApprovalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApprovalToken(<{} characters>)", self.0.len())
    }
}

/// The verifier's id of a pending approval. The client never receives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApprovalId(Arc<str>);

impl ApprovalId {
    /// Creates the id.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is empty or longer than 256 bytes.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, ConfigError> {
        let id = id.into();
        if id.is_empty() || id.len() > MAX_APPROVAL_ID {
            return Err(ConfigError::new(ConfigErrorKind::ApprovalId));
        }
        Ok(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a verifier may do about an approval when an attempt has no OTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalMode {
    /// Do not contact the user. Without an OTP, deny.
    #[default]
    Disallowed,
    /// Request one approval now. The verdict is a [`PendingApproval`] with an [`ApprovalId`].
    Request,
    /// Report the state of the approval with this id, and request no other.
    ///
    /// If the attempt has a valid OTP, the verifier may cancel the approval.
    Poll(ApprovalId),
}

/// An approval that the user has neither allowed nor denied yet.
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct PendingApproval {
    retry_after: Option<Duration>,
    id: Option<ApprovalId>,
    number: Option<u8>,
    token: Option<ApprovalToken>,
    status_url: Option<Arc<str>>,
    waited: Option<Duration>,
}

impl PendingApproval {
    /// An approval without an id and a number.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long the client should wait before it polls again. Default: no statement.
    pub fn with_retry_after(mut self, wait: impl Into<Option<Duration>>) -> Self {
        self.retry_after = wait.into();
        self
    }

    /// Sets the verifier's id of the approval. Default: none, so the approval cannot be polled.
    pub fn with_id(mut self, id: ApprovalId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the two digits that the site displays and the person enters on the phone. Default: none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the number is greater than 99.
    pub fn with_number(mut self, number: u8) -> Result<Self, ConfigError> {
        if number > 99 {
            return Err(ConfigError::new(ConfigErrorKind::Number));
        }
        self.number = Some(number);
        Ok(self)
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn with_token(mut self, token: ApprovalToken, status_url: Option<Arc<str>>) -> Self {
        self.token = Some(token);
        self.status_url = status_url;
        self
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn with_waited(mut self, waited: Option<Duration>) -> Self {
        self.waited = waited;
        self
    }

    /// How long the client should wait before it polls again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The verifier's id of the approval.
    #[must_use]
    pub fn id(&self) -> Option<&ApprovalId> {
        self.id.as_ref()
    }

    /// The two digits that the site displays and the person enters on the phone, `00` to `99`.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        self.number
    }

    /// The token that the client sends with the repeated request.
    #[must_use]
    pub fn token(&self) -> Option<&ApprovalToken> {
        self.token.as_ref()
    }

    /// The URL where the client can poll the state without repeating the request.
    #[must_use]
    pub fn status_url(&self) -> Option<&str> {
        self.status_url.as_deref()
    }

    /// How long the layer was allowed to wait for the decision, as the client preferred (`Prefer: wait`).
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }
}

impl fmt::Debug for PendingApproval {
    /// Omits the number, the token, and the URL that contains the token, because a reader of a log could use them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingApproval").field("retry_after", &self.retry_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_tokens_are_errors_and_match_nothing() {
        assert_eq!(ApprovalToken::new("aZ09-_").unwrap().as_str(), "aZ09-_");
        assert_eq!(ApprovalToken::from_client(b"aZ09-_"), ApprovalToken::new("aZ09-_").unwrap());
        let long = "a".repeat(MAX_APPROVAL_TOKEN + 1);
        for bad in ["", "a b", "a=", "a,b", "\u{e9}", &long] {
            assert_eq!(ApprovalToken::new(bad).unwrap_err().kind(), ConfigErrorKind::ApprovalToken);
            assert_eq!(ApprovalToken::from_client(bad.as_bytes()).as_str(), "");
        }
        assert_eq!(ApprovalToken::from_client(b"\xff").as_str(), "");
        assert_eq!(ApprovalToken::new(&long[1..]).unwrap().as_str().len(), MAX_APPROVAL_TOKEN);
    }

    #[test]
    fn numbers_have_two_digits() {
        assert_eq!(PendingApproval::new().with_number(99).unwrap().number(), Some(99));
        assert_eq!(PendingApproval::new().with_number(100).unwrap_err().kind(), ConfigErrorKind::Number);
    }
}
