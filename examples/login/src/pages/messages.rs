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

/// The response to a form without the CSRF token of its session.
pub(crate) fn out_of_date() -> Response {
    let text = "You have logged in or out in the meantime, perhaps in another tab, or another site has sent you here. \
                Nothing was changed.";
    message(StatusCode::FORBIDDEN, "This page is out of date", text)
}

pub(crate) fn unreadable_form() -> Response {
    let text = "The form is too large, or was sent too slowly.";
    message(StatusCode::PAYLOAD_TOO_LARGE, "This form cannot be read", text)
}

pub(crate) async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "Page not found", "Check the address.")
}
