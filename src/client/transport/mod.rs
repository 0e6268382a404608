//! The transports: services of HTTP requests.

mod error;
#[cfg(feature = "client-hyper")]
mod hyper;
#[cfg(feature = "client")]
mod reqwest;

pub use self::error::TransportError;
#[cfg(feature = "client-hyper")]
pub use self::hyper::HyperTransport;
#[cfg(feature = "client")]
pub use self::reqwest::{ReqwestBody, ReqwestTransport};
