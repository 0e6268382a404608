//! The way in: the password, and the three places for the second factor.

use axum::Form;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tower_sessions::Session;
use tower_toopher::{Challenge, Rejection, SecondFactor};

use super::pages::{self, Phone};
use super::session::{self, Stage, Visit};
use super::users::Users;
use super::{App, Factors};

/// Where somebody belongs who is not to be on this page.
fn elsewhere(visit: &Visit) -> Response {
    let place = match visit.stage {
        Stage::Stranger => "/login",
        Stage::Half(_) => "/second",
        Stage::Full { .. } => "/account",
    };
    Redirect::to(place).into_response()
}

pub(crate) async fn password_page(visit: Visit) -> Response {
    if visit.full().is_some() { elsewhere(&visit) } else { pages::password(&visit, "") }
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
    let user = Users::named(&form.username);
    match user {
        Some(user) if app.users.has_password(&user, form.password).await => {
            match session::begin(&session, &visit, &user).await {
                Ok(()) => Redirect::to("/second").into_response(),
                Err(error) => session::trouble(&*error),
            }
        }
        _ => (StatusCode::FORBIDDEN, pages::password(&visit, "This name and password do not belong together."))
            .into_response(),
    }
}

/// The first place for an OTP: the login page itself.
pub(crate) async fn all_at_once_page(visit: Visit) -> Response {
    if visit.full().is_some() { elsewhere(&visit) } else { pages::all_at_once(&visit, "") }
}

#[derive(Deserialize)]
pub(crate) struct AllAtOnce {
    password: String,
}

/// Behind the gate, so the OTP has been verified, and is spent: the gate cannot know passwords, and must count each guess
/// before anything is said. Then the password must be that of the *same* account. Whoever has the one without the other
/// is told no more than who has neither; only somebody who holds a right code can find out that it was right, by the
/// time that the password takes, and has lost it by then.
pub(crate) async fn all_at_once(
    State(app): State<App>,
    session: Session,
    visit: Visit,
    factor: SecondFactor,
    Form(form): Form<AllAtOnce>,
) -> Response {
    let user = factor.user();
    if !app.users.has_password(user, form.password).await {
        return wrong_at_once(&visit);
    }
    match session::log_in(&session, user, factor.factor()).await {
        Ok(()) => Redirect::to("/account").into_response(),
        Err(error) => session::trouble(&*error),
    }
}

/// Everything that can be wrong about name, password and code looks like this.
fn wrong_at_once(visit: &Visit) -> Response {
    let message = "This name, password and code do not belong together. Each code works once: wait for the next one.";
    (StatusCode::FORBIDDEN, pages::all_at_once(visit, message)).into_response()
}

/// How the gate refuses on the page where all comes at once.
pub(crate) fn all_at_once_refused(rejection: &Rejection, request: &Parts) -> Response {
    let Some(visit) = request.extensions.get::<Visit>() else { return rejection.response(Body::empty()) };
    match rejection.status() {
        // Whatever the true reason: a code that is wrong, used or missing, a name that is nobody's.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => wrong_at_once(visit),
        _ => keep_head(rejection, pages::all_at_once(visit, &explained(rejection))),
    }
}

/// Only those who have shown their password, and only their password, come to the gate.
pub(crate) async fn half_way(visit: Visit, request: Request, next: Next) -> Response {
    if visit.half().is_some() { next.run(request).await } else { elsewhere(&visit) }
}

/// The second place: a dialog that takes a code at any time, and asks the phone where there is one. A look at it asks
/// nobody: its form does, or its script, which sends that form.
pub(crate) async fn second_page(State(app): State<App>, visit: Visit) -> Response {
    let Some((_, user)) = visit.half() else { return elsewhere(&visit) };
    let phone = match app.factors(&user).await {
        Ok(Factors { authenticator: false, phone: false }) => return Redirect::to("/enrol").into_response(),
        Ok(Factors { phone: false, .. }) => Phone::None,
        // Where that cannot be told, the gate will know.
        Ok(_) | Err(_) => Phone::NotAsked { at_once: true },
    };
    pages::second(&visit, &phone, Some(app.wait), "")
}

/// The same, while the phone is waited for.
pub(crate) async fn wait_page(State(app): State<App>, visit: Visit, Path(challenge): Path<String>) -> Response {
    if visit.half().is_none() {
        return elsewhere(&visit);
    }
    let challenge = Challenge::new(challenge.as_bytes());
    match app.standing(&visit, &challenge).await {
        None => pages::second(&visit, &Phone::Waiting { challenge, number: None }, None, ""),
        Some(standing) => match standing.status.as_str() {
            "pending" => pages::second(&visit, &Phone::Waiting { challenge, number: standing.number }, None, ""),
            "granted" => pages::second(&visit, &Phone::Allowed(challenge), None, ""),
            "denied" => pages::second(&visit, &Phone::Denied, None, ""),
            _ => Redirect::to("/second/late").into_response(),
        },
    }
}

