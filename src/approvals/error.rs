use std::error::Error;
use std::fmt;

use crate::{BoxError, Fault, FaultKind};

/// Why [`Approvals`](super::Approvals) could not tell. The gate answers 503.
#[derive(Debug)]
pub struct ApprovalError {
    trouble: Trouble,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Clock,
    Randomness,
    Store,
    Verifier,
    Answer,
}

impl ApprovalError {
    pub(super) fn clock(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::Clock, source: Some(error.into()) }
    }

    pub(super) fn store(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::Store, source: Some(Fault::new(FaultKind::Store, error).into()) }
    }

    pub(super) fn verifier(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::Verifier, source: Some(error.into()) }
    }

    pub(super) fn answer() -> Self {
        Self { trouble: Trouble::Answer, source: None }
    }

    /// Whether the clock stands before 1970.
    #[must_use]
    pub fn is_clock(&self) -> bool {
        matches!(self.trouble, Trouble::Clock)
    }

    /// Whether the store failed.
    #[must_use]
    pub fn is_store(&self) -> bool {
        matches!(self.trouble, Trouble::Store)
    }

    /// Whether the verifier failed.
    #[must_use]
    pub fn is_verifier(&self) -> bool {
        matches!(self.trouble, Trouble::Verifier)
    }

    /// Whether the verifier said what it must not: "pending" to an OTP, or without an id.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self.trouble, Trouble::Answer)
    }
}

impl From<crate::random::NoRandomness> for ApprovalError {
    fn from(error: crate::random::NoRandomness) -> Self {
        Self { trouble: Trouble::Randomness, source: Some(error.into()) }
    }
}

impl fmt::Display for ApprovalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.trouble {
            Trouble::Clock => "the clock stands before 1970",
            Trouble::Randomness => "no challenge could be made",
            Trouble::Store => "the store of pending approvals could not be asked",
            Trouble::Verifier => "the verifier failed",
            Trouble::Answer => "the verifier asked for an approval that it cannot name, or that nobody wanted",
        })
    }
}

impl Error for ApprovalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
