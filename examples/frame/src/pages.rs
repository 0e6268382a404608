//! The pages of the site.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

/// What the page around a frame says.
pub(crate) struct Frame {
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    /// The page to which a user returns without a result.
    pub(crate) back: &'static str,
}

fn page(title: &str, content: &Markup) -> Response {
    html! {
        (DOCTYPE)
        html lang="en" {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " \u{2013} Example Site" }
            link rel="stylesheet" href="/frame.css";
            // Before the frame: an automated result is posted immediately.
            script src="/frame.js" {}
            body { main { h1 { (title) } (content) } }
        }
    }
    .into_response()
}

pub(crate) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let content = html! {
        p role="alert" { (text) }
        p { a href="/" { "Continue" } }
    };
    (status, page(title, &content)).into_response()
}

pub(crate) fn login(name: &str, problem: &str) -> Response {
    let content = html! {
        p role="alert" { (problem) }
        form method="post" action="/login" {
            label {
                "User name"
                input name="username" value=(name) autocomplete="username" autocapitalize="none" required;
            }
            label {
                "Password"
                input name="password" type="password" autocomplete="current-password" required;
            }
            button { "Log in" }
        }
    };
    page("Log in", &content)
}

pub(crate) fn account(user: &str) -> Response {
    let content = html! {
        p { "You are logged in as " strong { (user) } ", by your password and your phone." }
        ul {
            li { a href="/phones" { "Your phones" } }
            li { a href="/pair" { "Pair a phone" } }
        }
        form method="post" action="/logout" { button { "Log out" } }
    };
    page("Your account", &content)
}

/// The script recognizes the frame by its id, and accepts messages of this origin from it.
pub(crate) fn frame(frame: &Frame, url: &str, origin: &str) -> Response {
    let content = html! {
        p { (frame.text) }
        noscript { p role="alert" { "This page needs JavaScript: the frame reports its result to it." } }
        // The origin alone is disclosed, and the server allows only it to show the frame.
        iframe #toopher_iframe title=(frame.title) data-origin=(origin) referrerpolicy="strict-origin" src=(url) {}
        form #postback method="post" action="/postback" hidden {}
        p { a href=(frame.back) { "Back" } }
    };
    page(frame.title, &content)
}
