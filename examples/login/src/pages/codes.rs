//! The pages of recovery codes.

use axum::response::Response;
use maud::html;

use super::layout::{copy_button, csrf, page};
use crate::app::SITE;
use crate::visit::Visit;

/// New codes. The site stores their digests, and the session the codes until the user has saved them.
pub(crate) fn recovery_codes(visit: &Visit, codes: &[String]) -> Response {
    let user = visit.logged_in().map(|(_, user)| user).or(visit.pending_login().map(|(_, user)| user));
    let content = html! {
        h1 { "Your recovery codes" }
        p role="status" { "They are the way in on the day on which you lose your second factor, which is set up." }
        p {
            "Save these codes where your phone is not. Each of them works once in place of a code or an approval. They \
             are not shown again after you continue."
        }
        p .print { (SITE) @if let Some(user) = user { ", " (user) } }
        ul .recovery { @for code in codes { li { code { (code) } } } }
        div .actions {
            (copy_button(".recovery code", "Copy"))
            a .button .second href="/codes/download" download="recovery-codes.txt" { "Download" }
            button .second type="button" data-print hidden { "Print" }
        }
        form method="post" action="/codes/saved" {
            (csrf(visit))
            button { "I have saved them" }
        }
        @if visit.logged_in().is_none() {
            p .hint { "Then log in. The code that you typed is used, so wait for the next one." }
        }
    };
    page("Your recovery codes", None, &content)
}

/// Asks before the codes are replaced.
pub(crate) fn new_recovery_codes(visit: &Visit, left: usize) -> Response {
    let content = html! {
        h1 { "Create new recovery codes?" }
        p {
            @if left > 0 { "The " (left) " codes that are left will no longer work. " }
            "You will be logged out in all other browsers, and all remembered browsers will be forgotten."
        }
        form method="post" action="/codes/new" {
            (csrf(visit))
            button { "Create new codes" }
        }
        p { a href="/account" { "Back" } }
    };
    page("Create new recovery codes", None, &content)
}
