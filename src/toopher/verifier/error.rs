use std::error::Error;
use std::fmt;

use crate::toopher::ClientError;
use crate::{BoxError, Fault, FaultKind, Unavailable};

/// Why a [`ToopherVerifier`](super::ToopherVerifier) could not tell. The gate answers 503, with `Retry-After` where
/// the API says so.
#[derive(Debug)]
pub struct ToopherError {
    trouble: Trouble,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Api,
    PairingIds,
    Answer,
}

impl ToopherError {
    /// The error of a client, whatever tower layers have made of it.
    pub(super) fn api(error: BoxError) -> Self {
        let found = find(&*error);
        let (wait, fault) = (found.and_then(ClientError::retry_after), found.and_then(fault));
        let source = match wait {
            Some(wait) => Unavailable::new(error, wait).into(),
            None => error,
        };
        let source = match fault {
            Some(kind) => Fault::new(kind, source).into(),
            None => source,
        };
        Self { trouble: Trouble::Api, source: Some(source) }
    }

    pub(super) fn pairing_ids(error: impl Into<BoxError>) -> Self {
        Self { trouble: Trouble::PairingIds, source: Some(Fault::new(FaultKind::Users, error).into()) }
    }

    pub(super) fn answer() -> Self {
        Self { trouble: Trouble::Answer, source: None }
    }

    /// Whether a call failed, for us or at the API.
    #[must_use]
    pub fn is_api(&self) -> bool {
        matches!(self.trouble, Trouble::Api)
    }

    /// Whether the application's table of pairings failed.
    #[must_use]
    pub fn is_pairing_ids(&self) -> bool {
        matches!(self.trouble, Trouble::PairingIds)
    }

    /// Whether the API answered something else than it was asked, such as "pending" to an OTP.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self.trouble, Trouble::Answer)
    }

    /// The client's error, where one is among the sources.
    #[must_use]
    pub fn client_error(&self) -> Option<&ClientError> {
        find(&**self.source.as_ref()?)
    }
}

/// The trouble that an error is. One that an operator must mend, such as a wrong key, and an answer that makes no sense
/// are of no kind: whoever sits in between could give such an answer.
fn fault(error: &ClientError) -> Option<FaultKind> {
    if error.is_timeout() {
        Some(FaultKind::Timeout)
    } else if error.is_transport() {
        Some(FaultKind::Unreachable)
    } else if error.is_server_error() {
        Some(FaultKind::ServerError)
    } else {
        None
    }
}

/// Looks for the client's error under whatever has been put around it.
pub(super) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ClientError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

impl fmt::Display for ToopherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.trouble {
            Trouble::Api => "a call of the Toopher API failed",
            Trouble::PairingIds => "the table of pairings could not be asked",
            Trouble::Answer => "the Toopher API answered something else than it was asked",
        })
    }
}

impl Error for ToopherError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
