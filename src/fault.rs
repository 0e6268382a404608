//! What kind of trouble a verifier is in.

use std::error::Error;
use std::fmt;

use crate::BoxError;

/// A kind of trouble that a verifier can be in: its error's, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// There was no answer in time. Whether an OTP was spent is not known.
    Timeout,
    /// Nobody was reached, or the connection broke.
    Unreachable,
    /// What was reached says that it is in trouble (HTTP 5xx).
    ServerError,
    /// More was asked than is let through. **Whoever sends many requests can cause it.**
    Overloaded,
    /// The store of failures and spent codes, or of approvals. One in memory that is full is in trouble, too.
    Store,
    /// The application's table of users.
    Users,
}

impl FaultKind {
    /// The kind of an error: that of the first [`Fault`] among the error and its sources.
    ///
    /// With the feature `faults` it knows the errors of tower's timeout and load shed layers, too. Everything else, such
    /// as an answer that makes no sense, or a clock before 1970, is of no kind.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| error.downcast_ref::<Fault>().map(Fault::kind).or_else(|| of_tower(error)))
    }

    /// A name that stays: `timeout`, `unreachable`, `server_error`, `overloaded`, `store`, `users`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
            Self::Store => "store",
            Self::Users => "users",
        }
    }
}

#[cfg(feature = "faults")]
fn of_tower(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    if error.is::<tower::timeout::error::Elapsed>() {
        return Some(FaultKind::Timeout);
    }
    error.is::<tower::load_shed::error::Overloaded>().then_some(FaultKind::Overloaded)
}

#[cfg(not(feature = "faults"))]
fn of_tower(_: &(dyn Error + 'static)) -> Option<FaultKind> {
    None
}

/// An error and what caused it, outermost first.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    })
}

/// An error for verifiers that know what kind of trouble they are in.
///
/// The gate answers 503 to any error of a verifier. Where this one is the error, or among its sources, the
/// [audit event](crate::AuditEvent) and the metrics name the kind, and a route that
/// [opens on it](https://docs.rs/tower-toopher/latest/tower_toopher/struct.FaultPolicy.html) may.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    source: BoxError,
}

impl Fault {
    /// Wraps the cause, and says what kind of trouble it is.
    pub fn new(kind: FaultKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FaultKind::Timeout => "there was no answer in time",
            FaultKind::Unreachable => "nobody was reached",
            FaultKind::ServerError => "the server is in trouble",
            FaultKind::Overloaded => "more is asked than is let through",
            FaultKind::Store => "the store is in trouble",
            FaultKind::Users => "the table of users is in trouble",
        })
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
