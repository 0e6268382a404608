//! The errors of the verifier, with their class.

use crate::client::error::{ClientError, ClientErrorKind};
use crate::verify::{BoxError, ErrorClass, VerifierError};

/// Classifies the error of a client, or of a layer around it.
pub(super) fn call_failed(error: BoxError) -> VerifierError {
    let client_error = ClientError::find_in(&*error);
    let (class, wait) = (client_error.and_then(classify), client_error.and_then(ClientError::retry_after));
    let mut error = VerifierError::new(error);
    if let Some(class) = class {
        error = error.with_class(class);
    }
    if let Some(wait) = wait {
        error = error.with_retry_after(wait);
    }
    error
}

/// An error that an operator must fix, such as a wrong key, and an invalid response have no class: an attacker between
/// the client and the API could send such a response to cause fail-open.
fn classify(error: &ClientError) -> Option<ErrorClass> {
    match error.kind() {
        ClientErrorKind::Timeout => Some(ErrorClass::Timeout),
        ClientErrorKind::Transport => Some(ErrorClass::Unreachable),
        ClientErrorKind::ServerError => Some(ErrorClass::ServerError),
        _ => None,
    }
}

/// The lookup of pairings failed.
pub(super) fn lookup_failed(error: impl Into<BoxError>) -> VerifierError {
    VerifierError::new(error).with_class(ErrorClass::Users)
}

/// The API's response is valid but does not fit the request.
pub(super) fn unexpected_response() -> VerifierError {
    VerifierError::new(ClientError::unexpected_response())
}
