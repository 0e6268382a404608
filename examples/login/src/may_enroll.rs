//! Which user may enroll a second factor now.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use tower_toopher::UserId;

use super::app::App;
use super::visit::Visit;
use super::{pages, session};

/// The user who may enroll now, or the page for one who may not. A user who is logged in has shown a factor a moment
/// ago: the layer on these routes requires it.
pub(crate) async fn may_enroll(app: &App, visit: &Visit) -> Result<UserId, Response> {
    if let Some((_, user)) = visit.logged_in() {
        return Ok(user);
    }
    let Some((_, user)) = visit.pending_login() else { return Err(Redirect::to("/login").into_response()) };
    match app.factors(&user).await {
        Ok(factors) if factors.is_none() => Ok(user),
        Ok(_) => Err(already_enrolled(visit)),
        Err(error) => Err(session::server_error(&error)),
    }
}

fn already_enrolled(visit: &Visit) -> Response {
    let content = html! {
        h1 { "You have a second factor already" }
        p role="alert" {
            "To set up another one, log in with the one that you have. If it is lost, use a recovery code, or ask an \
             administrator."
        }
        p { a href=(next_page(visit)) { "Continue" } }
    };
    (StatusCode::FORBIDDEN, pages::page("Second factor", None, &content)).into_response()
}

/// The page after the enrollment.
pub(crate) fn next_page(visit: &Visit) -> &'static str {
    if visit.logged_in().is_some() { "/account" } else { "/second" }
}
