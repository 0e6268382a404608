//! Setting up a phone that can be asked: the pairing of the Toopher API, by words or by a QR code.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router};
use maud::html;
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::toopher::{ClientError, PairingStatus};
use tower_toopher::{BoxError, UserId};

use super::enrol::{may_enrol, onward};
use super::session::{self, Visit};
use super::{App, Phones, pages};

const PAIRING: &str = "pairing";

/// A phone in the making.
#[derive(Serialize, Deserialize)]
struct BegunPairing {
    id: String,
    qr: bool,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/enrol/phone", get(phone_page).post(pair_by_phrase))
        .route("/enrol/phone/qr", get(qr_image).post(pair_by_qr))
        .route("/enrol/phone/wait", get(wait_page))
        .route("/enrol/phone/state", get(state))
}

impl App {
    /// All pairings of a user with phones.
    pub(crate) async fn pairings(&self, user: &UserId) -> Result<Vec<PairingStatus>, ClientError> {
        let Some(phones) = &self.phones else { return Ok(Vec::new()) };
        let known = phones.find_user(user.as_str()).await?;
        match known.as_ref().and_then(|user| user.id()) {
            None => Ok(Vec::new()),
            Some(id) => phones.pairings_of_user(id).await,
        }
    }

    pub(crate) async fn end_pairings(
        &self,
        user: &UserId,
        which: impl Fn(&PairingStatus) -> bool,
    ) -> Result<(), ClientError> {
        let Some(phones) = &self.phones else { return Ok(()) };
        for pairing in self.pairings(user).await?.iter().filter(|pairing| !pairing.is_deactivated() && which(pairing)) {
            phones.deactivate_pairing(pairing.id()).await?;
        }
        Ok(())
    }

    /// Begins a pairing in place of all others that wait.
    async fn pair(&self, phones: &Phones, user: &UserId, phrase: Option<&str>) -> Result<PairingStatus, ClientError> {
        self.end_pairings(user, |pairing| !pairing.is_active()).await?;
        match phrase {
            Some(phrase) => phones.pair(phrase, user.as_str()).await,
            None => phones.pair_with_qr(user.as_str()).await,
        }
    }
}

async fn phone_page(State(app): State<App>, visit: Visit) -> Response {
    match may_enrol(&app, &visit).await {
        Ok(_) if app.phones.is_some() => phone_forms(&visit, ""),
        Ok(_) => pages::not_found().await,
        Err(page) => page,
    }
}

fn phone_forms(visit: &Visit, problem: &str) -> Response {
    let content = html! {
        h1 { "Set up your phone" }
        (pages::alert(problem))
        form method="post" action="/enrol/phone" {
            (pages::csrf(visit))
            label {
                "Words that your phone shows"
                input name="phrase" autocomplete="off" autocapitalize="none" required autofocus;
            }
            button { "Pair" }
        }
        form method="post" action="/enrol/phone/qr" {
            (pages::csrf(visit))
            button .second { "Show a QR code for the phone instead" }
        }
        p { a href="/enrol" { "Back" } }
    };
    pages::page("Set up your phone", None, &content)
}

#[derive(Deserialize)]
struct Words {
    phrase: String,
}

async fn pair_by_phrase(State(app): State<App>, session: Session, visit: Visit, Form(words): Form<Words>) -> Response {
    begin_pairing(&app, &session, &visit, Some(words.phrase.trim())).await
}

async fn pair_by_qr(State(app): State<App>, session: Session, visit: Visit) -> Response {
    begin_pairing(&app, &session, &visit, None).await
}

async fn begin_pairing(app: &App, session: &Session, visit: &Visit, phrase: Option<&str>) -> Response {
    let _one_at_a_time = app.enrolling.lock().await;
    let user = match may_enrol(app, visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    let Some(phones) = &app.phones else { return pages::not_found().await };
    let id = match app.pair(phones, &user, phrase).await {
        Ok(pairing) => pairing.id().to_owned(),
        Err(error) if error.is_api() && !error.is_credentials() && !error.is_server_error() => {
            let problem = "No phone shows these words at the moment. Let it show new ones, and type those.";
            return (StatusCode::FORBIDDEN, phone_forms(visit, problem)).into_response();
        }
        Err(error) => return session::trouble(&error),
    };
    match session.insert(PAIRING, BegunPairing { id, qr: phrase.is_none() }).await {
        Ok(()) => Redirect::to("/enrol/phone/wait").into_response(),
        Err(error) => session::trouble(&error),
    }
}

/// The pairing that this session has begun, and how it stands.
async fn begun_pairing(app: &App, session: &Session) -> Result<Option<(BegunPairing, PairingStatus)>, BoxError> {
    let (Some(begun), Some(phones)) = (session.get::<BegunPairing>(PAIRING).await?, &app.phones) else {
        return Ok(None);
    };
    let status = phones.pairing_status(&begun.id).await?;
    Ok(Some((begun, status)))
}

async fn wait_page(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let (begun, status) = match begun_pairing(&app, &session).await {
        Ok(Some(found)) => found,
        Ok(None) => return Redirect::to("/enrol").into_response(),
        Err(error) => return session::trouble(&*error),
    };
    if status.is_active() {
        let content = html! {
            h1 { "Your phone is set up" }
            p role="status" { "From now on we ask it when you log in." }
            p { a .button href=(onward(&visit)) { "Continue" } }
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
            p { img .qr src="/enrol/phone/qr" alt="QR code for your phone"; }
        }
        div role="status" { p #told data-poll="/enrol/phone/state" { "Waiting for your phone \u{2026}" } }
        p { a href="/enrol/phone" { "Another way" } }
    };
    pages::page("Confirm on your phone", Some((3, "/enrol/phone/wait")), &content)
}

/// For the script of the page that waits.
async fn state(State(app): State<App>, session: Session) -> Response {
    match begun_pairing(&app, &session).await {
        Ok(Some((_, status))) if status.is_pending() => "pending".into_response(),
        Ok(_) => "over".into_response(),
        Err(error) => session::trouble(&*error),
    }
}

async fn qr_image(State(app): State<App>, session: Session) -> Response {
    let image = async {
        let (Some(begun), Some(phones)) = (session.get::<BegunPairing>(PAIRING).await?, &app.phones) else {
            return Ok(pages::not_found().await);
        };
        let image = phones.qr_image(&begun.id).await?;
        Ok::<_, BoxError>(([(header::CONTENT_TYPE, "image/svg+xml")], image).into_response())
    };
    image.await.unwrap_or_else(|error| session::trouble(&*error))
}
