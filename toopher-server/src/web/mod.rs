//! The pages that a site shows in a frame: pairing, authentication, and the user's settings.
//!
//! The site signs the URL of a page. The server redirects the browser to a session whose token only this browser knows.
//! When the page is done, it posts a signed result to the window around the frame, which sends it to the site.

mod actions;
mod answers;
mod browser;
mod codes;
mod forms;
mod manage;
mod new_session;
mod open;
mod other;
mod page;
mod payload;
mod reply;
mod request;
mod session;
mod show;
mod views;

use axum::Router;
use axum::routing::get;

use crate::state::Server;

pub(crate) use self::session::SESSION_LIFETIME;

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/authenticate", get(open::authenticate))
        .route("/auth", get(open::authenticate_only))
        .route("/auth-v2", get(open::authenticate_only))
        .route("/pair", get(open::pair))
        .route("/pair-v2", get(open::pair))
        .route("/unpair", get(open::unpair))
        .route("/manage_user", get(open::manage))
        .route("/error.html", get(page::unsignable))
        .route("/frame.js", get(page::script))
        .route("/frame.css", get(page::style))
        .route("/session/{token}", get(show::show).post(show::act))
}
