use std::fmt;

use crate::verify::BoxError;

/// The setup of a transport failed, usually because the system has no trusted certificates.
#[derive(Debug)]
pub struct TransportError(BoxError);

impl TransportError {
    pub(super) fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transport setup failed")
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
