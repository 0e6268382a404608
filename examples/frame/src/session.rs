//! The login and the token of a frame in the session.

use std::error::Error;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_sessions::session::Error as SessionError;
use tower_toopher::BoxError;
use tower_toopher::client::iframe::Iframe;

use super::pages;

const LOGIN: &str = "login";
const TOKEN: &str = "token";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The password was verified, and the second factor was not.
    Password,
    /// Both were verified.
    LoggedIn,
}

pub(crate) async fn login(session: &Session) -> Result<Option<Login>, SessionError> {
    session.get(LOGIN).await
}

/// A new stage, in a session with a new id, against session fixation.
pub(crate) async fn begin(session: &Session, login: Login) -> Result<(), SessionError> {
    session.clear().await;
    session.cycle_id().await?;
    session.insert(LOGIN, login).await
}

pub(crate) async fn new_token(session: &Session) -> Result<String, BoxError> {
    let token = Iframe::session_token()?;
    session.insert(TOKEN, &token).await?;
    Ok(token)
}

/// Takes the token out of the session, so that it is valid for one result.
pub(crate) async fn take_token(session: &Session) -> Result<Option<String>, SessionError> {
    let token = session.remove(TOKEN).await?;
    session.save().await?;
    Ok(token)
}

pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> Response {
    eprintln!("server error: {error}");
    pages::message(StatusCode::SERVICE_UNAVAILABLE, "Temporarily unavailable", "Please try again in a moment.")
}
