//! A login page as a real site has it: the password, then a second factor from an authenticator app or on the phone.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-login
//! ```
//!
//! and open <http://127.0.0.1:3000>. The users are `alice` (password `wonderland`) and `bob` (`builder`). Log in, set
//! up an authenticator app, save the recovery codes, and log in again in each of three ways:
//!
//! 1. The link on the login page, "Type a code with the password": name, password and code in one form.
//! 2. The dialog after the password. It shows the state of the request to the phone, and accepts a code at any time.
//! 3. The page after the time limit, when the phone has not answered or no code was typed.
//!
//! The account page lists the second factors, of which a user may have several, and the remembered browsers, on which
//! the password is enough. Every change of the factors requires one that was shown in the last ten minutes. It logs the
//! user out in all other browsers, and forgets all remembered ones.
//!
//! For approvals on a phone, start the server first. It prints lines to paste into the shell of the example:
//!
//! ```sh
//! cargo run -p toopher-server -- serve --demo
//! ```
//!
//! Every page works without scripts; with scripts, pages update without reloading. These variables change settings:
//!
//! - `ADDR`: the address (default `127.0.0.1:3000`).
//! - `APPROVAL_SECONDS`: the time limit for the phone or the code (default 120).
//! - `ENROLLMENT_SECONDS`: the time limit for setting up a first second factor (default 3600).
//! - `CODE_DIGITS`: the length of the codes of new authenticator apps (6, 7 or 8; default 6, which every app shows).
//!
//! A real site adds: TLS, and with it `Secure` cookies; a persistent session store that deletes expired sessions; a
//! limit on password attempts for each client address; an e-mail to the user whenever a second factor is set up.

mod account;
mod app;
mod assets;
mod codes;
mod enroll;
mod login;
mod may_enroll;
mod pages;
mod phone;
mod phrase_limit;
mod rejected;
mod remember;
mod return_path;
mod second;
mod session;
mod step;
mod table;
mod users;
mod verifier;
mod visit;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_sessions::cookie::{SameSite, time};
use tower_sessions::{Expiry, MemoryStore as Sessions, SessionManagerLayer};
use tower_toopher::client::{Credentials, TerminalCookie, ToopherClient};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::NotEnrolledPolicy;
use tower_toopher::middleware::grants::Grants;
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::Digits;
use tower_toopher::{Approvals, BoxError, HeaderOrForm, Rejection, ToopherLayer, TotpVerifier};

use self::app::{Api, App, FRESH};
use self::step::Step;
use self::table::BROWSER_LIFETIME;
use self::users::Users;
use self::verifier::{Codes, SiteVerifier};
use self::visit::Visit;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let digits = match std::env::var("CODE_DIGITS").as_deref() {
        Ok("6") | Err(_) => Digits::Six,
        Ok("7") => Digits::Seven,
        Ok("8") => Digits::Eight,
        Ok(other) => return Err(format!("CODE_DIGITS {other}: use 6, 7 or 8").into()),
    };
    let users = [("alice", "wonderland"), ("bob", "builder")];
    let app = router(Users::new(&users)?, api()?, digits)?;

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    println!("Users: {}", users.map(|(name, password)| format!("{name} (password {password})")).join(", "));
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

/// A time limit in seconds.
fn seconds(variable: &str, default: u64) -> Result<Duration, Box<dyn Error>> {
    let seconds = match std::env::var(variable) {
        Ok(seconds) => seconds.parse().map_err(|error| format!("{variable} {seconds}: {error}"))?,
        Err(_) => default,
    };
    Ok(Duration::from_secs(seconds))
}

/// The Toopher API, if the environment contains its address.
fn api() -> Result<Option<Api>, Box<dyn Error>> {
    let Ok(base) = std::env::var("TOOPHER_BASE_URL") else { return Ok(None) };
    let url = base.parse().map_err(|error| {
        format!("TOOPHER_BASE_URL {base}: {error}. It is the address of an API, such as http://127.0.0.1:8080/v1")
    })?;
    let variable = |name| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (key, secret) = (variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?);
    let credentials = Credentials::new(key, secret)
        .map_err(|error| format!("TOOPHER_CONSUMER_KEY, TOOPHER_CONSUMER_SECRET: {error}"))?;
    Ok(Some(ToopherClient::new(url, credentials)?))
}

/// The page for phones, which `toopher-server` has beside the API.
fn phone_page() -> Option<String> {
    let base = std::env::var("TOOPHER_BASE_URL").ok()?;
    Some(format!("{}/phone", base.trim_end_matches('/').strip_suffix("/v1")?))
}

