//! Step-up: after a second factor, the account can be read for twelve hours, and money transferred for five minutes.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-grants
//! ```
//!
//! and then, in another terminal (each code is accepted once, so wait for the next one before the second code),
//!
//! ```sh
//! otp() { oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ; }
//! browser() { curl -i -b cookies.txt -c cookies.txt "$@"; echo; }
//! browser -d user=alice -d password=wonderland http://127.0.0.1:3000/login
//! browser http://127.0.0.1:3000/account                              # requires a factor
//! browser -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/account     # granted, and sets a grant in a cookie
//! browser http://127.0.0.1:3000/account                              # granted by the grant
//! browser -d amount=10 http://127.0.0.1:3000/transfer                # requires a factor: the grant is for reading
//! browser -d amount=10 -d "otp=$(otp)" http://127.0.0.1:3000/transfer
//! browser -d amount=20 http://127.0.0.1:3000/transfer                # granted by the grant
//! browser -X POST http://127.0.0.1:3000/log-out-everywhere
//! browser http://127.0.0.1:3000/account                              # requires a factor: all grants are revoked
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grants};
use tower_toopher::time::Clock;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::verify::SessionId;
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

const HOUR: Duration = Duration::from_secs(60 * 60);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);

/// A column of the user table: how often each user has revoked all grants.
type Epochs = Arc<Mutex<HashMap<UserId, u64>>>;

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

    // With a generated key, grants end with the process. A real service reads its key from its secret store.
    let grants = Grants::new(SealingKey::generate()?).lifetime(12 * HOUR);

    let second_factor =
        ToopherLayer::new(TotpVerifier::new(users)?).extractor(HeaderOrForm::default()).grants(grants.clone());
    // A factor for a transfer is also accepted for reading, but not the other way round.
    let read = second_factor.clone().action("read the account").max_age(12 * HOUR).also_accept(["transfer money"]);
    let transfer = second_factor.action("transfer money").max_age(FIVE_MINUTES);

    let epochs = Epochs::default();
    Ok(Router::new()
        .route("/account", get(account).layer(read))
        .route("/transfer", post(transferred).layer(transfer))
        .route("/log-out-everywhere", post(log_out_everywhere))
        .route_layer(middleware::from_fn_with_state(epochs.clone(), first_factor))
        .route("/login", post(log_in))
        .layer(Extension(grants))
        .layer(SessionManagerLayer::new(MemoryStore::default()))
        .with_state(epochs))
}

/// Inserts the user, and the session and the epoch that grants are bound to.
async fn first_factor(
    State(epochs): State<Epochs>,
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let name: Option<String> = session.get("user").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let user = name.and_then(|name| UserId::new(name).ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let epoch = epochs.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied().unwrap_or_default();
    let extensions = request.extensions_mut();
    if let Some(id) = session.id().and_then(|id| SessionId::new(id.to_string()).ok()) {
        extensions.insert(id);
    }
    extensions.insert(Epoch::from(epoch));
    extensions.insert(user);
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
    session.cycle_id().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    session.insert("user", "alice").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("Logged in.\n")
}

async fn account(factor: SecondFactor) -> String {
    format!("{}: {}.\n", factor.user(), describe(&factor))
}

async fn transferred(factor: SecondFactor, Form(form): Form<HashMap<String, String>>) -> String {
    let amount = form.get("amount").map_or("nothing", String::as_str);
    format!("{} sent {amount}: {}.\n", factor.user(), describe(&factor))
}

fn describe(factor: &SecondFactor) -> String {
    // A factor that was verified for this request has no time.
    let age = factor.auth_time().map_or("just now".into(), |time| {
        let now = Clock::system().now().unwrap_or_default();
        format!("{} s ago", now.saturating_duration_since(time).as_secs())
    });
    format!("{}, to {}, {age}", factor.factor().name(), factor.action().as_str())
}

/// A new epoch revokes every grant of the user, in every browser. The response also removes the cookie of this one.
async fn log_out_everywhere(
    State(epochs): State<Epochs>,
    Extension(user): Extension<UserId>,
    Extension(grants): Extension<Grants>,
) -> impl IntoResponse {
    *epochs.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default() += 1;
    let mut headers = HeaderMap::new();
    headers.extend(grants.clear_cookie().map(|cookie| (header::SET_COOKIE, cookie)));
    (headers, "All grants are revoked.\n")
}
