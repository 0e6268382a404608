//! Enrollment of a phone for approvals: a pairing of the Toopher API, by a phrase or by a QR code.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router};
use maud::html;
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::client::{ApiErrorKind, ClientError, ClientErrorKind, PairingStatus};
use tower_toopher::{BoxError, UserId};

use super::app::{Api, App};
use super::may_enroll::{may_enroll, next_page};
use super::visit::Visit;
use super::{pages, session};

const PAIRING: &str = "pairing";

/// A pairing that this session has begun.
#[derive(Serialize, Deserialize)]
struct BegunPairing {
    id: String,
    qr: bool,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/enroll/phone", get(phone_page).post(pair_by_phrase))
        .route("/enroll/phone/qr", get(qr_image).post(pair_by_qr))
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
        Ok(_) if app.api.is_some() => phone_forms(&visit, ""),
        Ok(_) => pages::not_found().await,
        Err(page) => page,
    }
}

fn phone_forms(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Set up your phone" }
        (pages::alert(problem))
        form method="post" action="/enroll/phone" {
            (pages::csrf(visit))
            label {
                "Words that your phone shows"
                input name="phrase" autocomplete="off" autocapitalize="none" required autofocus;
            }
            button { "Pair" }
        }
        form method="post" action="/enroll/phone/qr" {
            (pages::csrf(visit))
            button .second { "Show a QR code for the phone instead" }
        }
        p { a href="/enroll" { "Back" } }
    };
    pages::page("Set up your phone", None, &content)
}

#[derive(Deserialize)]
struct Phrase {
    phrase: String,
}

async fn pair_by_phrase(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<Phrase>) -> Response {
    begin_pairing(&app, &session, &visit, Some(form.phrase.trim())).await
}

async fn pair_by_qr(State(app): State<App>, session: Session, visit: Visit) -> Response {
    begin_pairing(&app, &session, &visit, None).await
}

async fn begin_pairing(app: &App, session: &Session, visit: &Visit, phrase: Option<&str>) -> Response {
    let _guard = app.enrollment.lock().await;
    let user = match may_enroll(app, visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    let Some(api) = &app.api else { return pages::not_found().await };
    let too_many = || {
        let problem = "Too many attempts. Try again later, or use a QR code.";
        (StatusCode::TOO_MANY_REQUESTS, phone_forms(visit, problem)).into_response()
    };
    if phrase.is_some() && !app.phrases.count(&user) {
        return too_many();
    }
    let id = match app.pair(api, &user, phrase).await {
        Ok(pairing) => pairing.id().to_owned(),
        Err(error) if error.kind() == ClientErrorKind::RateLimited => return too_many(),
        Err(error) if matches!(error.kind(), ClientErrorKind::Api(kind) if kind != ApiErrorKind::Credentials) => {
            let problem = "No phone shows these words at the moment. Let it show new ones, and type those.";
            return (StatusCode::FORBIDDEN, phone_forms(visit, problem)).into_response();
        }
        Err(error) => return session::server_error(&error),
    };
    match session.insert(PAIRING, BegunPairing { id, qr: phrase.is_none() }).await {
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
        let content = html! {
            h1 { "Your phone is set up" }
            p role="status" { "From now on we send it a request when you log in." }
            p { a .button href=(next_page(&visit)) { "Continue" } }
        };
        return pages::page("Your phone is set up", None, &content);
    }
    if !status.is_pending() {
        return phone_forms(&visit, "The phone was not paired.");
    }
    let content = html! {
        h1 { "Confirm on your phone" }
        @if begun.qr {
            p { "Scan this with your phone, and allow the pairing there." }
            p { img .qr src="/enroll/phone/qr" alt="QR code for your phone"; }
        }
        div role="status" { p #message data-poll="/enroll/phone/state" { "Waiting for your phone \u{2026}" } }
        p { a href="/enroll/phone" { "Pair in another way" } }
    };
    pages::page("Confirm on your phone", Some((3, "/enroll/phone/wait")), &content)
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
