//! How the pages look: plain HTML that works without a script, and better with it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tower_toopher::Challenge;

use super::session::Visit;
use super::{SITE, Standing};

pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const FRAME_POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";
const DENIED: &str = "It was denied on your phone. If it was not you who asked, change your password.";
/// Seconds between two looks of a browser without a script.
const LOOK_AGAIN: u64 = 2;

/// How it stands with the phone, as the page of the second step shows it.
pub(crate) enum Phone {
    /// There is none to be asked.
    None,
    /// `at_once`: the script asks it as soon as the page is there.
    NotAsked {
        at_once: bool,
    },
    Waiting {
        challenge: Challenge,
        number: Option<String>,
    },
    Allowed(Challenge),
    Denied,
}

impl Phone {
    fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Waiting { challenge, .. } | Self::Allowed(challenge) => Some(challenge),
            _ => None,
        }
    }
}

/// A page around its content. `refresh` is where, and when, browsers without a script go by themselves.
pub(crate) fn page(title: &str, refresh: Option<(u64, &str)>, content: &Markup) -> Response {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            @if let Some((seconds, place)) = refresh {
                noscript { meta http-equiv="refresh" content=(format!("{seconds}; url={place}")); }
            }
            script src="/login.js" defer {}
            body {
                header { p.site { (SITE) } }
                main { (content) }
            }
        }
    }
    .into_response()
}

fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " \u{2013} " (SITE) }
        link rel="stylesheet" href="/login.css";
    }
}

/// What went wrong. It stands there empty too, since a screen reader tells only what changes in a region that it knows.
pub(crate) fn alert(text: &str) -> Markup {
    html! { p #alert .alert role="alert" { (text) } }
}

pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.csrf); }
}

/// A box for a code. No pattern and no length: a code that is pasted with spaces is a code.
pub(crate) fn code_box(name: &str, label: &str, focus: bool) -> Markup {
    html! {
        label {
            (label)
            input.code name=(name) inputmode="numeric" autocomplete="one-time-code" autocapitalize="none"
                spellcheck="false" required autofocus[focus];
        }
    }
}

pub(crate) fn password(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in" }
        (alert(problem))
        @if let Some((half, _)) = visit.half() {
            p { a href="/second" { "Go on as " (half.user) } ", or log in as somebody else:" }
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
pub(crate) fn all_at_once(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Log in with an OTP" }
        (alert(problem))
        form method="post" action="/login/otp" {
            (csrf(visit))
            (name_and_password())
            (code_box("otp", "Code from your authenticator, or a backup code", false))
            button { "Log in" }
        }
        p { a href="/login" { "Log in step by step" } }
    };
    page("Log in with an OTP", None, &content)
}

fn name_and_password() -> Markup {
    html! {
        label { "User name" input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus; }
        label { "Password" input name="password" type="password" autocomplete="current-password" required; }
    }
}

/// The second place: a dialog over an empty page. Without a script it is the page.
pub(crate) fn second(visit: &Visit, phone: &Phone, wait: Option<Duration>, problem: &str) -> Response {
    // Where nobody can be asked, the page itself has a time after which it gives up.
    let gives_up = wait.filter(|_| matches!(phone, Phone::None));
    let at_once = matches!(phone, Phone::NotAsked { at_once: true });
    let content = html! {
        dialog #second open aria-labelledby="title" data-ask[at_once]
            data-challenge=[phone.challenge().map(Challenge::as_str)]
            data-allowed[matches!(phone, Phone::Allowed(_))]
            data-seconds=[gives_up.map(|wait| wait.as_secs())]
        {
            h1 #title { "One more step" }
            (alert(problem))
            (phone_part(visit, phone))
            (code_forms(visit, phone.challenge(), if matches!(phone, Phone::None) { "Code from your authenticator" } else { "Or type a code" }))
            (start_over(visit))
        }
    };
    page("One more step", gives_up.map(|wait| (wait.as_secs(), "/second/late")), &content)
}

fn phone_part(visit: &Visit, phone: &Phone) -> Markup {
    let (text, number) = match phone {
        Phone::None => ("", None),
        Phone::NotAsked { .. } => ("We can ask your phone.", None),
        Phone::Waiting { number, .. } => ("We asked your phone.", number.as_deref()),
        Phone::Allowed(_) => ("Your phone said yes.", None),
        Phone::Denied => (DENIED, None),
    };
    let button = match phone {
        Phone::None => None,
        Phone::NotAsked { .. } => Some("Ask my phone"),
        Phone::Waiting { .. } => Some("I have allowed it"),
        Phone::Allowed(_) => Some("Continue"),
        Phone::Denied => Some("Ask again"),
    };
    html! {
        // For the script, which says here what changes.
        div #status role="status" {
            p #told { (text) }
            p #number .number hidden[number.is_none()] { "Type " strong { (number.unwrap_or_default()) } " on it." }
        }
        @if let Phone::Waiting { challenge, .. } = phone {
            noscript {
                iframe title="How it stands" src=(format!("/second/wait/{}/state", challenge.as_str())) {}
            }
        }
        @if let Some(button) = button {
            form #ask method="post" action="/second" {
                (csrf(visit))
                (hidden_challenge(phone.challenge()))
                button #ask-button { (button) }
            }
        }
    }
}

