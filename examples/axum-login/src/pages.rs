//! The pages of the site: plain HTML. A real site has a template engine, which escapes what strangers write.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use tower_cookies::Cookies;
use tower_toopher::Rejection;
use tower_toopher::totp::{Enrollment, RecoveryCode};

use super::browser::BROWSER;

fn document(title: &str, content: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<main>
<h1>{title}</h1>
{content}
</main>
"#
    )
}

fn page(title: &str, content: &str) -> Response {
    Html(document(title, content)).into_response()
}

pub(crate) async fn login(cookies: Cookies) -> Response {
    login_form("", cookies.get(BROWSER).is_some())
}

pub(crate) fn wrong_password(remember: bool) -> Response {
    login_form("This name and password do not belong together.", remember)
}

fn login_form(problem: &str, remember: bool) -> Response {
    let checked = if remember { "checked" } else { "" };
    let form = format!(
        r#"<p role="alert">{problem}</p>
<form method="post">
<p><label>User name <input name="username" autocomplete="username" required></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><label><input name="remember" type="checkbox" {checked}> Remember this browser</label></p>
<button>Log in</button>
</form>"#
    );
    page("Log in", &form)
}

const CODE_INPUT: &str = r#"<p><label>Code from your authenticator app, or a recovery code
<input name="otp" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" required></label></p>"#;

fn code_form(problem: &str, more: &str, button: &str) -> String {
    format!(r#"<p role="alert">{problem}</p><form method="post">{more}{CODE_INPUT}<button>{button}</button></form>"#)
}

pub(crate) async fn code() -> Response {
    page("One more step", &code_form("", "", "Continue"))
}

pub(crate) fn wrong_code(rejection: &Rejection, _: &Parts) -> Response {
    rejected(rejection, "One more step", "", "Continue")
}

const AMOUNT: &str = r#"<p><label>Amount <input name="amount" inputmode="decimal" required></label></p>"#;

pub(crate) async fn transfer() -> Response {
    page("Transfer money", &code_form("", AMOUNT, "Transfer"))
}

pub(crate) fn wrong_transfer(rejection: &Rejection, _: &Parts) -> Response {
    rejected(rejection, "Transfer money", AMOUNT, "Transfer")
}

/// The form again, with the status and the headers of the rejection.
fn rejected(rejection: &Rejection, title: &str, more: &str, button: &str) -> Response {
    // `code()` is the public reason: it does not say whether a code was wrong or used.
    let problem = match rejection.code() {
        "otp_required" => "Type a code.",
        "otp_invalid" => "That code was not accepted. Each code works once: wait for the next one.",
        _ => rejection.title(),
    };
    let mut response = rejection.response(Body::from(document(title, &code_form(problem, more, button))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

pub(crate) fn account(user: &str) -> Response {
    let content = format!(
        r#"<p>Hello, {user}.</p>
<ul><li><a href="/transfer">Transfer money</a></li><li><a href="/enroll">Replace the authenticator app</a></li></ul>
<form method="post" action="/logout"><button>Log out</button></form>"#
    );
    page("Your account", &content)
}

pub(crate) fn transferred(user: &str) -> Response {
    page("Transferred", &format!("<p>{user} has transferred money.</p><p><a href=\"/account\">Continue</a></p>"))
}

pub(crate) fn enroll(enrollment: &Enrollment, problem: &str) -> Response {
    let (image, secret) = (enrollment.qr_svg(), enrollment.secret().to_base32());
    // Without the XML declaration, which is invalid in HTML.
    let image = &image[image.find("<svg").unwrap_or(0)..];
    let content = format!(
        r#"<p>Scan this with an authenticator app. It replaces the one that you have, and its recovery codes.</p>
<div role="img" aria-label="QR code for your authenticator app">{image}</div>
<p>Or type this secret: <code id="secret">{}</code></p>
<p role="alert">{problem}</p>
<form method="post"><p><label>Code that the app shows
<input name="code" inputmode="numeric" autocomplete="one-time-code" required></label></p>
<button>Confirm</button></form>"#,
        *secret
    );
    page("Set up an authenticator app", &content)
}

pub(crate) fn recovery_codes(codes: &[RecoveryCode]) -> Response {
    let items: String = codes.iter().map(|code| format!("<li><code>{code}</code></li>")).collect();
    let content = format!(
        r#"<p>Save them where your phone is not: each of them works once, and they are shown only here.</p>
<ul>{items}</ul><p><a href="/account">I have saved them</a></p>"#
    );
    page("Your recovery codes", &content)
}
