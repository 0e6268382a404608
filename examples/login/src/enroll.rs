//! Enrollment of a second factor: an authenticator app, or a phone for approvals ([`phone`](super::phone)).
//!
//! A user without a second factor may enroll with the password alone; any other user must be logged in, and must have
//! shown a factor a moment ago. Once an enrollment is complete, no other one that was begun before may be completed:
//! otherwise a thief who has the password before its owner enrolls could keep access.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::totp::{Confirmation, Enrollment, Secret, Totp};
use tower_toopher::{BoxError, DenyReason, Otp, UserId};

use super::app::{App, SITE};
use super::may_enroll::may_enroll;
use super::table::MAX_FACTORS;
use super::visit::Visit;
use super::{codes, pages, session};

const BEGUN: &str = "authenticator";

/// An enrollment that is not confirmed. It belongs to the session and not to the account: another person who has the
/// password must not see the secret that this user scans, and vice versa.
#[derive(Serialize, Deserialize)]
struct Begun {
    secret: String,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/enroll", get(choose))
        .route("/enroll/app", get(show_app).post(begin_app))
        .route("/enroll/confirm", post(confirm_app))
}

async fn choose(State(app): State<App>, visit: Visit) -> Response {
    match may_enroll(&app, &visit).await {
        Ok(_) => pages::choose_factor(&visit, app.api.is_some()),
        Err(page) => page,
    }
}

async fn begin_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let user = match may_enroll(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    if app.users.factors(&user, |factors| factors.authenticators().len()) >= Some(MAX_FACTORS) {
        return pages::too_many_factors();
    }
    let begin = async {
        let begun = Begun { secret: Secret::generate()?.to_base32().to_string() };
        session.insert(BEGUN, begun).await?;
        Ok::<_, BoxError>(())
    };
    match begin.await {
        Ok(()) => Redirect::to("/enroll/app").into_response(),
        Err(error) => session::server_error(&*error),
    }
}

/// The enrollment that this session has begun.
async fn begun(app: &App, session: &Session, user: &UserId) -> Result<Option<Enrollment>, BoxError> {
    let Some(Begun { secret }) = session.get(BEGUN).await? else { return Ok(None) };
    let totp = Totp::new(Secret::from_base32(&secret)?).digits(app.digits);
    Ok(Some(Enrollment::with_totp(SITE, user.as_str(), totp)?))
}

async fn show_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let user = match may_enroll(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    match begun(&app, &session, &user).await {
        Ok(Some(enrollment)) => pages::app(&visit, &enrollment, "", ""),
        Ok(None) => Redirect::to("/enroll").into_response(),
        Err(error) => session::server_error(&*error),
    }
}

#[derive(Deserialize)]
struct Confirm {
    code: String,
    #[serde(default)]
    name: String,
}

/// The first code. It confirms that the app has the secret, and does not log the user in.
async fn confirm_app(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<Confirm>) -> Response {
    let _guard = app.changes.lock().await;
    let confirm = async {
        if !session::is_current(&app, &session).await? {
            return Ok(Redirect::to("/login").into_response());
        }
        // The second of two clicks.
        if codes::are_new(&session).await? {
            return Ok(Redirect::to("/codes").into_response());
        }
        let user = match may_enroll(&app, &visit).await {
            Ok(user) => user,
            Err(page) => return Ok(page),
        };
        let Some(enrollment) = begun(&app, &session, &user).await? else {
            return Ok(Redirect::to(if visit.logged_in().is_some() { "/account" } else { "/enroll" }).into_response());
        };
        let wrong = |problem: &str| {
            (StatusCode::FORBIDDEN, pages::app(&visit, &enrollment, &form.name, problem)).into_response()
        };
        let Ok(otp) = form.code.parse::<Otp>() else {
            let digits = app.digits.get();
            return Ok(wrong(&format!("This is not a code: the app shows {digits} digits.")));
        };
        let pairing = match app.totp.confirm(&user, &enrollment.pairing(), &otp).await? {
            Confirmation::Confirmed(pairing) => pairing,
            Confirmation::Denied(DenyReason::Throttled { retry_after }) => {
                return Ok(wrong(&pages::too_many_failures(Some(retry_after))));
            }
            Confirmation::Denied(DenyReason::LockedOut) => return Ok(wrong(&pages::too_many_failures(None))),
            _ => return Ok(wrong("This code was not right. Is the clock of your phone right? Try the next one.")),
        };
        if visit.logged_in().is_none() {
            app.end_pairings(&user, |_| true).await?;
        }
        app.users.factors(&user, |factors| factors.add_authenticator(&form.name, pairing));
        session.remove_value(BEGUN).await?;
        codes::after_enrollment(&app, &session, &visit, &user).await
    };
    confirm.await.unwrap_or_else(|error: BoxError| session::server_error(&*error))
}
