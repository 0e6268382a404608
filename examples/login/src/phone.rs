//! Enrollment of a phone for approvals: a pairing of the Toopher API, by a phrase or by a QR code.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::client::{ApiErrorKind, ClientError, ClientErrorKind, PairingStatus};
use tower_toopher::{BoxError, UserId};

use super::app::{Api, App};
use super::may_enroll::may_enroll;
use super::table::MAX_FACTORS;
use super::visit::Visit;
use super::{codes, pages, session};

const PAIRING: &str = "pairing";

/// A pairing that this session has begun.
#[derive(Serialize, Deserialize)]
struct BegunPairing {
    id: String,
    qr: bool,
    name: String,
}

/// The routes for the layer that requires a fresh factor.
pub(crate) fn change_routes() -> Router<App> {
    Router::new()
        .route("/enroll/phone", get(phone_page).post(pair_by_phrase))
        .route("/enroll/phone/qr", post(pair_by_qr))
}

/// The routes that wait for the pairing that was begun.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/enroll/phone/image", get(qr_image))
        .route("/enroll/phone/wait", get(wait_page))
        .route("/enroll/phone/state", get(state))
}

impl App {
    /// Begins a pairing that replaces all pending ones.
    async fn pair(&self, api: &Api, user: &UserId, phrase: Option<&str>) -> Result<PairingStatus, ClientError> {
        self.end_pairings(user, |pairing| !pairing.is_active()).await?;
        match phrase {
            Some(phrase) => api.pair(phrase, user.as_str()).await,
            None => api.pair_with_qr(user.as_str()).await,
        }
    }
}

async fn phone_page(State(app): State<App>, visit: Visit) -> Response {
    match may_enroll(&app, &visit).await {
        Ok(_) if app.api.is_some() => pages::phone(&visit, &app, "", ""),
        Ok(_) => pages::not_found().await,
        Err(page) => page,
    }
}

#[derive(Deserialize)]
struct PhoneForm {
    #[serde(default)]
    phrase: String,
    #[serde(default)]
    name: String,
}

async fn pair_by_phrase(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    Form(form): Form<PhoneForm>,
) -> Response {
    begin_pairing(&app, &session, &visit, Some(form.phrase.trim()), &form.name).await
}

async fn pair_by_qr(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<PhoneForm>) -> Response {
    begin_pairing(&app, &session, &visit, None, &form.name).await
}

async fn begin_pairing(app: &App, session: &Session, visit: &Visit, phrase: Option<&str>, name: &str) -> Response {
    let _guard = app.changes.lock().await;
    let user = match may_enroll(app, visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    let Some(api) = &app.api else { return pages::not_found().await };
    let rejected =
        |status: StatusCode, problem: &str| (status, pages::phone(visit, app, name, problem)).into_response();
    let too_many = || rejected(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Try again later, or use a QR code.");
    match app.pairings(&user).await {
        Ok(pairings) if pairings.iter().filter(|pairing| pairing.is_active()).count() >= MAX_FACTORS => {
            return pages::too_many_factors();
        }
        Ok(_) => {}
        Err(error) => return session::server_error(&error),
    }
    if phrase.is_some() && !app.phrases.count(&user) {
        return too_many();
    }
    let id = match app.pair(api, &user, phrase).await {
        Ok(pairing) => pairing.id().to_owned(),
        Err(error) if error.kind() == ClientErrorKind::RateLimited => return too_many(),
        Err(error) if matches!(error.kind(), ClientErrorKind::Api(kind) if kind != ApiErrorKind::Credentials) => {
            let problem = "No phone shows these words at the moment. Let it show new ones, and type those.";
            return rejected(StatusCode::FORBIDDEN, problem);
        }
        Err(error) => return session::server_error(&error),
    };
    let name = name.chars().take(super::table::MAX_NAME).collect();
    match session.insert(PAIRING, BegunPairing { id, qr: phrase.is_none(), name }).await {
        Ok(()) => Redirect::to("/enroll/phone/wait").into_response(),
        Err(error) => session::server_error(&error),
    }
}

/// The pairing that this session has begun, and its status.
async fn begun_pairing(app: &App, session: &Session) -> Result<Option<(BegunPairing, PairingStatus)>, BoxError> {
    let (Some(begun), Some(api)) = (session.get::<BegunPairing>(PAIRING).await?, &app.api) else {
        return Ok(None);
    };
    let status = api.pairing_status(&begun.id).await?;
    Ok(Some((begun, status)))
}

async fn wait_page(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let (begun, status) = match begun_pairing(&app, &session).await {
        Ok(Some(found)) => found,
        Ok(None) => return Redirect::to("/enroll").into_response(),
        Err(error) => return session::server_error(&*error),
    };
    if status.is_active() {
        return complete(&app, &session, &visit, &begun).await.unwrap_or_else(|error| session::server_error(&*error));
    }
    if !status.is_pending() {
        return pages::phone(
            &visit,
            &app,
            &begun.name,
            "The phone was not paired: it was denied there, or took too long.",
        );
    }
    pages::pairing(&visit, begun.qr, &begun.name)
}

/// The phone has confirmed the pairing.
async fn complete(app: &App, session: &Session, visit: &Visit, begun: &BegunPairing) -> Result<Response, BoxError> {
    let _guard = app.changes.lock().await;
    if !session::is_current(app, session).await? {
        return Ok(Redirect::to("/login").into_response());
    }
    let user = visit.logged_in().map(|(_, user)| user).or(visit.pending_login().map(|(_, user)| user));
    let Some(user) = user else { return Ok(Redirect::to("/login").into_response()) };
    // The page may have loaded twice.
    if session.remove::<BegunPairing>(PAIRING).await?.is_none() {
        return Ok(Redirect::to("/codes").into_response());
    }
    let paired: Vec<_> = app.pairings(&user).await?.iter().map(|pairing| pairing.id().to_owned()).collect();
    app.users.factors(&user, |factors| factors.name_phone(&begun.id, &begun.name, &paired));
    codes::after_enrollment(app, session, visit, &user).await
}

/// Polled by the script of the page that waits.
async fn state(State(app): State<App>, session: Session) -> Response {
    match begun_pairing(&app, &session).await {
        Ok(Some((_, status))) if status.is_pending() => "pending".into_response(),
        Ok(_) => "answered".into_response(),
        Err(error) => session::server_error(&*error),
    }
}

async fn qr_image(State(app): State<App>, session: Session) -> Response {
    let image = async {
        let (Some(begun), Some(api)) = (session.get::<BegunPairing>(PAIRING).await?, &app.api) else {
            return Ok(pages::not_found().await);
        };
        let image = api.qr_image(&begun.id).await?;
        Ok::<_, BoxError>(([(header::CONTENT_TYPE, "image/svg+xml")], image).into_response())
    };
    image.await.unwrap_or_else(|error| session::server_error(&*error))
}
