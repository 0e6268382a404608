//! The state of the handlers.

use std::sync::Arc;

use axum::http::HeaderValue;
use tower_toopher::client::iframe::Iframe;

/// The action that the phone shows, and that the result must be for.
pub(crate) const ACTION: &str = "log in";

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) iframe: Iframe,
    /// The origin of the API, whose pages are in the frame.
    pub(crate) api: Arc<str>,
    /// The origin of this site.
    pub(crate) site: Arc<str>,
    /// The `Content-Security-Policy`.
    pub(crate) policy: HeaderValue,
}