/// How it stands, for browsers without a script: a frame that loads itself again, so that the page around it, and the code
/// that is being typed there, stay as they are.
pub(crate) async fn wait_frame(State(app): State<App>, visit: Visit, Path(challenge): Path<String>) -> Response {
    let challenge = Challenge::new(challenge.as_bytes());
    pages::wait_frame(&visit, &challenge, app.standing(&visit, &challenge).await.as_ref())
}

/// How the gate refuses at the second step: to the script in JSON, and to everybody else as a page.
pub(crate) fn refused(rejection: &Rejection, request: &Parts, phones: bool) -> Response {
    let Some(visit) = request.extensions.get::<Visit>() else { return rejection.response(Body::empty()) };
    let pending = rejection.pending();
    let challenge = pending.and_then(|pending| pending.challenge());
    if wants_json(&request.headers) {
        let told = serde_json::json!({
            "code": rejection.code(),
            "message": explained(rejection),
            "challenge": challenge.map(Challenge::as_str),
            "status_url": pending.and_then(|pending| pending.status_url()),
            "number": pending.and_then(|pending| pending.number()).map(|number| format!("{number:02}")),
        });
        let mut response = rejection.response(Body::from(told.to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    // A page of its own, so that loading it again asks nobody again.
    if let Some(challenge) = challenge {
        return Redirect::to(&format!("/second/wait/{}", challenge.as_str())).into_response();
    }
    let waiting = visit.challenge.clone().map(|challenge| Phone::Waiting { challenge, number: None });
    let page = match rejection.code() {
        "enrolment_required" => return Redirect::to("/enrol").into_response(),
        "challenge_invalid" => pages::late(visit, phones),
        "denied" => pages::second(visit, &Phone::Denied, None, ""),
        "otp_required" => pages::second(visit, &Phone::None, None, &explained(rejection)),
        _ => {
            let phone = waiting.unwrap_or(if phones { Phone::NotAsked { at_once: false } } else { Phone::None });
            pages::second(visit, &phone, None, &explained(rejection))
        }
    };
    keep_head(rejection, page)
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json")
}

/// A page under the status and the headers of a rejection: `Retry-After`, `WWW-Authenticate`.
fn keep_head(rejection: &Rejection, page: Response) -> Response {
    let (head, body) = page.into_parts();
    let mut response = rejection.response(body);
    response.headers_mut().extend(head.headers);
    response
}

/// What happened, and what to do now. It goes by the outward code: the true kind would tell a wrong code from a used one.
fn explained(rejection: &Rejection) -> String {
    let wait = rejection.retry_after().map(pages::in_words);
    match (rejection.code(), wait) {
        ("pending", _) => "We asked your phone.".into(),
        ("otp_required", Some(wait)) => format!(
            "Another login of yours is waiting for your phone, for {wait} at the most. Type a code, or try again then."
        ),
        ("otp_required", None) => "Your phone cannot be asked now. Type a code instead.".into(),
        ("otp_invalid", _) => {
            "This code was not accepted. Each code works once: wait for the next one, and type that.".into()
        }
        ("denied", _) => "It was denied on your phone.".into(),
        ("too_many_failures", Some(wait)) => {
            format!("Too many codes were wrong. Try again in {wait}, with a new code.")
        }
        ("too_many_failures", None) => "Too many codes were wrong. An administrator has to unlock the account.".into(),
        ("unavailable", _) => {
            "We cannot check the second factor at the moment. Try again in a while, with a new code.".into()
        }
        _ => format!("{}.", rejection.title()),
    }
}

/// The third place: nobody answered in time.
pub(crate) async fn late_page(State(app): State<App>, visit: Visit) -> Response {
    if visit.half().is_none() { elsewhere(&visit) } else { pages::late(&visit, app.phones.is_some()) }
}

/// Behind the gate: the second factor has been shown, for this request and by this user.
pub(crate) async fn second_factor(session: Session, visit: Visit, factor: SecondFactor) -> Response {
    let done = match visit.half() {
        Some((half, user)) if user == *factor.user() => session::complete(&session, half, factor.factor()).await,
        _ => Ok(false),
    };
    match done {
        Ok(true) => Redirect::to("/account").into_response(),
        // Somebody else has logged in here since, or logged out.
        Ok(false) => Redirect::to("/login").into_response(),
        Err(error) => session::trouble(&*error),
    }
}

/// What all this guards.
pub(crate) async fn account(visit: Visit) -> Response {
    match &visit.stage {
        Stage::Full { user, by } => pages::account(&visit, user, by),
        _ => elsewhere(&visit),
    }
}
