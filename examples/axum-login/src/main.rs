//! A second factor for a site with axum-login and tower-sessions. `docs/axum-login.md` explains it step by step.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-axum-login
//! ```
//!
//! and open <http://localhost:3000>. The user is `alice` (password `wonderland`).
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

mod browser;
mod enroll;
mod pages;
mod second_factor;
mod users;

use std::error::Error;
use std::process::ExitCode;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use axum_login::{AuthManagerLayerBuilder, AuthSession};
use tower_cookies::Cookies;
use tower_sessions::{MemoryStore, SessionManagerLayer};

use self::browser::remember_browser;
use self::users::{Backend, Credentials};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    let app = app(Backend::new(&[("alice", "wonderland")]))?;
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

fn app(backend: Backend) -> Result<Router, Box<dyn Error>> {
    // Without TLS, for this example only.
    let sessions = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
    let auth = AuthManagerLayerBuilder::new(backend.clone(), sessions).build();
    Ok(Router::new()
        .merge(second_factor::routes(backend)?)
        .route("/", get(|| async { Redirect::to("/account") }))
        .route("/login", get(pages::login).post(log_in))
        .route("/logout", post(log_out))
        .layer(auth))
}

/// The first factor, as before.
async fn log_in(mut auth: AuthSession<Backend>, cookies: Cookies, Form(form): Form<Credentials>) -> Response {
    let remember = form.remember.is_some();
    let Ok(Some(user)) = auth.authenticate(form).await else {
        return (StatusCode::FORBIDDEN, pages::wrong_password(remember)).into_response();
    };
    if auth.login(&user).await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    remember_browser(&cookies, remember);
    Redirect::to("/account").into_response()
}

async fn log_out(mut auth: AuthSession<Backend>) -> Response {
    match auth.logout().await {
        Ok(_) => Redirect::to("/login").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
