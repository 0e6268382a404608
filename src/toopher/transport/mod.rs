//! What carries the requests.

#[cfg(feature = "client-hyper")]
mod hyper;
#[cfg(feature = "client")]
mod reqwest;

use std::fmt;

use crate::BoxError;

#[cfg(feature = "client-hyper")]
pub use self::hyper::HyperTransport;
#[cfg(feature = "client")]
pub use self::reqwest::{ReqwestBody, ReqwestTransport};

/// A transport that could not be set up, most likely since the system has no certificates to trust.
#[derive(Debug)]
pub struct TransportError(BoxError);

impl TransportError {
    fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transport could not be set up")
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
