//! Grants in the application's session (`tower-sessions`), without a cookie of their own.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-sessions
//! ```
//!
//! and then, in another terminal,
//!
//! ```sh
//! otp() { oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ; }
//! browser() { curl -i -b cookies.txt -c cookies.txt "$@"; echo; }
//! browser -d user=alice -d password=wonderland http://127.0.0.1:3000/login
//! browser http://127.0.0.1:3000/account                              # requires a factor
//! browser -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/account     # granted, and the session stores a grant
//! browser http://127.0.0.1:3000/account                              # granted by the grant
//! browser -X POST http://127.0.0.1:3000/logout
//! browser http://127.0.0.1:3000/account                              # rejected: no user is logged in
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use tower::ServiceBuilder;
use tower_sessions::session::Error as SessionError;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grant, Grants};
use tower_toopher::time::Clock;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::verify::SessionId;
use tower_toopher::{SecondFactor, ToopherLayer, TotpVerifier, UserId};

/// The keys of the session's values.
const USER: &str = "user";
const GRANT: &str = "grant";

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
    axum::serve(listener, app()?).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    // With a generated key, grants end with the process, as the sessions in memory do.
    let grants = Grants::new(SealingKey::generate()?).in_extensions();
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?)
        .action("see the account")
        .max_age(Duration::from_secs(15 * 60))
        .grants(grants);

    // From the outermost to the innermost: the first factor, the second, and the middleware that stores the grant.
    let protect = ServiceBuilder::new()
        .layer(middleware::from_fn(first_factor))
        .layer(second_factor)
        .layer(middleware::from_fn(store_grant));
    Ok(Router::new()
        .route("/account", get(account).layer(protect))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionManagerLayer::new(MemoryStore::default())))
}

/// Copies the values that the layer reads from the session into the request's extensions.
async fn first_factor(session: Session, mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let user: Option<String> = session.get(USER).await.map_err(unavailable)?;
    let user = user.and_then(|name| UserId::new(name).ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let grant: Option<String> = session.get(GRANT).await.map_err(unavailable)?;
    let extensions = request.extensions_mut();
    extensions.insert(user);
    // The only user never changes the authenticator. `examples/grants` has a real epoch.
    extensions.insert(Epoch::from(0_u64));
    if let Some(id) = session.id().and_then(|id| SessionId::new(id.to_string()).ok()) {
        extensions.insert(id);
    }
    if let Some(grant) = grant.and_then(|grant| Grant::new(&grant).ok()) {
        extensions.insert(grant);
    }
    Ok(next.run(request).await)
}

/// Stores the grant of a factor that was verified by this request. A reused factor has an `auth_time`.
async fn store_grant(
    session: Session,
    factor: SecondFactor,
    grant: Option<Extension<Grant>>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    if let (None, Some(Extension(grant))) = (factor.auth_time(), grant) {
        session.insert(GRANT, grant.as_str()).await.map_err(unavailable)?;
    }
    Ok(next.run(request).await)
}

async fn log_in(session: Session, Form(form): Form<HashMap<String, String>>) -> Result<&'static str, StatusCode> {
    let field = |name: &str| form.get(name).map(String::as_str);
    // A real service compares a salted hash, in constant time.
    if (field("user"), field("password")) != (Some("alice"), Some("wonderland")) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    // Against session fixation: a new id, and none of the previous session's values.
    session.clear().await;
    session.cycle_id().await.map_err(unavailable)?;
    session.insert(USER, "alice").await.map_err(unavailable)?;
    Ok("Logged in.\n")
}

async fn log_out(session: Session) -> Result<&'static str, StatusCode> {
    session.flush().await.map_err(unavailable)?;
    Ok("Logged out.\n")
}

async fn account(factor: SecondFactor) -> String {
    let age = factor.auth_time().map_or("now".into(), |time| {
        let now = Clock::system().now().unwrap_or_default();
        format!("{} s ago", now.saturating_duration_since(time).as_secs())
    });
    format!("{}, {} {age}\n", factor.user(), factor.factor().name())
}

fn unavailable(_: SessionError) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
