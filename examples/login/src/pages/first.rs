//! The pages of the password.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{alert, csrf, page};
use crate::visit::{Ended, Visit};

/// What the form contains again after an error.
#[derive(Default)]
pub(crate) struct LoginForm {
    pub(crate) username: String,
    pub(crate) remember: bool,
}

pub(crate) fn password(visit: &Visit, form: &LoginForm, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in" }
        (alert(problem))
        @if problem.is_empty() { (ended(visit)) }
        @if let Some((login, _)) = visit.pending_login() {
            p { a href="/second" { "Continue as " (login.user) } ", or log in as another user:" }
        }
        form method="post" action="/login" {
            (csrf(visit))
            (name_and_password(form))
            (remember(form))
            button { "Log in" }
        }
        p { a href="/login/otp" { "Type a code with the password" } }
    };
    page("Log in", None, &content)
}

/// The first place for a code.
pub(crate) fn single_form(visit: &Visit, form: &LoginForm, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in with a code" }
        (alert(problem))
        form method="post" action="/login/otp" {
            (csrf(visit))
            (name_and_password(form))
            label {
                "Code from your authenticator, or a recovery code"
                // Without a numeric keyboard, which has no letters for a recovery code.
                input.code name="otp" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" required;
            }
            (remember(form))
            button { "Log in" }
        }
        p { a href="/login" { "Log in step by step" } }
    };
    page("Log in with a code", None, &content)
}

/// Why a login of this session is no longer valid.
fn ended(visit: &Visit) -> Markup {
    let text = match visit.ended {
        None => return html! {},
        Some(Ended::Expired) => {
            "The time for the second step has passed. Log in again. If you have scanned a QR code that you did not \
             confirm, remove it from your app: you get another one."
        }
        Some(Ended::Revoked) => {
            "Your second factors were changed in another browser, so you have been logged out here. If that was not \
             you, change your password."
        }
    };
    html! { p .notice role="status" { (text) } }
}

fn name_and_password(form: &LoginForm) -> Markup {
    let is_known = !form.username.is_empty();
    html! {
        label {
            "User name"
            input name="username" value=(form.username) autocomplete="username" autocapitalize="none"
                spellcheck="false" required autofocus[!is_known];
        }
        label {
            "Password"
            input name="password" type="password" autocomplete="current-password" required autofocus[is_known];
        }
    }
}

fn remember(form: &LoginForm) -> Markup {
    html! {
        label .check {
            input type="checkbox" name="remember" value="1" checked[form.remember];
            "Remember this browser: for 30 days, the password is enough here"
        }
    }
}
