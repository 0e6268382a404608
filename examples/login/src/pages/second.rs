//! The pages of the second factor: a code, an approval on the phone, or both. They offer only what the user has.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};
use tower_toopher::verify::ApprovalToken;

use super::layout::{alert, code_input, countdown, csrf, page, recovery_input};
use crate::app::Factors;
use crate::step::Step;
use crate::visit::Visit;

/// The API does not say which of them it was.
pub(crate) const DENIED: &str = "Not approved: it was denied on your phone, or another number was typed there. If you \
     did not request it, deny it, and change your password.";

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

/// The second place for a code: a dialog over an empty page. Without scripts it is the page.
pub(crate) struct SecondPage<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) step: Step,
    pub(crate) factors: Factors,
    pub(crate) phone: &'a Phone,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) problem: &'a str,
}

impl SecondPage<'_> {
    pub(crate) fn render(&self) -> Response {
        let Self { visit, step, phone, .. } = *self;
        let unavailable = matches!(phone, Phone::Unavailable);
        // Without an approval, which expires, the page has a time limit.
        let time_limit = self.time_limit.filter(|_| unavailable).map(|limit| limit.as_secs());
        let automatic = matches!(phone, Phone::NotRequested { automatic: true });
        let content = html! {
            dialog #second open aria-labelledby="title" data-path=(step.path()) data-request[automatic]
                data-token=[phone.token().map(ApprovalToken::as_str)]
                data-granted[matches!(phone, Phone::Granted(_))]
                data-limit=[time_limit]
            {
                h1 #title { (step.title()) }
                (alert(self.problem))
                @if self.factors.phone || !unavailable { (self.phone_part()) }
                (code_forms(visit, step, self.factors, phone.token(), !unavailable))
                @if let Some(limit) = time_limit { (limit_part(step, limit)) }
                (leave(visit, step))
            }
        };
        page(step.title(), None, &content)
    }

    fn phone_part(&self) -> Markup {
        let Self { visit, step, phone, .. } = *self;
        let (text, number, button) = match phone {
            Phone::Unavailable => ("", None, None),
            Phone::NotRequested { .. } => ("We can send a request to your phone.", None, Some("Send the request")),
            Phone::Pending { number, .. } => {
                ("We sent a request to your phone.", number.as_deref(), Some("I have approved it"))
            }
            Phone::Granted(_) => ("Approved on your phone.", None, Some("Continue")),
            Phone::Denied => (DENIED, None, Some("Send another request")),
        };
        let pending = matches!(phone, Phone::Pending { .. });
        html! {
            // The script writes changes of the status here.
            div #status role="status" {
                p #message { (text) }
                p #number .number hidden[number.is_none()] {
                    "Type " strong { (number.unwrap_or_default()) } " on your phone."
                }
            }
            // The script shows it, and the frame below without scripts.
            p #expires .quiet hidden { "The request expires in " (countdown(0)) "." }
            @if let Phone::Pending { token, .. } = phone {
                noscript {
                    iframe title="Status of the request"
                        src=(format!("{}/wait/{}/state", step.path(), token.as_str())) {}
                }
            }
            @if let Some(button) = button {
                form #request method="post" action=(step.path()) {
                    (csrf(visit))
                    (hidden_token(phone.token()))
                    button #request-button { (button) }
                }
            }
            // The script shows it when it has sent a request.
            form #again method="post" action=(step.path()) hidden[!pending] {
                (csrf(visit))
                (hidden_token(phone.token()))
                input type="hidden" name="again" value="1";
                button .second { "Ask again" }
            }
        }
    }
}

pub(super) fn hidden_token(token: Option<&ApprovalToken>) -> Markup {
    html! {
        @if let Some(token) = token {
            input type="hidden" name="toopher_approval" value=(token.as_str());
        }
    }
}

fn limit_part(step: Step, limit: u64) -> Markup {
    html! {
        // With the script, typing restarts the time limit.
        p #limit .quiet hidden { "Time left: " (countdown(limit)) ". It restarts when you type." }
        noscript { iframe .limit title="Time limit" src=(format!("{}/limit?left={limit}", step.path())) {} }
    }
}

/// `other`: the page offers an approval as well.
fn code_forms(visit: &Visit, step: Step, factors: Factors, token: Option<&ApprovalToken>, other: bool) -> Markup {
    let source = if factors.authenticator { "your authenticator" } else { "your phone" };
    let label = if other { format!("Or type a code from {source}") } else { format!("Code from {source}") };
    let button = match step {
        Step::LogIn => "Log in",
        Step::Change => "Confirm",
    };
    html! {
        form .otp method="post" action=(step.path()) {
            (csrf(visit))
            (hidden_token(token))
            (code_input("otp", &label, true))
            button { (button) }
        }
        details {
            summary { "I have lost my phone" }
            @if factors.recovery_codes > 0 {
                form .otp method="post" action=(step.path()) {
                    (csrf(visit))
                    (hidden_token(token))
                    (recovery_input("One of your recovery codes"))
                    button { (button) }
                }
            } @else {
                p { "You have no recovery codes. Ask an administrator to reset your second factor." }
            }
        }
    }
}

/// Leads to the page before. From the password page, the same user joins the pending approval.
fn leave(visit: &Visit, step: Step) -> Markup {
    match (step, visit.pending_login()) {
        (Step::LogIn, login) => {
            let user = login.as_ref().map(|(login, _)| login.user.as_str()).unwrap_or_default();
            html! { p .quiet { "You are logging in as " strong { (user) } ". " a href="/login" { "Start over" } } }
        }
        (Step::Change, _) => html! { p .quiet { a href="/account" { "Back to your account" } } },
    }
}

/// The third place.
pub(crate) fn late(visit: &Visit, step: Step, factors: Factors) -> Response {
    let content = html! {
        h1 { (if factors.phone { "Your phone did not answer" } else { "The time limit has passed" }) }
        (alert(""))
        p {
            @if factors.phone { "The request has expired, or was answered in another tab. " }
            @match step {
                Step::LogIn => "You are not logged in. ",
                Step::Change => "Nothing was changed. ",
            }
            "You can still type a code."
        }
        @if let Some((login, _)) = visit.pending_login() {
            p .quiet { "Time left: " (countdown(login.seconds_left())) ". After that you log in again." }
        }
        (code_forms(visit, step, factors, None, false))
        @if factors.phone {
            form method="post" action=(step.path()) {
                (csrf(visit))
                button .second { "Send another request" }
            }
        }
        (leave(visit, step))
    };
    page("No answer", None, &content)
}
