//! The login: the password, and the three places for the second factor.

use axum::Form;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tower::ServiceExt;
use tower_sessions::Session;
use tower_toopher::verify::ApprovalToken;
use tower_toopher::{Attempt, DenyReason, Otp, Rejection, SecondFactor, Verdict};

use super::app::{ACTION, App, Factors};
use super::pages::{self, Phone};
use super::session;
use super::users::Users;
use super::visit::{Stage, Visit};

/// Redirects to the page of the login's current stage.
fn redirect_to_stage(visit: &Visit) -> Response {
    let path = match visit.stage {
        Stage::LoggedOut => "/login",
        Stage::Pending(_) => "/second",
        Stage::LoggedIn { .. } => "/account",
    };
    Redirect::to(path).into_response()
}

pub(crate) async fn password_page(visit: Visit) -> Response {
    if visit.logged_in().is_some() { redirect_to_stage(&visit) } else { pages::password(&visit, "") }
}

#[derive(Deserialize)]
pub(crate) struct Password {
    username: String,
    password: String,
}

/// The first factor.
pub(crate) async fn password(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    Form(form): Form<Password>,
) -> Response {
    let user = Users::parse_name(&form.username);
    match user {
        Some(user) if app.users.has_password(&user, form.password).await => {
            match session::begin_login(&session, &visit, &user).await {
                Ok(()) => Redirect::to("/second").into_response(),
                Err(error) => session::server_error(&*error),
            }
        }
        _ => (StatusCode::FORBIDDEN, pages::password(&visit, "This name and password do not belong together."))
            .into_response(),
    }
}

/// The first place for an OTP: the login page.
pub(crate) async fn single_form_page(visit: Visit) -> Response {
    if visit.logged_in().is_some() { redirect_to_stage(&visit) } else { pages::single_form(&visit, "") }
}

#[derive(Deserialize)]
pub(crate) struct SingleForm {
    username: String,
    password: String,
    #[serde(default)]
    otp: String,
}

/// Verifies the password first and the code second, through the verifier. In the other order, any client could lock any
/// account with wrong codes. The response does not show which of the values is wrong, except that too many wrong codes
/// are reported to a client with the right password.
pub(crate) async fn single_form(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    Form(form): Form<SingleForm>,
) -> Response {
    let Some(user) = Users::parse_name(&form.username) else { return wrong_single_form(&visit) };
    if !app.users.has_password(&user, form.password).await {
        return wrong_single_form(&visit);
    }
    let Ok(otp) = form.otp.parse::<Otp>() else { return wrong_single_form(&visit) };
    let retry_after = match app.verifier.oneshot(Attempt::new(user.clone(), ACTION).with_otp(otp)).await {
        Ok(Verdict::Granted(factor)) => {
            return match session::log_in(&session, &user, factor).await {
                Ok(()) => Redirect::to("/account").into_response(),
                Err(error) => session::server_error(&*error),
            };
        }
        Ok(Verdict::Denied(DenyReason::Throttled { retry_after })) => Some(retry_after),
        Ok(Verdict::Denied(DenyReason::LockedOut)) => None,
        Ok(_) => return wrong_single_form(&visit),
        Err(error) => return session::server_error(&*error),
    };
    let page = pages::single_form(&visit, &pages::too_many_failures(retry_after));
    (StatusCode::TOO_MANY_REQUESTS, page).into_response()
}

/// The same response whether name, password or code is wrong.
fn wrong_single_form(visit: &Visit) -> Response {
    let message = "This name, password and code do not belong together. Each code works once: wait for the next one.";
    (StatusCode::FORBIDDEN, pages::single_form(visit, message)).into_response()
}

/// Only a login whose password was verified reaches the layer.
pub(crate) async fn require_password(visit: Visit, request: Request, next: Next) -> Response {
    if visit.pending_login().is_some() { next.run(request).await } else { redirect_to_stage(&visit) }
}

/// The second place: a dialog that accepts a code at any time, and requests an approval if the user has a phone.
/// Loading the page requests nothing; its form does, or its script, which submits that form.
pub(crate) async fn second_page(State(app): State<App>, visit: Visit) -> Response {
    let Some((_, user)) = visit.pending_login() else { return redirect_to_stage(&visit) };
    let phone = match app.factors(&user).await {
        Ok(Factors { authenticator: false, phone: false }) => return Redirect::to("/enroll").into_response(),
        Ok(Factors { phone: false, .. }) => Phone::Unavailable,
        // After an error the layer decides.
        Ok(_) | Err(_) => Phone::NotRequested { automatic: true },
    };
    pages::second(&visit, &phone, Some(app.time_limit), "")
}