fn hidden_challenge(challenge: Option<&Challenge>) -> Markup {
    html! {
        @if let Some(challenge) = challenge {
            input type="hidden" name="toopher_challenge" value=(challenge.as_str());
        }
    }
}

fn code_forms(visit: &Visit, challenge: Option<&Challenge>, label: &str) -> Markup {
    html! {
        form .otp method="post" action="/second" {
            (csrf(visit))
            (hidden_challenge(challenge))
            (code_box("otp", label, true))
            button { "Log in" }
        }
        details {
            summary { "I have lost my phone" }
            form .otp method="post" action="/second" {
                (csrf(visit))
                (hidden_challenge(challenge))
                label {
                    "One of your backup codes"
                    input.code name="otp" autocomplete="off" autocapitalize="characters" spellcheck="false" required;
                }
                button { "Log in" }
            }
        }
    }
}

/// A way out that keeps what is waited for: who comes back by the password joins it, and need not wait until it is over.
fn start_over(visit: &Visit) -> Markup {
    let user = visit.half().map(|(half, _)| half.user.as_str()).unwrap_or_default();
    html! { p .quiet { "You are logging in as " strong { (user) } ". " a href="/login" { "Start over" } } }
}

/// What a browser without a script sees of the phone: it loads itself again until there is something to do.
pub(crate) fn wait_frame(visit: &Visit, challenge: &Challenge, standing: Option<&Standing>) -> Response {
    let status = standing.map_or("pending", |standing| standing.status.as_str());
    let content = html! {
        (DOCTYPE)
        html lang="en" {
            (head("How it stands"))
            @if status == "pending" { meta http-equiv="refresh" content=(LOOK_AGAIN); }
            body.frame {
                div role="status" {
                    @match status {
                        "pending" => p { "Waiting for your phone \u{2026}" },
                        "granted" => {
                            p { "Your phone said yes." }
                            form method="post" action="/second" target="_top" {
                                (csrf(visit))
                                (hidden_challenge(Some(challenge)))
                                button { "Continue" }
                            }
                        }
                        "denied" => p { (DENIED) " " a href="/second" target="_top" { "What now?" } },
                        _ => p { "Your phone did not answer. " a href="/second/late" target="_top" { "What now?" } },
                    }
                }
            }
        }
    };
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FRAME_POLICY))];
    (policy, content).into_response()
}

/// The third place.
pub(crate) fn late(visit: &Visit, phones: bool) -> Response {
    let content = html! {
        h1 { (if phones { "Your phone did not answer" } else { "That took a while" }) }
        (alert(""))
        p { @if phones { "It took too long, or was answered elsewhere. " } "Nobody was logged in. You can still type a code." }
        (code_forms(visit, None, "Code from your authenticator"))
        @if phones {
            form method="post" action="/second" {
                (csrf(visit))
                button .second { "Ask my phone again" }
            }
        }
        (start_over(visit))
    };
    page("No answer", None, &content)
}

pub(crate) fn account(visit: &Visit, user: &str, by: &str) -> Response {
    let content = html! {
        h1 { "Hello, " (user) }
        p { "You are logged in, by your password and " (by) "." }
        p { a href="/enrol" { "Set up another second factor" } }
        form method="post" action="/logout" {
            (csrf(visit))
            button { "Log out" }
        }
    };
    page("Your account", None, &content)
}

/// A page that only says something.
pub(crate) fn message(status: StatusCode, title: &str, text: &str) -> Response {
    let content = html! {
        h1 { (title) }
        p role="alert" { (text) }
        p { a href="/account" { "Go on" } }
    };
    (status, page(title, None, &content)).into_response()
}

/// To a form that is not one of this session's.
pub(crate) fn out_of_date() -> Response {
    let text = "You have logged in or out since, in another tab perhaps, or another site has led you here. Nothing was \
                done.";
    message(StatusCode::FORBIDDEN, "This page is out of date", text)
}

pub(crate) async fn not_found() -> Response {
    message(StatusCode::NOT_FOUND, "There is no such page", "Perhaps the address is incomplete.")
}

/// An SVG image that we have made ourselves.
pub(crate) fn svg(image: &str) -> Markup {
    // Without the XML declaration, which HTML has no place for.
    html! { div .qr role="img" aria-label="QR code for your authenticator app" { (PreEscaped(&image[image.find("<svg").unwrap_or(0)..])) } }
}

pub(crate) fn in_words(wait: Duration) -> String {
    match wait.as_secs_f64().ceil() as u64 {
        0 | 1 => "a second".into(),
        seconds @ 2..=90 => format!("{seconds} seconds"),
        seconds @ 91..=5400 => format!("{} minutes", seconds.div_ceil(60)),
        seconds => format!("{} hours", seconds.div_ceil(3600)),
    }
}
