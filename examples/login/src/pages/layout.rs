//! What the pages share.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::app::SITE;
use crate::visit::{Visit, now};

pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
pub(crate) const MALFORMED: &str =
    "This is not a code. An app shows six to eight digits. A recovery code has sixteen letters and digits.";

/// A page around its content. `refresh` is the delay in seconds and the target for browsers without scripts.
pub(crate) fn page(title: &str, refresh: Option<(u64, &str)>, content: &Markup) -> Response {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            @if let Some((seconds, path)) = refresh {
                noscript { meta http-equiv="refresh" content=(format!("{seconds}; url={path}")); }
            }
            script src="/page.js" defer {}
            script src="/login.js" defer {}
            body {
                header { p.site { (SITE) } }
                main { (content) }
            }
        }
    }
    .into_response()
}

pub(super) fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " \u{2013} " (SITE) }
        link rel="stylesheet" href="/login.css";
    }
}

/// An error message. The element exists even if it is empty: a screen reader announces only changes of known regions.
pub(crate) fn alert(text: &str) -> Markup {
    html! { p #alert .alert role="alert" { (text) } }
}

pub(crate) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.csrf); }
}

/// An input for the digits of an app, without a pattern and a maximum length: a code that is pasted with spaces is
/// valid.
pub(crate) fn code_input(name: &str, label: &str, focus: bool) -> Markup {
    html! {
        label {
            (label)
            input.code name=(name) inputmode="numeric" autocomplete="one-time-code" autocapitalize="none"
                spellcheck="false" required autofocus[focus];
        }
    }
}

/// An input for a recovery code, whose keyboard has letters.
pub(crate) fn recovery_input(label: &str) -> Markup {
    html! {
        label {
            (label)
            input.code name="otp" autocomplete="off" autocapitalize="characters" spellcheck="false" required;
        }
    }
}

/// An SVG image of a QR code.
pub(crate) fn svg(image: &str, label: &str) -> Markup {
    // Without the XML declaration, which is invalid in HTML.
    let image = PreEscaped(&image[image.find("<svg").unwrap_or(0)..]);
    html! { div .qr role="img" aria-label=(label) { (image) } }
}

/// A button that the script shows. It copies the text of the elements that the selector finds.
pub(crate) fn copy_button(selector: &str, label: &str) -> Markup {
    html! {
        button .second type="button" data-copy=(selector) hidden { (label) }
    }
}

/// A time that remains. The script counts it down.
pub(crate) fn countdown(seconds: u64) -> Markup {
    html! { span .countdown role="timer" data-seconds=(seconds) { (format_duration(Duration::from_secs(seconds))) } }
}

pub(crate) fn too_many_failures(retry_after: Option<Duration>) -> String {
    match retry_after.map(format_duration) {
        Some(wait) => format!("Too many codes were wrong. Try again in {wait}, with a new code."),
        None => "Too many codes were wrong. An administrator has to unlock the account.".into(),
    }
}

pub(crate) fn format_duration(duration: Duration) -> String {
    match duration.as_secs_f64().ceil() as u64 {
        0 | 1 => "a second".into(),
        seconds @ 2..=90 => format!("{seconds} seconds"),
        seconds @ 91..=5400 => format!("{} minutes", seconds.div_ceil(60)),
        seconds @ 5401..=172_800 => format!("{} hours", seconds.div_ceil(3600)),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// How long ago something was.
pub(super) fn ago(since: u64) -> String {
    match now().saturating_sub(since) {
        0..60 => "just now".into(),
        seconds => format!("{} ago", format_duration(Duration::from_secs(seconds))),
    }
}
