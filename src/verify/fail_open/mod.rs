//! Fail-open: a tower layer that forwards requests, within bounds, while the verifier fails.

mod bounds;
mod layer;
mod service;

pub use self::layer::FailOpenLayer;
pub use self::service::{FailOpen, FailOpenFuture};
