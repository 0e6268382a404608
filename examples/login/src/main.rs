//! A login page as a real site has it: the password, then a second factor from an authenticator app or on the phone.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-login
//! ```
//!
//! and open <http://127.0.0.1:3000>. The users are `alice` (password `wonderland`) and `bob` (`builder`). Log in, set
//! up an authenticator app, and log in again in each of three ways:
//!
//! 1. The link on the login page, "Input an OTP instead": name, password and code in one form.
//! 2. The dialog after the password. It shows the state of the request to the phone, and accepts a code at any time.
//! 3. The page after the time limit, when the phone has not answered or no code was typed.
//!
//! For approvals on a phone, start the server first. It prints lines to paste into the shell of the example:
//!
//! ```sh
//! cargo run -p toopher-server -- serve --demo
//! ```
//!
//! Every page works without scripts; with scripts, pages update without reloading. `ADDR` sets the address (default
//! `127.0.0.1:3000`), and `APPROVAL_SECONDS` the time limit for the phone or the code (default 120).
//!
//! A real site adds: TLS, and with it `Secure` cookies; a persistent session store that deletes expired sessions; a
//! limit on password attempts for each client address; an e-mail to the user whenever a second factor is set up.

mod app;
mod enroll;
mod login;
mod may_enroll;
mod pages;
mod phone;
mod phrase_limit;
mod session;
mod users;
mod visit;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, map_response};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_sessions::cookie::{SameSite, time};
use tower_sessions::{Expiry, MemoryStore as Sessions, SessionManagerLayer};
use tower_toopher::client::{Credentials, TerminalCookie, ToopherClient, ToopherVerifier};
use tower_toopher::middleware::NotEnrolledPolicy;
use tower_toopher::store::MemoryStore;
use tower_toopher::verify::FallbackVerifier;
use tower_toopher::{Approvals, BoxError, HeaderOrForm, Rejection, ToopherLayer, TotpVerifier};

use self::app::{ACTION, Api, App, Verifier};
use self::users::Users;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let time_limit = match std::env::var("APPROVAL_SECONDS") {
        Ok(seconds) => seconds.parse().map_err(|error| format!("APPROVAL_SECONDS {seconds}: {error}"))?,
        Err(_) => 120,
    };
    let users = [("alice", "wonderland"), ("bob", "builder")];
    let app = router(Users::new(&users)?, api()?, Duration::from_secs(time_limit))?;

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    println!("Users: {}", users.map(|(name, password)| format!("{name} (password {password})")).join(", "));
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

/// The Toopher API, if the environment contains its address.
fn api() -> Result<Option<Api>, Box<dyn Error>> {
    let Ok(base) = std::env::var("TOOPHER_BASE_URL") else { return Ok(None) };
    let variable = |name| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    Ok(Some(ToopherClient::new(base.parse()?, credentials)?))
}

fn router(users: Users, api: Option<Api>, time_limit: Duration) -> Result<Router, Box<dyn Error>> {
    // Codes and approvals share one store, so that a lockout applies to both.
    let store = MemoryStore::new();
    let totp = TotpVerifier::new(users.clone())?.store(store.clone());
    let verifier: Verifier = match &api {
        None => BoxCloneSyncService::new(totp.clone().map_err(BoxError::from)),
        Some(client) => {
            let phones = ToopherVerifier::new(client.clone()).create_terminals().number_matching();
            BoxCloneSyncService::new(FallbackVerifier::new(totp.clone(), phones))
        }
    };
    let approvals = Approvals::new(verifier)?.store(store).lifetime(time_limit).status_path("/approvals")?;
    let verifier = BoxCloneSyncService::new(approvals.clone().map_err(BoxError::from));
    let status = approvals.status();

    let with_phone = api.is_some();
    // After the password: the session contains the user.
    let second_factor = ToopherLayer::new(approvals)
        .action(ACTION)
        .extractor(HeaderOrForm::default())
        .approvals()
        .not_enrolled(NotEnrolledPolicy::RequireEnrollment)
        .reject_with(move |rejection: &Rejection, request: &Parts| login::rejected(rejection, request, with_phone));

    let status_of_app = BoxCloneSyncService::new(status.clone());
    let app = App {
        users,
        totp,
        verifier,
        api,
        status: status_of_app,
        time_limit,
        enrollment: Default::default(),
        phrases: Default::default(),
    };
    let sessions = SessionManagerLayer::new(Sessions::default())
        .with_name("session")
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        // Behind TLS: `true`, and a name with the prefix `__Host-`.
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(time::Duration::hours(1)));
    let second_step = post(login::second_factor).layer(second_factor).layer(from_fn(login::require_password));
    Ok(Router::new()
        .route("/", get(|| async { Redirect::to("/account") }))
        .route("/login", get(login::password_page).post(login::password))
        .route("/login/otp", post(login::single_form).get(login::single_form_page))
        .route("/second", second_step.get(login::second_page))
        .route("/second/wait/{token}", get(login::wait_page))
        .route("/second/wait/{token}/state", get(login::wait_frame))
        .route("/second/late", get(login::late_page))
        .route("/account", get(login::account))
        .route("/logout", post(session::log_out))
        .merge(enroll::routes())
        .merge(phone::routes())
        .with_state(app)
        .route_service("/approvals/{token}", status)
        .layer(from_fn(session::load_session))
        .layer(sessions)
        .layer(TerminalCookie::new("a web browser").insecure_without_tls())
        .route(
            "/login.css",
            get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("login.css")) }),
        )
        .route(
            "/login.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("login.js")) }),
        )
        .fallback(pages::not_found)
        .layer(map_response(set_security_headers)))
}

/// Allows only scripts and styles of this site, and no frames of other sites. Caches store nothing.
async fn set_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, pages::CONTENT_SECURITY_POLICY),
        // With `no-referrer`, browsers would send `Origin: null` with forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
