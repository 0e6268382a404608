//! The style sheet and the scripts, and the headers of all responses.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get};

use super::pages;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/login.css", file(CSS, include_str!("login.css")))
        .route("/login.js", file(SCRIPT, include_str!("login.js")))
        .route("/page.js", file(SCRIPT, include_str!("page.js")))
}

fn file(content_type: &'static str, content: &'static str) -> MethodRouter {
    get(move || async move { ([(header::CONTENT_TYPE, content_type)], content) })
}

/// Allows only scripts and styles of this site, and no frames of other sites. Caches store nothing.
pub(crate) async fn set_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, pages::CONTENT_SECURITY_POLICY),
        // With `no-referrer`, browsers would send `Origin: null` with forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
