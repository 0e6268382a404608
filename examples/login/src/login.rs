//! The first factor: the password, alone or in one form with a code.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tower::ServiceExt;
use tower_sessions::Session;
use tower_toopher::{Attempt, BoxError, DenyReason, Factor, Otp, UserId, Verdict};

use super::app::App;
use super::pages::{self, LoginForm};
use super::step::Step;
use super::users::Users;
use super::visit::{PendingLogin, Stage, Visit, now};
use super::{remember, session};

/// The time within which the second factor must follow the password.
const LOGIN_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Redirects to the page of the login's current stage.
pub(crate) fn redirect_to_stage(visit: &Visit) -> Response {
    let path = match visit.stage {
        Stage::LoggedOut => "/login",
        Stage::Pending(_) => Step::LogIn.path(),
        Stage::LoggedIn(_) => "/account",
    };
    Redirect::to(path).into_response()
}

pub(crate) async fn password_page(visit: Visit) -> Response {
    if visit.logged_in().is_some() {
        return redirect_to_stage(&visit);
    }
    pages::password(&visit, &LoginForm::default(), "")
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    username: String,
    password: String,
    #[serde(default)]
    otp: String,
    remember: Option<String>,
}

impl Credentials {
    /// What the form contains again after an error. Never the password.
    fn form(&self) -> LoginForm {
        // Longer than any name.
        let name = if self.username.len() > 100 { "" } else { self.username.as_str() };
        LoginForm { username: name.to_owned(), remember: self.remember.is_some() }
    }
}

pub(crate) async fn password(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    let form = credentials.form();
    let user = match Users::parse_name(&credentials.username) {
        Some(user) if app.users.has_password(&user, credentials.password).await => user,
        _ => {
            let page = pages::password(&visit, &form, "This name and password do not belong together.");
            return (StatusCode::FORBIDDEN, page).into_response();
        }
    };
    let Some(epoch) = app.users.factors(&user, |factors| factors.epoch()) else {
        return Redirect::to("/login").into_response();
    };
    // If the API fails, the shorter time limit applies.
    let is_enrolling = app.factors(&user).await.is_ok_and(|factors| factors.is_none());
    let lifetime = if is_enrolling { app.enrollment_lifetime } else { LOGIN_LIFETIME };
    let login = PendingLogin {
        user: user.as_str().into(),
        approval_session: String::new(),
        until: now().saturating_add(lifetime.as_secs()),
        epoch,
        remember: form.remember,
    };
    match session::begin_login(&session, &visit, &user, login).await {
        Ok(()) if remember::has_cookie(&headers) => Redirect::to(remember::PATH).into_response(),
        Ok(()) => Redirect::to(Step::LogIn.path()).into_response(),
        Err(error) => session::server_error(&*error),
    }
}

/// The first place for a code: the login page.
pub(crate) async fn single_form_page(visit: Visit) -> Response {
    if visit.logged_in().is_some() {
        return redirect_to_stage(&visit);
    }
    pages::single_form(&visit, &LoginForm::default(), "")
}

/// Verifies the password first and the code second, through the verifier. In the other order, any client could lock any
/// account with wrong codes. The response does not show which of the values is wrong, except that too many wrong codes
/// are reported to a client with the right password.
pub(crate) async fn single_form(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    let form = credentials.form();
    let wrong = || wrong_single_form(&visit, &form);
    let Some(user) = Users::parse_name(&credentials.username) else { return wrong() };
    if !app.users.has_password(&user, credentials.password).await {
        return wrong();
    }
    let Ok(otp) = credentials.otp.parse::<Otp>() else { return wrong() };
    let attempt = Attempt::new(user.clone(), Step::LogIn.action()).with_otp(otp);
    let retry_after = match app.verifier.clone().oneshot(attempt).await {
        Ok(Verdict::Granted(factor)) => {
            let logged_in = log_in(&app, &session, &headers, &user, factor, form.remember).await;
            return logged_in.unwrap_or_else(|error| session::server_error(&*error));
        }
        Ok(Verdict::Denied(DenyReason::Throttled { retry_after })) => Some(retry_after),
        Ok(Verdict::Denied(DenyReason::LockedOut)) => None,
        Ok(_) => return wrong(),
        Err(error) => return session::server_error(&*error),
    };
    let page = pages::single_form(&visit, &form, &pages::too_many_failures(retry_after));
    (StatusCode::TOO_MANY_REQUESTS, page).into_response()
}

async fn log_in(
    app: &App,
    session: &Session,
    headers: &HeaderMap,
    user: &UserId,
    factor: Factor,
    remember: bool,
) -> Result<Response, BoxError> {
    let epoch = app.users.factors(user, |factors| factors.epoch()).unwrap_or_default();
    session::log_in(session, user, epoch, factor, Some(now())).await?;
    let mut response = Redirect::to("/account").into_response();
    if remember && let Some(cookie) = remember::remember(app, headers, user, factor)? {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The same response whether name, password or code is wrong.
fn wrong_single_form(visit: &Visit, form: &LoginForm) -> Response {
    let message = "This name, password and code do not belong together. Each code works once: wait for the next one, \
                   or take another recovery code.";
    (StatusCode::FORBIDDEN, pages::single_form(visit, form, message)).into_response()
}
