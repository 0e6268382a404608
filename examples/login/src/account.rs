//! The protected page: the second factors of the user, the remembered browsers, and their removal.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use tower_sessions::Session;
use tower_toopher::client::PairingStatus;
use tower_toopher::{BoxError, UserId};

use super::app::App;
use super::login::redirect_to_stage;
use super::pages::{self, AccountPage, Item};
use super::visit::Visit;
use super::{codes, remember, session};

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/account", get(account)).route("/browsers/forget", post(forget))
}

/// The routes for the layer that requires a fresh factor.
pub(crate) fn change_routes() -> Router<App> {
    Router::new().route("/factors/{kind}/{id}/remove", get(ask).post(remove))
}

/// The user's second factors, or `None` for phones if the API fails.
async fn items(app: &App, user: &UserId) -> (Vec<Item>, Option<Vec<Item>>) {
    let phones = app.pairings(user).await.ok();
    let phones = phones.map(|all| all.into_iter().filter(PairingStatus::is_active).collect::<Vec<_>>());
    let read = |factors: &mut super::table::SecondFactors| {
        let app_item = |app: &super::table::Authenticator| Item {
            path: format!("/factors/app/{}/remove", app.id),
            name: app.name.clone(),
            since: Some(app.since),
        };
        let phone_item = |phone: &PairingStatus| Item {
            path: format!("/factors/phone/{}/remove", phone.id()),
            name: factors.phone_name(phone.id()).to_owned(),
            since: None,
        };
        let phones = phones.as_ref().map(|phones| phones.iter().map(phone_item).collect());
        (factors.authenticators().iter().map(app_item).collect(), phones)
    };
    app.users.factors(user, read).unwrap_or_default()
}

async fn account(State(app): State<App>, session: Session, visit: Visit, headers: HeaderMap) -> Response {
    let Some((login, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    match codes::are_new(&session).await {
        Ok(false) => {}
        // The user has not saved them.
        Ok(true) => return Redirect::to("/codes").into_response(),
        Err(error) => return session::server_error(&*error),
    }
    let (apps, phones) = items(&app, &user).await;
    let own = app.users.factors(&user, |factors| (factors.recovery_codes(), factors.browsers().to_vec()));
    let (recovery_codes, browsers) = own.unwrap_or_default();
    let this_browser = remember::browser_id(&headers);
    AccountPage { visit: &visit, login, apps, phones, recovery_codes, browsers, this_browser }.render()
}

/// The item with this path, and whether it is the only one.
async fn find(app: &App, user: &UserId, path: &str) -> Option<(Item, bool)> {
    let (mut all, phones) = items(app, user).await;
    all.extend(phones?);
    let is_last = all.len() == 1;
    all.into_iter().find(|item| item.path == path).map(|item| (item, is_last))
}

async fn ask(State(app): State<App>, visit: Visit, Path((kind, id)): Path<(String, String)>) -> Response {
    let Some((_, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    match find(&app, &user, &format!("/factors/{kind}/{id}/remove")).await {
        Some((item, is_last)) => pages::remove_factor(&visit, &item, is_last),
        None => Redirect::to("/account").into_response(),
    }
}

async fn remove(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
) -> Response {
    let _guard = app.changes.lock().await;
    let Some((_, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    let remove = async {
        if !session::is_current(&app, &session).await? {
            return Ok(());
        }
        match find(&app, &user, &format!("/factors/{kind}/{id}/remove")).await {
            None => return Ok(()),
            // Without any, the password alone would be enough to enroll one.
            Some((_, true)) => return Ok(()),
            Some((_, false)) if kind == "phone" => app.end_pairings(&user, |pairing| pairing.id() == id).await?,
            Some((_, false)) => {
                app.users.factors(&user, |factors| factors.remove_authenticator(&id));
            }
        }
        session::end_others(&app, &session, &user).await
    };
    match remove.await {
        Ok(()) => Redirect::to("/account").into_response(),
        Err(error) => {
            let error: BoxError = error;
            session::server_error(&*error)
        }
    }
}

#[derive(Deserialize)]
struct Forget {
    /// Without it, all browsers.
    browser: Option<u64>,
}

/// Forgetting reduces what an attacker could use, so it requires no fresh factor.
async fn forget(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<Forget>) -> Response {
    let _guard = app.changes.lock().await;
    let Some((_, user)) = visit.logged_in() else { return redirect_to_stage(&visit) };
    let forget = async {
        match form.browser {
            Some(number) => {
                app.users.factors(&user, |factors| factors.forget_browser(number));
            }
            // A session that another change has ended meanwhile stays so.
            None if session::is_current(&app, &session).await? => session::end_others(&app, &session, &user).await?,
            None => {}
        }
        Ok::<_, BoxError>(())
    };
    match forget.await {
        Ok(()) => Redirect::to("/account").into_response(),
        Err(error) => session::server_error(&*error),
    }
}
