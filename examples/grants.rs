//! Step-up: reading is open for twelve hours after a factor was shown, transferring money for five minutes after one.
//!
//! Run with
//!
//! ```sh
//! cargo run --example grants --features grants
//! ```
//!
//! and then, in another terminal (each code passes once, so wait for the next one before the second code),
//!
//! ```sh
//! otp() { oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ; }
//! browser() { curl -i -b cookies.txt -c cookies.txt "$@"; echo; }
//! browser -d user=alice -d password=wonderland http://127.0.0.1:3000/login
//! browser http://127.0.0.1:3000/account                              # asks for a factor
//! browser -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/account     # has one, and is given a grant
//! browser http://127.0.0.1:3000/account                              # goes by the grant
//! browser -d amount=10 http://127.0.0.1:3000/transfer                # asks: that one was for reading
//! browser -d amount=10 -d "otp=$(otp)" http://127.0.0.1:3000/transfer
//! browser -d amount=20 http://127.0.0.1:3000/transfer                # goes by the grant
//! browser -X POST http://127.0.0.1:3000/log-out-everywhere
//! browser http://127.0.0.1:3000/account                              # asks: all grants are over
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};
use tower_toopher::gate::grants::SealingKey;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{Grants, HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

const HOUR: Duration = Duration::from_secs(60 * 60);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);

/// What stands for the user table: how often each user has ended all grants.
type Epochs = Arc<Mutex<HashMap<UserId, u64>>>;

/// Who is logged in, as far as grants are bound to it.
#[derive(Clone)]
struct Login {
    session: Arc<str>,
    epoch: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()?).await?;
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    // A real service reads its key from where it keeps secrets: with this one grants end with the process.
    let grants = Grants::new(
        SealingKey::generate()?,
        |parts| Some(parts.extensions.get::<Login>()?.session.clone()),
        |parts, _| Some(parts.extensions.get::<Login>()?.epoch),
    )
    .lifetime(12 * HOUR);

    let gate = ToopherLayer::new(TotpVerifier::new(users)?).extractor(HeaderOrForm::default()).grants(grants.clone());
    // A factor for a transfer is good enough to read, and not the other way round.
    let read = gate.clone().action("read the account").max_age(12 * HOUR).covered_by(["transfer money"]);
    let transfer = gate.action("transfer money").max_age(FIVE_MINUTES);

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

/// Says who it is, and what grants of theirs are bound to.
async fn first_factor(
    State(epochs): State<Epochs>,
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let name: Option<String> = session.get("user").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let user = name.and_then(|name| UserId::new(name).ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let epoch = epochs.lock().unwrap_or_else(PoisonError::into_inner).get(&user).copied().unwrap_or_default();
    if let Some(id) = session.id() {
        request.extensions_mut().insert(Login { session: id.to_string().into(), epoch });
    }
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn log_in(session: Session, Form(form): Form<HashMap<String, String>>) -> Result<&'static str, StatusCode> {
    let field = |name: &str| form.get(name).map(String::as_str);
    // A real one compares a salted hash, in constant time.
    if (field("user"), field("password")) != (Some("alice"), Some("wonderland")) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    // Nobody who knew the id before knows it after, and nothing of the session before is left.
    session.clear().await;
    session.cycle_id().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    session.insert("user", "alice").await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("Logged in.\n")
}

async fn account(factor: SecondFactor) -> String {
    format!("{}: {}.\n", factor.user(), said(&factor))
}

async fn transferred(factor: SecondFactor, Form(form): Form<HashMap<String, String>>) -> String {
    let amount = form.get("amount").map_or("nothing", String::as_str);
    format!("{} sent {amount}: {}.\n", factor.user(), said(&factor))
}

fn said(factor: &SecondFactor) -> String {
    let ago = factor.shown_at().map(|at| at.elapsed().unwrap_or_default().as_secs());
    let when = ago.map_or("just now".into(), |ago| format!("{ago} s ago"));
    format!("{:?}, to {}, {when}", factor.factor(), factor.action().as_str())
}

/// Moving the epoch ends every grant of the user, in every browser; the cookie of this one is taken away, too.
async fn log_out_everywhere(
    State(epochs): State<Epochs>,
    Extension(user): Extension<UserId>,
    Extension(grants): Extension<Grants>,
) -> impl IntoResponse {
    *epochs.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default() += 1;
    let mut headers = HeaderMap::new();
    headers.extend(grants.clear_cookie().map(|cookie| (header::SET_COOKIE, cookie)));
    (headers, "All grants are over.\n")
}
