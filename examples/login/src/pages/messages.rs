//! Pages with one message.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::page;

/// A page with one message.
pub(crate) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let content = html! {
        h1 { (title) }
        p role="alert" { (text) }
        p { a href="/account" { "Continue" } }
    };
    (status, page(title, None, &content)).into_response()
}

/// The response to a form with another CSRF token than that of its session.
pub(crate) fn out_of_date() -> Response {
    let text = "You have logged in or out since this page was loaded, perhaps in another tab. Nothing was changed.";
    message(StatusCode::FORBIDDEN, "This page is out of date", text)
}

/// The response to a form of a browser that has no session.
pub(crate) fn no_session() -> Response {
    let text = "Your browser did not send the cookie of this site: it was deleted, it has expired, or it is blocked. \
                Nothing was changed. If this happens again, allow cookies for this site.";
    message(StatusCode::FORBIDDEN, "This page has no session", text)
}

/// The response to a form that a page of another site has sent.
pub(crate) fn foreign_form() -> Response {
    let text = "Another site has sent this form. Nothing was changed.";
    message(StatusCode::FORBIDDEN, "This form is not from this site", text)
}

pub(crate) fn unreadable_form() -> Response {
    let text = "The form is too large, or was sent too slowly.";
    message(StatusCode::PAYLOAD_TOO_LARGE, "This form cannot be read", text)
}

pub(crate) async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Page not found", "Check the address.")
}
