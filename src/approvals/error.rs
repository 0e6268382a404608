use std::error::Error;
use std::fmt;

use crate::time::ClockError;
use crate::verify::{BoxError, ErrorClass, VerifierError};

/// The error of [`Approvals`](crate::Approvals). The layer responds with 503.
#[derive(Debug)]
pub struct ApprovalError {
    kind: ApprovalErrorKind,
    source: Option<BoxError>,
}

/// The kind of an [`ApprovalError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApprovalErrorKind {
    /// The system clock is before the Unix epoch.
    Clock,
    /// No approval token could be created, because the operating system provided no random numbers.
    Token,
    /// The store failed.
    Store,
    /// The verifier failed.
    Verifier,
    /// The verifier returned a verdict that it must not return: a pending approval without an id, or in response to an
    /// OTP.
    InvalidVerdict,
}

impl ApprovalError {
    pub(super) fn token(error: impl Into<BoxError>) -> Self {
        Self { kind: ApprovalErrorKind::Token, source: Some(error.into()) }
    }

    pub(super) fn store(error: impl Into<BoxError>) -> Self {
        let source = VerifierError::new(error).with_class(ErrorClass::Store).into();
        Self { kind: ApprovalErrorKind::Store, source: Some(source) }
    }

    pub(super) fn verifier(error: impl Into<BoxError>) -> Self {
        Self { kind: ApprovalErrorKind::Verifier, source: Some(error.into()) }
    }

    pub(super) fn invalid_verdict() -> Self {
        Self { kind: ApprovalErrorKind::InvalidVerdict, source: None }
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ApprovalErrorKind {
        self.kind
    }
}

impl From<ClockError> for ApprovalError {
    fn from(error: ClockError) -> Self {
        Self { kind: ApprovalErrorKind::Clock, source: Some(error.into()) }
    }
}

impl fmt::Display for ApprovalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ApprovalErrorKind::Clock => "system clock is before the Unix epoch",
            ApprovalErrorKind::Token => "approval token could not be created",
            ApprovalErrorKind::Store => "store of pending approvals failed",
            ApprovalErrorKind::Verifier => "verifier failed",
            ApprovalErrorKind::InvalidVerdict => {
                "verifier returned a pending approval without an id, or although no approval was allowed"
            }
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
