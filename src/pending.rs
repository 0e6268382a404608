//! An approval that is waited for: its names inside and outside.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The most characters of a [`Challenge`], so that a header or an address can carry it.
const MAX_CHALLENGE: usize = 2048;
/// The most bytes of an [`ApprovalId`].
const MAX_APPROVAL_ID: usize = 256;

/// The name of a pending approval as the client has it: what `Toopher-Challenge` says.
///
/// It is sealed, so it tells the client nothing. It is no proof of anything either: it opens only for the user and the
/// request that it was made for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Challenge(Arc<str>);

impl Challenge {
    /// Takes the text as it came. One that cannot be a challenge is one that nobody has made: it stays what it is, and
    /// is refused like one that is unknown.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let is_one = |&b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match std::str::from_utf8(text) {
            Ok(text) if text.len() <= MAX_CHALLENGE && text.as_bytes().iter().all(is_one) => Self(text.into()),
            _ => Self("".into()),
        }
    }

    /// Letters, digits, `-` and `_`; nothing if what came cannot be a challenge.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge(<{} characters>)", self.0.len())
    }
}

/// The name of a pending approval as the verifier that asked for it has it. The client never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApprovalId(Arc<str>);

impl ApprovalId {
    /// Takes the id.
    ///
    /// # Errors
    ///
    /// [`InvalidApprovalId`] when it is empty or longer than 256 bytes.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, InvalidApprovalId> {
        let id = id.into();
        if id.is_empty() || id.len() > MAX_APPROVAL_ID { Err(InvalidApprovalId) } else { Ok(Self(id)) }
    }

    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot be an [`ApprovalId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidApprovalId;

impl fmt::Display for InvalidApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the id of an approval has 1 to {MAX_APPROVAL_ID} bytes")
    }
}

impl std::error::Error for InvalidApprovalId {}

/// What a verifier may do towards an approval when an attempt has no OTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Approval {
    /// Nothing: nobody is to be disturbed. Without an OTP the verdict is a denial.
    #[default]
    Unwanted,
    /// It may ask the person now, once. The verdict says [`Pending`] and under which [`ApprovalId`].
    Wanted,
    /// The person has been asked under this id: it looks what became of it, and asks nobody.
    ///
    /// With an OTP it may take the question back when the OTP is right.
    Asked(ApprovalId),
}

/// What is known of an approval that is waited for.
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Pending {
    retry_after: Option<Duration>,
    id: Option<ApprovalId>,
    number: Option<u8>,
    challenge: Option<Challenge>,
    status_url: Option<Arc<str>>,
    waited: Option<Duration>,
}

impl Pending {
    /// An approval of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long to wait before asking again. Default: the verifier has no opinion.
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Sets the verifier's own name of the approval. Default: none, and nobody can ask for it again.
    pub fn with_id(mut self, id: ApprovalId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the two digits that the person must type on the phone. Default: none. A number over 99 is none.
    pub fn with_number(mut self, number: Option<u8>) -> Self {
        self.number = number.filter(|number| *number < 100);
        self
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn with_challenge(mut self, challenge: Challenge, status_url: Option<Arc<str>>) -> Self {
        self.challenge = Some(challenge);
        self.status_url = status_url;
        self
    }

    #[cfg(feature = "approvals")]
    pub(crate) fn with_waited(mut self, waited: Option<Duration>) -> Self {
        self.waited = waited;
        self
    }

    /// How long to wait before asking again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The verifier's own name of the approval.
    #[must_use]
    pub fn id(&self) -> Option<&ApprovalId> {
        self.id.as_ref()
    }

    /// The two digits that the site shows and the phone asks for, `00` to `99`.
    #[must_use]
    pub fn number(&self) -> Option<u8> {
        self.number
    }

    /// What the client sends with the request that comes again.
    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        self.challenge.as_ref()
    }

    /// Where the client can ask how it stands, without sending the request again.
    #[must_use]
    pub fn status_url(&self) -> Option<&str> {
        self.status_url.as_deref()
    }

    /// How long this request was allowed to wait for the answer, because the client wished it to.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }
}

impl fmt::Debug for Pending {
    /// Leaves out what whoever reads a log could use: the number, the challenge, and the address that holds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("retry_after", &self.retry_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_challenge_is_an_unknown_one() {
        assert_eq!(Challenge::new(b"aZ09-_").as_str(), "aZ09-_");
        let long = "a".repeat(MAX_CHALLENGE + 1);
        for bad in [&b""[..], b"a b", b"a=", b"a,b", "\u{e9}".as_bytes(), b"\xff", long.as_bytes()] {
            assert_eq!(Challenge::new(bad).as_str(), "");
        }
        assert_eq!(Challenge::new(&long.as_bytes()[1..]).as_str().len(), MAX_CHALLENGE);
    }
}