fn router(users: Users, api: Option<Api>, digits: Digits) -> Result<Router, Box<dyn Error>> {
    let time_limit = seconds("APPROVAL_SECONDS", 120)?;
    // Codes and approvals share one store, so that a lockout applies to both.
    let store = MemoryStore::new();
    let totp = TotpVerifier::new(users.clone())?.store(store.clone());
    let codes = Codes { users: users.clone(), totp: totp.clone() };
    let verifier = BoxCloneSyncService::new(SiteVerifier::new(codes, api.clone()));
    let approvals = Approvals::new(verifier.clone())?.store(store).lifetime(time_limit).status_path("/approvals")?;
    let month = Duration::from_secs(BROWSER_LIFETIME);
    let app = App {
        users,
        totp,
        digits,
        approvals: approvals.clone(),
        verifier: BoxCloneSyncService::new(approvals.clone().map_err(BoxError::from)),
        status: BoxCloneSyncService::new(approvals.status()),
        // With a generated key, browsers are remembered until the process ends, as the users are.
        grants: Grants::new(SealingKey::generate()?).lifetime(month).in_extensions(),
        api,
        phone_page: phone_page(),
        time_limit,
        enrollment_lifetime: seconds("ENROLLMENT_SECONDS", 60 * 60)?,
        changes: Default::default(),
        phrases: Default::default(),
    };

    // Changes of the second factors require one that was shown a moment ago, at the login or for another change. A user
    // without any factor is not logged in, and sets up the first one: `may_enroll` decides.
    let fresh_factor = ToopherLayer::new(verifier.clone())
        .action(Step::Change.action())
        .also_accept([Step::LogIn.action()])
        .max_age(FRESH)
        .insecure_skip(|parts: &Parts| parts.extensions.get().is_some_and(|visit: &Visit| visit.logged_in().is_none()))
        .reject_with(return_path::rejected);
    let changes = Router::new()
        .merge(account::change_routes())
        .merge(codes::change_routes())
        .merge(enroll::routes())
        .merge(phone::change_routes())
        .route_layer(fresh_factor)
        .route_layer(from_fn(return_path::store));

    // After the password, a remembered browser has shown its second factor at an earlier login.
    let earlier_factor = ToopherLayer::new(verifier)
        .action(Step::LogIn.action())
        .max_age(month)
        .grants(app.grants.clone())
        .reject_with(remember::rejected);
    let remembered =
        get(remember::log_in).layer(earlier_factor).layer(from_fn_with_state(app.clone(), remember::load_grant));

    let mut router = Router::new().merge(changes);
    for step in Step::ALL {
        router = router.route(step.path(), second_factor(step, &app)).merge(second::pages_of(step));
    }
    let sessions = SessionManagerLayer::new(Sessions::default())
        .with_name("session")
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        // Behind TLS: `true`, and a name with the prefix `__Host-`.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(2)));
    Ok(router
        .route("/", get(|| async { Redirect::to("/account") }))
        .route("/login", get(login::password_page).post(login::password))
        .route("/login/otp", post(login::single_form).get(login::single_form_page))
        .route(remember::PATH, remembered)
        .route("/logout", post(session::log_out))
        .merge(account::routes())
        .merge(codes::routes())
        .merge(phone::routes())
        .with_state(app.clone())
        .route_service("/approvals/{token}", approvals.status())
        .layer(from_fn_with_state(app, session::load_session))
        .layer(sessions)
        .layer(TerminalCookie::new("a web browser").insecure_without_tls())
        .merge(assets::routes())
        .fallback(pages::not_found)
        .layer(map_response(assets::set_security_headers)))
}

/// The page of a step, and the route that verifies the factor.
fn second_factor(step: Step, app: &App) -> MethodRouter<App> {
    let layer = ToopherLayer::new(app.approvals.clone())
        .action(step.action())
        .extractor(HeaderOrForm::default())
        .approvals()
        .not_enrolled(NotEnrolledPolicy::RequireEnrollment)
        .reject_with(move |rejection: &Rejection, request: &Parts| rejected::rejected(step, rejection, request));
    let verified = match step {
        Step::LogIn => post(second::logged_in),
        Step::Change => post(second::confirmed),
    };
    verified
        .layer(layer)
        .layer(from_fn_with_state(app.clone(), second::require_step))
        .get(second::second_page)
        .layer(Extension(step))
}
