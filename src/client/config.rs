//! The settings of a client.

use std::time::Duration;

use toopher_oauth1::Credentials;

use super::base_url::BaseUrl;
use crate::time::Clock;

#[derive(Clone)]
pub(super) struct Config {
    pub(super) base: BaseUrl,
    pub(super) credentials: Credentials,
    pub(super) clock: Clock,
    pub(super) timeout: Duration,
    /// In bytes.
    pub(super) response_limit: usize,
    /// In bytes.
    pub(super) image_limit: usize,
    pub(super) retry_safe: bool,
}

impl Config {
    pub(super) fn new(base: BaseUrl, credentials: Credentials) -> Self {
        Self {
            base,
            credentials,
            clock: Clock::default(),
            timeout: Duration::from_secs(10),
            response_limit: 64 * 1024,
            image_limit: 1024 * 1024,
            retry_safe: true,
        }
    }
}
