//! The error of opening and administering a server.

use std::error::Error;
use std::fmt;

use toopher_sql::SqlError;
use tower_toopher::BoxError;
use tower_toopher::totp::TotpError;

/// The error of opening or administering a [`Server`](crate::Server).
#[derive(Debug)]
pub struct ServerError(BoxError);

impl ServerError {
    pub(crate) fn other_location(theirs: &str, ours: &str) -> Self {
        let text = format!(
            "all servers on a database must use the same failure store: the others use {theirs}, and this one {ours}; \
             set --failure-store to the same value for all servers (docs/server.md describes a migration, which \
             unlocks locked users)"
        );
        Self(text.into())
    }

    /// The clock was set forward, or is ahead of another one.
    pub(crate) fn clock_ahead(seconds: i64, of: &str) -> Self {
        Self(format!("the clock is {seconds} seconds ahead of {of}: no expired rows are deleted now").into())
    }

    pub(crate) fn clocks_differ(seconds: i64) -> Self {
        Self(format!("the clock is {seconds} seconds ahead of the clock of the database: set both first").into())
    }

    /// Signed calls are rejected for some seconds.
    pub(crate) fn clock_was_ahead(seconds: i64, remedy: bool) -> Self {
        let remedy = if remedy {
            ": the clock is behind now, or was ahead when expired rows were deleted; set the clock, then run \
             toopher-server repair-clock"
        } else {
            ", because the nonces of calls before are deleted"
        };
        Self(format!("signed calls are rejected for {seconds} seconds{remedy}").into())
    }

    /// The pairings of a user were deactivated, but the user is still locked out.
    pub(crate) fn not_unlocked(cause: &TotpError) -> Self {
        let cause = error_chain(cause);
        Self(format!("the pairings are deactivated, but the user is not unlocked: retry ({cause})").into())
    }
}

macro_rules! server_error_from {
    ($($cause:ty),* $(,)?) => {$(
        impl From<$cause> for ServerError {
            fn from(cause: $cause) -> Self {
                Self(cause.into())
            }
        }
    )*};
}

server_error_from!(
    &'static str,
    BoxError,
    getrandom::Error,
    SqlError,
    toopher_oauth1::EmptyCredentials,
    tower_toopher::ConfigError,
    tower_toopher::crypto::NoRandomness,
    tower_toopher::time::ClockError,
    tower_toopher::totp::SecretError,
    TotpError,
);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The messages of an error and its sources, outermost first.
pub(crate) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