/// The same page while an approval is pending.
pub(crate) async fn wait_page(State(app): State<App>, visit: Visit, Path(token): Path<String>) -> Response {
    if visit.pending_login().is_none() {
        return redirect_to_stage(&visit);
    }
    let Ok(token) = ApprovalToken::new(&token) else { return Redirect::to("/second/late").into_response() };
    let phone = match app.approval_status(&visit, &token).await {
        None => Phone::Pending { token, number: None },
        Some(approval) => match approval.status.as_str() {
            "pending" => Phone::Pending { token, number: approval.number },
            "granted" => Phone::Granted(token),
            "denied" => Phone::Denied,
            _ => return Redirect::to("/second/late").into_response(),
        },
    };
    pages::second(&visit, &phone, None, "")
}

/// The status for browsers without scripts: a frame that reloads, so that a code in the page around it is kept.
pub(crate) async fn wait_frame(State(app): State<App>, visit: Visit, Path(token): Path<String>) -> Response {
    let Ok(token) = ApprovalToken::new(&token) else { return pages::not_found().await };
    pages::wait_frame(&visit, &token, app.approval_status(&visit, &token).await.as_ref())
}

/// The layer's rejections of the second step: JSON for the script, and a page for browsers.
pub(crate) fn rejected(rejection: &Rejection, request: &Parts, with_phone: bool) -> Response {
    let Some(visit) = request.extensions.get::<Visit>() else { return rejection.response(Body::empty()) };
    let pending = rejection.pending();
    let token = pending.and_then(|pending| pending.token());
    if accepts_json(&request.headers) {
        let body = serde_json::json!({
            "code": rejection.code(),
            "message": explain(rejection),
            "approval_token": token.map(ApprovalToken::as_str),
            "status_url": pending.and_then(|pending| pending.status_url()),
            "number": pending.and_then(|pending| pending.number()).map(|number| format!("{number:02}")),
        });
        let mut response = rejection.response(Body::from(body.to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    // A page of its own: reloading it sends no second request to the phone.
    if let Some(token) = token {
        return Redirect::to(&format!("/second/wait/{}", token.as_str())).into_response();
    }
    let page = match rejection.code() {
        "enrollment_required" => return Redirect::to("/enroll").into_response(),
        "approval_invalid" => pages::late(visit, with_phone),
        "denied" => pages::second(visit, &Phone::Denied, None, ""),
        "otp_required" => pages::second(visit, &Phone::Unavailable, None, &explain(rejection)),
        _ => {
            let phone = match visit.approval_token.clone() {
                Some(token) => Phone::Pending { token, number: None },
                None if with_phone => Phone::NotRequested { automatic: false },
                None => Phone::Unavailable,
            };
            pages::second(visit, &phone, None, &explain(rejection))
        }
    };
    keep_head(rejection, page)
}

fn accepts_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json")
}

/// A page with the status and the headers of a rejection: `Retry-After`, `WWW-Authenticate`.
fn keep_head(rejection: &Rejection, page: Response) -> Response {
    let (head, body) = page.into_parts();
    let mut response = rejection.response(body);
    response.headers_mut().extend(head.headers);
    response
}

/// The reason, and what to do next. It uses the public code: `kind()` would show whether a code was wrong or used.
fn explain(rejection: &Rejection) -> String {
    let wait = rejection.retry_after().map(pages::format_duration);
    match (rejection.code(), wait) {
        ("pending", _) => "We sent a request to your phone.".into(),
        ("otp_required", Some(wait)) => {
            format!("Another login of yours is waiting for your phone. Type a code, or try again in {wait}.")
        }
        ("otp_required", None) => "We cannot send a request to your phone now. Type a code instead.".into(),
        ("otp_invalid", _) => {
            "This code was not accepted. Each code works once: wait for the next one, and type that.".into()
        }
        ("denied", _) => "Denied on your phone.".into(),
        ("too_many_failures", _) => pages::too_many_failures(rejection.retry_after()),
        ("unavailable", _) => {
            "We cannot check the second factor at the moment. Try again in a while, with a new code.".into()
        }
        _ => format!("{}.", rejection.title()),
    }
}

/// The third place: the time limit has passed.
pub(crate) async fn late_page(State(app): State<App>, visit: Visit) -> Response {
    if visit.pending_login().is_none() { redirect_to_stage(&visit) } else { pages::late(&visit, app.api.is_some()) }
}

/// Inside the layer: the second factor was verified, for this request and this user.
pub(crate) async fn second_factor(session: Session, visit: Visit, factor: SecondFactor) -> Response {
    let logged_in = match visit.pending_login() {
        Some((login, user)) if user == *factor.user() => {
            session::complete_login(&session, login, factor.factor()).await
        }
        _ => Ok(false),
    };
    match logged_in {
        Ok(true) => Redirect::to("/account").into_response(),
        // Another tab has logged out, or logged in another user.
        Ok(false) => Redirect::to("/login").into_response(),
        Err(error) => session::server_error(&*error),
    }
}

/// The protected page.
pub(crate) async fn account(visit: Visit) -> Response {
    match &visit.stage {
        Stage::LoggedIn { user, by } => pages::account(&visit, user, by),
        _ => redirect_to_stage(&visit),
    }
}
