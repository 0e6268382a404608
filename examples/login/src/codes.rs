//! Recovery codes: shown until the user has saved them, and replaced on request.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tower_sessions::Session;
use tower_toopher::{BoxError, UserId};

use super::app::{App, SITE};
use super::login::redirect_to_stage;
use super::may_enroll::next_page;
use super::pages;
use super::session::{self, NEW_CODES};
use super::visit::Visit;

/// The routes that show new codes.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/codes", get(show)).route("/codes/download", get(download)).route("/codes/saved", post(saved))
}

/// The route that replaces codes, for the layer that requires a fresh factor.
pub(crate) fn change_routes() -> Router<App> {
    Router::new().route("/codes/new", get(ask).post(replace))
}

/// Whether this session has codes that the user has not saved.
pub(crate) async fn are_new(session: &Session) -> Result<bool, BoxError> {
    Ok(session.get::<Vec<String>>(NEW_CODES).await?.is_some())
}

/// Completes the enrollment of any second factor: ends the user's other sessions, and generates recovery codes for a
/// user who has none. The codes of a user who has some remain valid.
pub(crate) async fn after_enrollment(
    app: &App,
    session: &Session,
    visit: &Visit,
    user: &UserId,
) -> Result<Response, BoxError> {
    let has_codes = app.users.factors(user, |factors| factors.recovery_codes()) > Some(0);
    if !has_codes {
        session.insert(NEW_CODES, app.new_recovery_codes(user)?).await?;
    }
    session::end_others(app, session, user).await?;
    Ok(Redirect::to(if has_codes { next_page(visit) } else { "/codes" }).into_response())
}

/// The new codes of the user of this session, who may be logged in or not.
async fn new_codes(session: &Session, visit: &Visit) -> Result<Option<(UserId, Vec<String>)>, BoxError> {
    let user = visit.logged_in().map(|(_, user)| user).or(visit.pending_login().map(|(_, user)| user));
    let codes = session.get(NEW_CODES).await?;
    Ok(user.zip(codes))
}

async fn show(session: Session, visit: Visit) -> Response {
    match new_codes(&session, &visit).await {
        Ok(Some((_, codes))) => pages::recovery_codes(&visit, &codes),
        Ok(None) => redirect_to_stage(&visit),
        Err(error) => session::server_error(&*error),
    }
}

async fn download(session: Session, visit: Visit) -> Response {
    match new_codes(&session, &visit).await {
        Ok(Some((user, codes))) => {
            let text =
                format!("Recovery codes of {user} for {SITE}\nEach of them works once.\n\n{}\n", codes.join("\n"));
            let headers = [
                (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"recovery-codes.txt\""),
            ];
            (headers, text).into_response()
        }
        Ok(None) => redirect_to_stage(&visit),
        Err(error) => session::server_error(&*error),
    }
}

async fn saved(session: Session, visit: Visit) -> Response {
    match session.remove_value(NEW_CODES).await {
        Ok(_) => Redirect::to(next_page(&visit)).into_response(),
        Err(error) => session::server_error(&error),
    }
}

async fn ask(State(app): State<App>, visit: Visit) -> Response {
    let Some((_, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    let left = app.users.factors(&user, |factors| factors.recovery_codes()).unwrap_or_default();
    pages::new_recovery_codes(&visit, left)
}

async fn replace(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let _guard = app.changes.lock().await;
    let Some((_, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    let replace = async {
        if !session::is_current(&app, &session).await? {
            return Ok(Redirect::to("/login").into_response());
        }
        // Unless it is the second of two clicks.
        if !are_new(&session).await? {
            session.insert(NEW_CODES, app.new_recovery_codes(&user)?).await?;
            session::end_others(&app, &session, &user).await?;
        }
        Ok::<_, BoxError>(Redirect::to("/codes").into_response())
    };
    replace.await.unwrap_or_else(|error| session::server_error(&*error))
}
