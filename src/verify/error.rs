//! The error of a verifier, with its class.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Any error, as tower passes it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The cause of a verifier failure.
///
/// A client that sends requests to the application, or to the backend of the verifier, can cause most of these classes.
/// The documentation of each says who can, because [`FailOpenLayer`](crate::verify::FailOpenLayer) can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The machine of the backend refused the connection, because no process listens at that port. A client that sends
    /// requests cannot cause it, unless it can make the process end. An attacker in the network between the verifier
    /// and the backend can.
    Refused,
    /// The connection failed in another way, or broke. **Any client that can reach the backend can cause it,** with
    /// idle connections up to its limit, for example.
    Unreachable,
    /// No response arrived in time. The OTP may or may not have been recorded as used. **Any client that can reach the
    /// backend can cause it.**
    Timeout,
    /// The backend, or a proxy in front of it, reported an error of its own (HTTP 5xx). **Any client that can reach the
    /// backend can cause it:** a proxy reports 502 or 503 while the backend has no free connection.
    ServerError,
    /// A limit on concurrent or queued requests was reached. **A client that sends many requests causes it.**
    Overloaded,
    /// The store of failures, used codes and approvals failed, or an in-memory store is full. **A client that sends
    /// many requests can cause it.**
    Store,
    /// The application's lookup of users failed. **A client that sends many requests can cause it,** if that uses up
    /// the connections of the database.
    Users,
}

impl ErrorClass {
    /// The class of an error: that of the first [`VerifierError`] with a class among the error and its sources. The
    /// errors of tower's timeout and load-shed layers have a class too. Every other error has none.
    ///
    /// An error of the class [`Unreachable`](Self::Unreachable) has the class [`Refused`](Self::Refused) if one of its
    /// sources is a [`std::io::Error`] of the kind `ConnectionRefused`.
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static)) -> Option<Self> {
        let class = error_chain(error).find_map(|error| {
            let class = error.downcast_ref::<VerifierError>().and_then(VerifierError::class);
            class.or_else(|| classify_tower(error))
        })?;
        Some(if class == Self::Unreachable && is_refused(error) { Self::Refused } else { class })
    }

    /// The stable name: `refused`, `unreachable`, `timeout`, `server_error`, `overloaded`, `store`, `users`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
            Self::Store => "store",
            Self::Users => "users",
        }
    }
}

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let kind = |error: &(dyn Error + 'static)| error.downcast_ref().map(std::io::Error::kind);
    error_chain(error).any(|error| kind(error) == Some(std::io::ErrorKind::ConnectionRefused))
}

fn classify_tower(error: &(dyn Error + 'static)) -> Option<ErrorClass> {
    if error.is::<tower::timeout::error::Elapsed>() {
        return Some(ErrorClass::Timeout);
    }
    error.is::<tower::load_shed::error::Overloaded>().then_some(ErrorClass::Overloaded)
}

/// The error and its sources, outermost first.
pub(crate) fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        error.source()
    })
}

/// An error for verifiers that know its class, or when a retry can succeed.
///
/// The layer responds with 503 to any error of a verifier. If this type is the error or one of its sources, the audit
/// event and the metrics contain the class, the response contains `Retry-After`, and
/// [`FailOpenLayer`](crate::verify::FailOpenLayer) can act on it.
#[derive(Debug)]
pub struct VerifierError {
    class: Option<ErrorClass>,
    retry_after: Option<Duration>,
    source: BoxError,
}

impl VerifierError {
    /// Wraps the cause of a failure.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self { class: None, retry_after: None, source: source.into() }
    }

    /// Sets the class. Default: none.
    #[must_use]
    pub fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = Some(class);
        self
    }

    /// Sets how long the client should wait before it retries. Default: no statement.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The cause of the failure, if known.
    #[must_use]
    pub fn class(&self) -> Option<ErrorClass> {
        self.class
    }

    /// How long the client should wait before it retries, if known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for VerifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.class {
            None => "verifier failed",
            Some(ErrorClass::Timeout) => "verifier timed out",
            Some(ErrorClass::Refused) => "connection refused",
            Some(ErrorClass::Unreachable) => "connection failed",
            Some(ErrorClass::ServerError) => "backend reported an error",
            Some(ErrorClass::Overloaded) => "overloaded",
            Some(ErrorClass::Store) => "store failed",
            Some(ErrorClass::Users) => "user lookup failed",
        })
    }
}

impl Error for VerifierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
