//! The pages of the password and of the account.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{alert, code_input, csrf, page};
use crate::visit::Visit;

pub(crate) fn password(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in" }
        (alert(problem))
        @if let Some((login, _)) = visit.pending_login() {
            p { a href="/second" { "Continue as " (login.user) } ", or log in as another user:" }
        }
        form method="post" action="/login" {
            (csrf(visit))
            (name_and_password())
            button { "Log in" }
        }
        p { a href="/login/otp" { "Input an OTP instead" } }
    };
    page("Log in", None, &content)
}

/// The first place for an OTP.
pub(crate) fn single_form(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in with an OTP" }
        (alert(problem))
        form method="post" action="/login/otp" {
            (csrf(visit))
            (name_and_password())
            (code_input("otp", "Code from your authenticator, or a recovery code", false))
            button { "Log in" }
        }
        p { a href="/login" { "Log in step by step" } }
    };
    page("Log in with an OTP", None, &content)
}

fn name_and_password() -> Markup {
    html! {
        label {
            "User name"
            input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus;
        }
        label {
            "Password"
            input name="password" type="password" autocomplete="current-password" required;
        }
    }
}

pub(crate) fn account(visit: &Visit, user: &str, by: &str) -> Response {
    let content = html! {
        h1 { "Hello, " (user) }
        p { "You are logged in, by your password and " (by) "." }
        p { a href="/enroll" { "Set up another second factor" } }
        form method="post" action="/logout" {
            (csrf(visit))
            button { "Log out" }
        }
    };
    page("Your account", None, &content)
}
