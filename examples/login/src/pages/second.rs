//! The pages of the second step: a code, an approval on the phone, or both.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use tower_toopher::verify::ApprovalToken;

use super::layout::{alert, code_input, csrf, head, page};
use crate::app::ApprovalStatus;
use crate::visit::Visit;

const FRAME_POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'";
const DENIED: &str = "Denied on your phone. If you did not request it, change your password.";
/// The interval at which the frame reloads, in seconds.
const RELOAD_INTERVAL: u64 = 2;

/// The state of the approval on the phone, as the page shows it.
pub(crate) enum Phone {
    /// The user has no phone, or it cannot be reached.
    Unavailable,
    /// `automatic`: the script requests the approval when the page is loaded.
    NotRequested {
        automatic: bool,
    },
    Pending {
        token: ApprovalToken,
        number: Option<String>,
    },
    Granted(ApprovalToken),
    Denied,
}

impl Phone {
    fn token(&self) -> Option<&ApprovalToken> {
        match self {
            Self::Pending { token, .. } | Self::Granted(token) => Some(token),
            _ => None,
        }
    }
}

/// The second place: a dialog over an empty page. Without scripts it is the page.
pub(crate) fn second(visit: &Visit, phone: &Phone, time_limit: Option<Duration>, problem: &str) -> Response {
    let unavailable = matches!(phone, Phone::Unavailable);
    // Without an approval, which expires, the page has a time limit.
    let time_limit = time_limit.filter(|_| unavailable);
    let automatic = matches!(phone, Phone::NotRequested { automatic: true });
    let label = if unavailable { "Code from your authenticator" } else { "Or type a code" };
    let content = html! {
        dialog #second open aria-labelledby="title" data-request[automatic]
            data-token=[phone.token().map(ApprovalToken::as_str)]
            data-granted[matches!(phone, Phone::Granted(_))]
            data-seconds=[time_limit.map(|limit| limit.as_secs())]
        {
            h1 #title { "One more step" }
            (alert(problem))
            (phone_part(visit, phone))
            (code_forms(visit, phone.token(), label))
            (start_over(visit))
        }
    };
    page("One more step", time_limit.map(|limit| (limit.as_secs(), "/second/late")), &content)
}

fn phone_part(visit: &Visit, phone: &Phone) -> Markup {
    let (text, number, button) = match phone {
        Phone::Unavailable => ("", None, None),
        Phone::NotRequested { .. } => ("We can send a request to your phone.", None, Some("Send the request")),
        Phone::Pending { number, .. } => {
            ("We sent a request to your phone.", number.as_deref(), Some("I have approved it"))
        }
        Phone::Granted(_) => ("Approved on your phone.", None, Some("Continue")),
        Phone::Denied => (DENIED, None, Some("Send another request")),
    };
    html! {
        // The script writes changes of the status here.
        div #status role="status" {
            p #message { (text) }
            p #number .number hidden[number.is_none()] {
                "Type " strong { (number.unwrap_or_default()) } " on your phone."
            }
        }
        @if let Phone::Pending { token, .. } = phone {
            noscript {
                iframe title="Status of the request" src=(format!("/second/wait/{}/state", token.as_str())) {}
            }
        }
        @if let Some(button) = button {
            form #request method="post" action="/second" {
                (csrf(visit))
                (hidden_token(phone.token()))
                button #request-button { (button) }
            }
        }
    }
}

fn hidden_token(token: Option<&ApprovalToken>) -> Markup {
    html! {
        @if let Some(token) = token {
            input type="hidden" name="toopher_approval" value=(token.as_str());
        }
    }
}

fn code_forms(visit: &Visit, token: Option<&ApprovalToken>, label: &str) -> Markup {
    html! {
        form .otp method="post" action="/second" {
            (csrf(visit))
            (hidden_token(token))
            (code_input("otp", label, true))
            button { "Log in" }
        }
        details {
            summary { "I have lost my phone" }
            form .otp method="post" action="/second" {
                (csrf(visit))
                (hidden_token(token))
                label {
                    "One of your recovery codes"
                    input.code name="otp" autocomplete="off" autocapitalize="characters" spellcheck="false" required;
                }
                button { "Log in" }
            }
        }
    }
}

/// Leads to the password page, and keeps the pending approval: the same user joins it after the password.
fn start_over(visit: &Visit) -> Markup {
    let user = visit.pending_login().map(|(login, _)| login.user.as_str()).unwrap_or_default();
    html! { p .quiet { "You are logging in as " strong { (user) } ". " a href="/login" { "Start over" } } }
}

/// The status for browsers without scripts. The frame reloads while the approval is pending.
pub(crate) fn wait_frame(visit: &Visit, token: &ApprovalToken, approval: Option<&ApprovalStatus>) -> Response {
    let status = approval.map_or("pending", |approval| approval.status.as_str());
    let content = html! {
        (DOCTYPE)
        html lang="en" {
            (head("Status of the request"))
            @if status == "pending" { meta http-equiv="refresh" content=(RELOAD_INTERVAL); }
            body.frame {
                div role="status" {
                    @match status {
                        "pending" => p { "Waiting for your phone \u{2026}" },
                        "granted" => {
                            p { "Approved on your phone." }
                            form method="post" action="/second" target="_top" {
                                (csrf(visit))
                                (hidden_token(Some(token)))
                                button { "Continue" }
                            }
                        }
                        "denied" => p { (DENIED) " " a href="/second" target="_top" { "More options" } },
                        _ => p { "Your phone did not answer. " a href="/second/late" target="_top" { "More options" } },
                    }
                }
            }
        }
    };
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(FRAME_POLICY))];
    (policy, content).into_response()
}

/// The third place.
pub(crate) fn late(visit: &Visit, with_phone: bool) -> Response {
    let content = html! {
        h1 { (if with_phone { "Your phone did not answer" } else { "The time limit has passed" }) }
        (alert(""))
        p {
            @if with_phone { "The request has expired, or was answered in another tab. " }
            "You are not logged in. You can still type a code."
        }
        (code_forms(visit, None, "Code from your authenticator"))
        @if with_phone {
            form method="post" action="/second" {
                (csrf(visit))
                button .second { "Send another request" }
            }
        }
        (start_over(visit))
    };
    page("No answer", None, &content)
}
