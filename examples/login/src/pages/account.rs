//! The account: the second factors and the remembered browsers of the user.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{ago, csrf, page};
use crate::table::Browser;
use crate::visit::{By, Login, Visit};

/// A second factor in the list.
pub(crate) struct Item {
    /// The page that removes it.
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) since: Option<u64>,
}

pub(crate) struct AccountPage<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) login: &'a Login,
    pub(crate) apps: Vec<Item>,
    /// `None` if the API fails.
    pub(crate) phones: Option<Vec<Item>>,
    pub(crate) recovery_codes: usize,
    pub(crate) browsers: Vec<Browser>,
    /// The secret id of the browser that sent the request.
    pub(crate) this_browser: &'a str,
}

impl AccountPage<'_> {
    pub(crate) fn render(&self) -> Response {
        let by = match self.login.by {
            By::Code => "a code of the authenticator",
            By::RecoveryCode => "a recovery code",
            By::Phone => "an approval on the phone",
        };
        let content = html! {
            h1 { "Hello, " (self.login.user) }
            @if self.login.factor_time.is_some() {
                p { "You are logged in, by your password and " (by) "." }
            } @else {
                p { "You are logged in, by your password on a remembered browser." }
            }
            @if self.login.by == By::RecoveryCode && self.login.factor_time.is_some() {
                p .notice role="status" {
                    "You have used a recovery code. If you have lost a phone, set up another second factor, and then \
                     remove the lost one."
                }
            }
            (self.second_factors())
            (self.recovery_codes())
            (self.remembered_browsers())
            form method="post" action="/logout" {
                (csrf(self.visit))
                button { "Log out" }
            }
        };
        page("Your account", None, &content)
    }

    fn second_factors(&self) -> Markup {
        html! {
            h2 { "Second factors" }
            ul .items {
                @for item in &self.apps { (self::item(item, "authenticator app")) }
                @for item in self.phones.iter().flatten() { (self::item(item, "phone with approvals")) }
            }
            @if self.phones.is_none() { p .notice { "Your phones cannot be listed at the moment." } }
            @if self.phones.as_ref().is_some_and(|phones| phones.len() > 1) {
                p .hint { "Requests go to the phone that was set up last. The codes of all of them are valid." }
            }
            p { a .button .second href="/enroll" { "Set up another second factor" } }
        }
    }

    fn recovery_codes(&self) -> Markup {
        html! {
            h2 { "Recovery codes" }
            p #codes-left {
                @match self.recovery_codes {
                    0 => "You have none. Create some: they are the way in after you have lost your phone.",
                    1 => "One is left.",
                    count => { (count) " are left." },
                }
            }
            p { a .button .second href="/codes/new" { "Create new recovery codes" } }
        }
    }

    fn remembered_browsers(&self) -> Markup {
        html! {
            h2 { "Remembered browsers" }
            @if self.browsers.is_empty() {
                p #no-browsers { "None. Every login requires a second factor." }
            } @else {
                ul .items #browsers {
                    @for browser in &self.browsers {
                        li {
                            div {
                                strong { (browser.name) } " "
                                span .quiet {
                                    (ago(browser.since))
                                    @if browser.id == self.this_browser { ", this browser" }
                                }
                            }
                            form method="post" action="/browsers/forget" {
                                (csrf(self.visit))
                                input type="hidden" name="browser" value=(browser.number);
                                button .small aria-label={ "Forget " (browser.name) ", " (ago(browser.since)) } {
                                    "Forget"
                                }
                            }
                        }
                    }
                }
            }
            form method="post" action="/browsers/forget" {
                (csrf(self.visit))
                button .second { "Forget all browsers, and log out everywhere else" }
            }
        }
    }
}

fn item(item: &Item, kind: &str) -> Markup {
    html! {
        li {
            div {
                strong { (item.name) } " "
                span .quiet {
                    (kind)
                    @if let Some(since) = item.since { ", set up " (ago(since)) }
                }
            }
            a .button .small href=(item.path) aria-label={ "Remove " (item.name) } { "Remove" }
        }
    }
}

/// Asks before a second factor is removed.
pub(crate) fn remove_factor(visit: &Visit, item: &Item, is_last: bool) -> Response {
    let content = html! {
        h1 { "Remove \u{201c}" (item.name) "\u{201d}?" }
        @if is_last {
            p role="alert" .alert {
                "This is your only second factor. Set up another one first: without any, your password alone would be \
                 enough to set one up."
            }
            p { a .button href="/enroll" { "Set up another second factor" } }
        } @else {
            p {
                "Its codes and approvals will no longer be accepted. You will be logged out in all other browsers, and \
                 all remembered browsers will be forgotten. Your recovery codes remain valid."
            }
            form method="post" action=(item.path) {
                (csrf(visit))
                button { "Remove it" }
            }
        }
        p { a href="/account" { "Back" } }
    };
    page("Remove a second factor", None, &content)
}
