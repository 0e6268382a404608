//! Enrollment of a second factor: an authenticator app, or a phone for approvals ([`phone`](super::phone)).
//!
//! A user without a second factor may enroll with the password alone; any other user must be logged in. Once an
//! enrollment is complete, no other one that was begun before may be completed: otherwise a thief who has the password
//! before its owner enrolls could keep access.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::totp::{Confirmation, Enrollment, RecoveryCode, Secret, Totp};
use tower_toopher::{BoxError, DenyReason, Otp, UserId};

use super::app::{App, SITE};
use super::may_enroll::{may_enroll, next_page};
use super::visit::Visit;
use super::{pages, session};

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
    if let Err(page) = may_enroll(&app, &visit).await {
        return page;
    }
    let content = html! {
        h1 { "Set up a second factor" }
        p { "A password alone can be stolen. From now on, your phone confirms each login." }
        form method="post" action="/enroll/app" {
            (pages::csrf(&visit))
            button { "Use an authenticator app" }
        }
        @if app.api.is_some() {
            p { a .button .second href="/enroll/phone" { "Use approvals on your phone" } }
        }
        @if visit.logged_in().is_some() { p { a href="/account" { "Not now" } } }
    };
    pages::page("Set up a second factor", None, &content)
}

async fn begin_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    if let Err(page) = may_enroll(&app, &visit).await {
        return page;
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
async fn begun(session: &Session, user: &UserId) -> Result<Option<Enrollment>, BoxError> {
    let Some(Begun { secret }) = session.get(BEGUN).await? else { return Ok(None) };
    let totp = Totp::new(Secret::from_base32(&secret)?);
    Ok(Some(Enrollment::with_totp(SITE, user.as_str(), totp)?))
}

async fn show_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let user = match may_enroll(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    match begun(&session, &user).await {
        Ok(Some(enrollment)) => app_page(&visit, &enrollment, ""),
        Ok(None) => Redirect::to("/enroll").into_response(),
        Err(error) => session::server_error(&*error),
    }
}

fn app_page(visit: &Visit, enrollment: &Enrollment, problem: &str) -> Response {
    let secret = enrollment.secret().to_base32();
    let groups: Vec<&str> = secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let content = html! {
        h1 { "Set up your authenticator app" }
        ol {
            li {
                "Scan this with the app:"
                (pages::svg(&enrollment.qr_svg()))
                p { "On this device: " a href=(*enrollment.uri()) { "open the app" } ". Or type this secret:" }
                p { code #secret { (groups.join(" ")) } }
            }
            li {
                "Type the code that the app shows."
                (pages::alert(problem))
                form method="post" action="/enroll/confirm" {
                    (pages::csrf(visit))
                    (pages::code_input("code", "Code", true))
                    button { "Confirm" }
                }
            }
        }
    };
    pages::page("Set up your authenticator app", None, &content)
}

#[derive(Deserialize)]
struct Confirm {
    code: String,
}

/// The first code. It confirms that the app has the secret, and does not log the user in.
async fn confirm_app(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<Confirm>) -> Response {
    let _guard = app.enrollment.lock().await;
    let user = match may_enroll(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    let confirm = async {
        let Some(enrollment) = begun(&session, &user).await? else {
            return Ok(Redirect::to("/enroll").into_response());
        };
        let wrong = |problem: &str| (StatusCode::FORBIDDEN, app_page(&visit, &enrollment, problem)).into_response();
        let Ok(otp) = form.code.parse::<Otp>() else { return Ok(wrong("This is no code: it has six digits.")) };
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
        let codes = RecoveryCode::generate()?;
        app.users.set_authenticator(&user, pairing, codes.iter().map(|code| code.digest(&user)).collect());
        session.remove_value(BEGUN).await?;
        Ok::<_, BoxError>(pages::page("Your recovery codes", None, &recovery_codes(&visit, &codes)))
    };
    confirm.await.unwrap_or_else(|error| session::server_error(&*error))
}

/// The codes are shown only on this page: the site stores their digests.
fn recovery_codes(visit: &Visit, codes: &[RecoveryCode]) -> Markup {
    html! {
        h1 { "Your recovery codes" }
        p role="status" { "Your authenticator app is set up." }
        p {
            "Write these codes down, and keep them where your phone is not. Each of them works once in place of the \
             app. They are not shown again."
        }
        ul .recovery { @for code in codes { li { code { (code) } } } }
        p { a .button href=(next_page(visit)) { "I have written them down" } }
        @if visit.logged_in().is_none() {
            p .hint { "Then log in with the next code that your app shows: the one that you typed is used." }
        }
    }
}
