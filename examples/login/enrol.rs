//! Setting up a second factor: an authenticator app, or a phone that can be asked ([`phone`](super::phone)).
//!
//! Who has no second factor may do so with the password alone; everybody else must be logged in. Of all that is begun for
//! an account, nothing may be finished later beside the account's own factor: a thief who has the password before its
//! owner has enrolled would otherwise keep a way in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use tower_sessions::Session;
use tower_toopher::totp::{BackupCode, Confirmation, Enrolment, Secret, Totp};
use tower_toopher::{BoxError, DenyReason, Otp, UserId};

use super::session::{self, Visit};
use super::{App, Factors, SITE, pages};

const BEGUN: &str = "authenticator";

/// An authenticator in the making. It belongs to the session and not to the account: somebody else who has the password
/// must not learn the secret that this person is about to scan, nor the other way round.
#[derive(Serialize, Deserialize)]
struct Begun {
    secret: String,
    device: String,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/enrol", get(choose))
        .route("/enrol/app", get(show_app).post(begin_app))
        .route("/enrol/confirm", post(confirm_app))
        .merge(super::phone::routes())
}

/// Who may set up a second factor now; or the page that says why nobody may.
pub(crate) async fn may_enrol(app: &App, visit: &Visit) -> Result<UserId, Response> {
    if let Some(user) = visit.full() {
        return Ok(user);
    }
    let Some((_, user)) = visit.half() else { return Err(Redirect::to("/login").into_response()) };
    match app.factors(&user).await {
        Ok(Factors { authenticator: false, phone: false }) => Ok(user),
        Ok(_) => Err(already(visit)),
        Err(error) => Err(session::trouble(&error)),
    }
}

fn already(visit: &Visit) -> Response {
    let content = html! {
        h1 { "You have a second factor already" }
        p role="alert" { "To set up another one, log in with the one that you have. If it is lost, use a backup code, or ask an administrator." }
        p { a href=(onward(visit)) { "Go on" } }
    };
    (StatusCode::FORBIDDEN, pages::page("Second factor", None, &content)).into_response()
}

/// Where to go when it is done.
pub(crate) fn onward(visit: &Visit) -> &'static str {
    if visit.full().is_some() { "/account" } else { "/second" }
}

async fn choose(State(app): State<App>, visit: Visit) -> Response {
    if let Err(page) = may_enrol(&app, &visit).await {
        return page;
    }
    let content = html! {
        h1 { "Set up a second factor" }
        p { "A password alone can be stolen. From now on you will also show that you have your phone." }
        form method="post" action="/enrol/app" {
            (pages::csrf(&visit))
            button { "Use an authenticator app" }
        }
        @if app.phones.is_some() {
            p { a .button .second href="/enrol/phone" { "Use a phone that we can ask" } }
        }
        @if visit.full().is_some() { p { a href="/account" { "Not now" } } }
    };
    pages::page("Set up a second factor", None, &content)
}

async fn begin_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    if let Err(page) = may_enrol(&app, &visit).await {
        return page;
    }
    let begin = async {
        let begun = Begun { secret: Secret::generate()?.to_base32().to_string(), device: session::token()? };
        session.insert(BEGUN, begun).await?;
        Ok::<_, BoxError>(())
    };
    match begin.await {
        Ok(()) => Redirect::to("/enrol/app").into_response(),
        Err(error) => session::trouble(&*error),
    }
}

/// What was begun in this session.
async fn begun(session: &Session, user: &UserId) -> Result<Option<(Enrolment, String)>, BoxError> {
    let Some(Begun { secret, device }) = session.get(BEGUN).await? else { return Ok(None) };
    let totp = Totp::new(Secret::from_base32(&secret)?);
    Ok(Some((Enrolment::with_totp(SITE, user.as_str(), totp)?, device)))
}

async fn show_app(State(app): State<App>, session: Session, visit: Visit) -> Response {
    let user = match may_enrol(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    match begun(&session, &user).await {
        Ok(Some((enrolment, _))) => app_page(&visit, &enrolment, ""),
        Ok(None) => Redirect::to("/enrol").into_response(),
        Err(error) => session::trouble(&*error),
    }
}

fn app_page(visit: &Visit, enrolment: &Enrolment, problem: &str) -> Response {
    let secret = enrolment.secret().to_base32();
    let groups: Vec<&str> = secret.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let content = html! {
        h1 { "Set up your authenticator app" }
        ol {
            li {
                "Scan this with the app:"
                (pages::svg(&enrolment.qr_svg()))
                p { "On this device: " a href=(*enrolment.uri()) { "open the app" } ". Or type this secret:" }
                p { code #secret { (groups.join(" ")) } }
            }
            li {
                "Type the code that the app shows."
                (pages::alert(problem))
                form method="post" action="/enrol/confirm" {
                    (pages::csrf(visit))
                    (pages::code_box("code", "Code", true))
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

/// The first code. It shows that the app computes what we compute, and does not log in as well.
async fn confirm_app(State(app): State<App>, session: Session, visit: Visit, Form(form): Form<Confirm>) -> Response {
    let _one_at_a_time = app.enrolling.lock().await;
    let user = match may_enrol(&app, &visit).await {
        Ok(user) => user,
        Err(page) => return page,
    };
    let confirm = async {
        let Some((enrolment, device)) = begun(&session, &user).await? else {
            return Ok(Redirect::to("/enrol").into_response());
        };
        let wrong = |problem: &str| (StatusCode::FORBIDDEN, app_page(&visit, &enrolment, problem)).into_response();
        let Ok(otp) = form.code.parse::<Otp>() else { return Ok(wrong("This is no code: it has six digits.")) };
        let pairing = match app.totp.confirm(&user, &enrolment.pairing().device(device), &otp).await? {
            Confirmation::Confirmed(pairing) => pairing,
            Confirmation::Denied(DenyReason::Throttled { retry_after }) => {
                let wait = pages::in_words(retry_after);
                return Ok(wrong(&format!("Too many codes were wrong. Try again in {wait}, with a new code.")));
            }
            Confirmation::Denied(DenyReason::LockedOut) => {
                return Ok(wrong("Too many codes were wrong. An administrator has to unlock the account."));
            }
            _ => return Ok(wrong("This code was not right. Is the clock of your phone right? Try the next one.")),
        };
        if visit.full().is_none() {
            app.end_pairings(&user, |_| true).await?;
        }
        let codes = BackupCode::generate()?;
        app.users.set_authenticator(&user, pairing, codes.iter().map(|code| code.digest(&user)).collect());
        session.remove_value(BEGUN).await?;
        Ok::<_, BoxError>(pages::page("Your backup codes", None, &backup_codes(&visit, &codes)))
    };
    confirm.await.unwrap_or_else(|error| session::trouble(&*error))
}

/// They are shown here, and nowhere else: only their digests are kept.
fn backup_codes(visit: &Visit, codes: &[BackupCode]) -> Markup {
    html! {
        h1 { "Your backup codes" }
        p role="status" { "Your authenticator app is set up." }
        p { "Write these codes down, and keep them where your phone is not. Each of them works once in place of the app. They are not shown again." }
        ul .backup { @for code in codes { li { code { (code) } } } }
        p { a .button href=(onward(visit)) { "I have written them down" } }
        @if visit.full().is_none() { p .hint { "Then log in with the next code that your app shows: the one you typed is used." } }
    }
}
