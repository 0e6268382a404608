use std::fmt;

use crate::time::ClockError;
use crate::verify::{BoxError, ErrorClass, VerifierError};

/// The error of a [`TotpVerifier`](crate::TotpVerifier): it could not verify an OTP. The layer responds with 503.
///
/// For the kinds `Users` and `Store` its source is a [`VerifierError`], whose source is the error of the user table or
/// the store.
#[derive(Debug)]
pub struct TotpError {
    kind: TotpErrorKind,
    source: BoxError,
}

/// The kind of a [`TotpError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TotpErrorKind {
    /// The system clock is before the Unix epoch.
    Clock,
    /// The application's user table failed.
    Users,
    /// The store of failures and used steps failed.
    Store,
}

impl TotpError {
    pub(super) fn users(error: impl Into<BoxError>) -> Self {
        let source = VerifierError::new(error).with_class(ErrorClass::Users).into();
        Self { kind: TotpErrorKind::Users, source }
    }

    pub(super) fn store(error: impl Into<BoxError>) -> Self {
        let source = VerifierError::new(error).with_class(ErrorClass::Store).into();
        Self { kind: TotpErrorKind::Store, source }
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> TotpErrorKind {
        self.kind
    }
}

impl From<ClockError> for TotpError {
    fn from(error: ClockError) -> Self {
        Self { kind: TotpErrorKind::Clock, source: error.into() }
    }
}

impl fmt::Display for TotpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TotpErrorKind::Clock => "system clock is before the Unix epoch",
            TotpErrorKind::Users => "user lookup failed",
            TotpErrorKind::Store => "store of failures and used codes failed",
        })
    }
}

impl std::error::Error for TotpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
