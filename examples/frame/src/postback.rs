//! The result of a frame, which passes through the user's browser: only its signature makes it true.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use tower_sessions::Session;
use tower_toopher::client::iframe::Postback;

use super::app::{ACTION, App};
use super::pages;
use super::session::{self, Login, Stage};

/// Verifies the result, and logs the user in if it is an approval of this login.
pub(crate) async fn receive(State(app): State<App>, session: Session, form: Bytes) -> Response {
    let (login, token) = match (session::login(&session).await, session::take_token(&session).await) {
        (Ok(Some(login)), Ok(Some(token))) => (login, token),
        (Ok(_), Ok(_)) => return Redirect::to("/").into_response(),
        (Err(error), _) | (_, Err(error)) => return session::unavailable(&error),
    };
    let postback = match app.iframe.check_form(&form, &token) {
        Ok(postback) => postback,
        Err(error) => {
            let text = format!("The result of the frame was not accepted: {error}.");
            return pages::message(StatusCode::FORBIDDEN, "Not accepted", &text);
        }
    };
    match (login.stage, postback) {
        // For this user and this action: an approval of anything else is not valid here.
        (Stage::Password, postback) if postback.is_granted_for(&login.user, ACTION) => {
            match session::begin(&session, Login { stage: Stage::LoggedIn, ..login }).await {
                Ok(()) => Redirect::to("/").into_response(),
                Err(error) => session::unavailable(&error),
            }
        }
        (_, Postback::Authentication(_)) => {
            pages::message(StatusCode::FORBIDDEN, "Not approved", "The login was not approved. Nothing was changed.")
        }
        (_, Postback::Pairing(pairing)) if pairing.user_name() == Some(login.user.as_str()) => {
            let text = if pairing.is_enabled() { "Your phone is paired." } else { "Your phone was not paired." };
            pages::message(StatusCode::OK, "Pair a phone", text)
        }
        (_, Postback::User(user)) if user.name() == login.user => {
            pages::message(StatusCode::OK, "Your phones", "Your phones have changed.")
        }
        (_, Postback::Failure(failure)) => {
            // The message is the server's, signed, and for people.
            let text = format!("The frame reports: {}", failure.message());
            pages::message(StatusCode::FORBIDDEN, "Not possible", &text)
        }
        (_, _) => pages::message(StatusCode::FORBIDDEN, "Not accepted", "This is the result of another user."),
    }
}
