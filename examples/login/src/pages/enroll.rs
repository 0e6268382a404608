//! The pages that set up a second factor.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tower_toopher::totp::{Algorithm, Digits, Enrollment};

use super::layout::{alert, code_input, copy_button, countdown, csrf, page, svg};
use super::messages::message;
use crate::app::App;
use crate::table::{MAX_FACTORS, MAX_NAME};
use crate::visit::Visit;

pub(crate) fn choose_factor(visit: &Visit, with_phones: bool) -> Response {
    let content = html! {
        h1 { "Set up a second factor" }
        @if visit.logged_in().is_some() {
            p {
                "It is added to those that you have, which remain valid, as your recovery codes do. Afterwards you are \
                 logged out in all other browsers, and all remembered browsers are forgotten."
            }
        } @else {
            p { "A password alone can be stolen. From now on, your phone confirms each login." }
        }
        form method="post" action="/enroll/app" {
            (csrf(visit))
            button { "Use an authenticator app" }
        }
        @if with_phones {
            p { a .button .second href="/enroll/phone" { "Use approvals on your phone" } }
        }
        @if visit.logged_in().is_some() { p { a href="/account" { "Not now" } } }
    };
    page("Set up a second factor", None, &content)
}

pub(crate) fn too_many_factors() -> Response {
    let text = format!("You have {MAX_FACTORS} of this kind. Remove one of them first.");
    message(StatusCode::FORBIDDEN, "No more second factors", &text).into_response()
}

pub(crate) fn app(visit: &Visit, enrollment: &Enrollment, name: &str, problem: &str) -> Response {
    let secret = enrollment.secret().to_base32();
    let groups: Vec<&str> = secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let content = html! {
        h1 { "Set up your authenticator app" }
        ol {
            li {
                "Scan this with the app:"
                (svg(&enrollment.qr_svg(), "QR code for your authenticator app"))
                p { "On this device: " a href=(*enrollment.uri()) { "open the app" } ". Or type this secret:" }
                p { code #secret data-text=(*secret) { (groups.join(" ")) } }
                (parameters(enrollment))
                (copy_button("#secret", "Copy the secret"))
            }
            li {
                "Type the code that the app shows."
                (alert(problem))
                form method="post" action="/enroll/confirm" {
                    (csrf(visit))
                    // Without the focus, the page opens at its heading, and not below the QR code.
                    (code_input("code", "Code", !problem.is_empty()))
                    (name_input(name, "Authenticator app"))
                    button { "Confirm" }
                }
            }
        }
        @if let Some((login, _)) = visit.pending_login() {
            p .hint {
                "Time left: " (countdown(login.seconds_left())) ". After that you log in again and get another secret: \
                 then remove this one from the app."
            }
        }
        p { a href="/enroll" { "Use another second factor" } }
    };
    page("Set up your authenticator app", None, &content)
}

/// What a user who types the secret must set in the app, if it is not what every app assumes.
fn parameters(enrollment: &Enrollment) -> Markup {
    let pairing = enrollment.pairing();
    let (algorithm, digits, period) = pairing.totp().parameters();
    if (algorithm, digits, period.get()) == (Algorithm::Sha1, Digits::Six, 30) {
        return html! {};
    }
    html! {
        p #parameters {
            "With these settings: algorithm " strong { (algorithm.name()) } ", "
            strong { (digits.get()) " digits" } ", a new code every " strong { (period) " seconds" } "."
        }
    }
}

fn name_input(name: &str, default: &str) -> Markup {
    let name = if name.is_empty() { default } else { name };
    html! {
        label {
            "Name, to recognize it in your account"
            input name="name" value=(name) maxlength=(MAX_NAME) autocomplete="off" required;
        }
    }
}

/// Where a device becomes a phone: as text, as a link for this device, and as a QR code for another one.
fn phone_page(app: &App) -> Markup {
    let Some(address) = &app.phone_page else { return Markup::default() };
    let image = qrcode::QrCode::new(address).map(|code| code.render::<qrcode::render::svg::Color<'_>>().build());
    html! {
        p { "Open this page on your phone. It shows the words: " a href=(address) target="_blank" { (address) } }
        @if let Ok(image) = &image {
            (svg(image, "QR code of the page for your phone"))
        }
    }
}

pub(crate) fn phone(visit: &Visit, app: &App, name: &str, problem: &str) -> Response {
    let content = html! {
        h1 { "Set up your phone" }
        (alert(problem))
        (phone_page(app))
        form method="post" action="/enroll/phone" {
            (csrf(visit))
            label {
                "Words that your phone shows"
                input name="phrase" autocomplete="off" autocapitalize="none" required;
            }
            (name_input(name, "Phone"))
            button { "Pair" }
            button .second formaction="/enroll/phone/qr" formnovalidate { "Show a QR code for the phone instead" }
        }
        p { a href="/enroll" { "Use another second factor" } }
    };
    page("Set up your phone", None, &content)
}

/// Waits for the phone to confirm the pairing.
pub(crate) fn pairing(visit: &Visit, qr: bool, name: &str) -> Response {
    let content = html! {
        h1 { "Confirm on your phone" }
        @if qr {
            p { "Scan this with your phone, and allow the pairing there." }
            p { img .qr src="/enroll/phone/image" alt="QR code for your phone"; }
        }
        div role="status" { p #message data-poll="/enroll/phone/state" { "Waiting for your phone \u{2026}" } }
        @if qr {
            form method="post" action="/enroll/phone/qr" {
                (csrf(visit))
                input type="hidden" name="name" value=(name);
                button .second { "Show another QR code" }
            }
        }
        p { a href="/enroll/phone" { "Pair in another way" } }
        p { a href="/enroll" { "Use another second factor" } }
    };
    page("Confirm on your phone", Some((3, "/enroll/phone/wait")), &content)
}
