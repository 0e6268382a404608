//! Frames for browsers without scripts. They reload, and the page around them keeps what the user has typed.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use tower_toopher::verify::ApprovalToken;

use super::layout::{csrf, format_duration, head};
use super::second::{DENIED, hidden_token};
use crate::app::ApprovalStatus;
use crate::step::Step;
use crate::visit::Visit;

const FRAME_POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";
/// The interval at which a frame reloads, in seconds.
const RELOAD_INTERVAL: u64 = 2;
const LIMIT_RELOAD_INTERVAL: u64 = 10;

fn frame(title: &str, refresh: Option<&str>, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            @if let Some(refresh) = refresh { meta http-equiv="refresh" content=(refresh); }
            body.frame { main { div role="status" { (content) } } }
        }
    };
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FRAME_POLICY))];
    (policy, page).into_response()
}

/// The status of an approval. The frame reloads while it is pending.
pub(crate) fn wait_frame(
    visit: &Visit,
    step: Step,
    token: &ApprovalToken,
    approval: Option<&ApprovalStatus>,
) -> Response {
    let status = approval.map_or("pending", |approval| approval.status.as_str());
    let late = format!("{}/late?approval={}", step.path(), token.as_str());
    let content = html! {
        @match status {
            "pending" => p {
                "Waiting for your phone \u{2026}"
                @if let Some(seconds) = approval.and_then(|approval| approval.expires_in) {
                    " The request expires in " (format_duration(Duration::from_secs(seconds))) "."
                }
            },
            "granted" => {
                p { "Approved on your phone." }
                form method="post" action=(step.path()) target="_top" {
                    (csrf(visit))
                    (hidden_token(Some(token)))
                    button { "Continue" }
                }
            }
            "denied" => p { (DENIED) " " a href=(step.path()) target="_top" { "More options" } },
            _ => p { "Your phone did not answer. " a href=(late) target="_top" { "More options" } },
        }
    };
    let interval = RELOAD_INTERVAL.to_string();
    frame("Status of the request", (status == "pending").then_some(interval.as_str()), &content)
}

/// The time limit of a page without an approval.
pub(crate) fn limit_frame(step: Step, left: u64) -> Response {
    let interval = left.min(LIMIT_RELOAD_INTERVAL);
    let refresh = format!("{interval}; url={}/limit?left={}", step.path(), left - interval);
    let content = html! {
        @if left > 0 {
            p { "Time left: " (format_duration(Duration::from_secs(left))) "." }
        } @else {
            p {
                "The time limit has passed. If you have typed a code, send it. "
                a href={ (step.path()) "/late" } target="_top" { "More options" }
            }
        }
    };
    frame("Time limit", (left > 0).then_some(refresh.as_str()), &content)
}
