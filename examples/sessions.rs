//! Grants in the session of the application (`tower-sessions`): no cookie of their own.
//!
//! Run with
//!
//! ```sh
//! cargo run --example sessions --features grants
//! ```
//!
//! and then, in another terminal,
//!
//! ```sh
//! otp() { oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ; }
//! browser() { curl -i -b cookies.txt -c cookies.txt "$@"; echo; }
//! browser -d user=alice -d password=wonderland http://127.0.0.1:3000/login
//! browser http://127.0.0.1:3000/account                              # asks for a factor
//! browser -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/account     # has one, and the session keeps the grant
//! browser http://127.0.0.1:3000/account                              # goes by the grant
//! browser -X POST http://127.0.0.1:3000/logout
//! browser http://127.0.0.1:3000/account                              # nobody is logged in
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
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
use tower_toopher::gate::grants::SealingKey;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{Grant, Grants, SecondFactor, ToopherLayer, TotpVerifier, UserId};

/// Under which names the session keeps things.
const USER: &str = "user";
const GRANT: &str = "grant";

/// The id of the session, which grants are bound to.
#[derive(Clone)]
struct SessionId(Arc<str>);

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

    let grants = Grants::new(
        // Grants end with the process, as the sessions in memory do.
        SealingKey::generate()?,
        |parts| Some(parts.extensions.get::<SessionId>()?.0.clone()),
        // The one user there is never changes the authenticator. `examples/grants.rs` has a real epoch.
        |_, _| Some(0_u64),
    )
    .in_extensions();
    let gate = ToopherLayer::new(TotpVerifier::new(users)?)
        .action("see the account")
        .max_age(Duration::from_secs(15 * 60))
        .grants(grants);

    // From the outside in: who is it, the gate, and what keeps the grant that the gate has issued.
    let guard =
        ServiceBuilder::new().layer(middleware::from_fn(first_factor)).layer(gate).layer(middleware::from_fn(keep));
    Ok(Router::new()
        .route("/account", get(account).layer(guard))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionManagerLayer::new(MemoryStore::default())))
}

/// Takes out of the session what the gate looks for.
async fn first_factor(session: Session, mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let user: Option<String> = session.get(USER).await.map_err(unavailable)?;
    let user = user.and_then(|name| UserId::new(name).ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let grant: Option<String> = session.get(GRANT).await.map_err(unavailable)?;
    let extensions = request.extensions_mut();
    extensions.insert(user);
    if let Some(id) = session.id() {
        extensions.insert(SessionId(id.to_string().into()));
    }
    if let Some(grant) = grant {
        extensions.insert(Grant::new(&grant));
    }
    Ok(next.run(request).await)
}

/// Stores the grant of a factor that was just shown.
async fn keep(
    session: Session,
    factor: SecondFactor,
    grant: Option<Extension<Grant>>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    if let (None, Some(Extension(grant))) = (factor.shown_at(), grant) {
        session.insert(GRANT, grant.as_str()).await.map_err(unavailable)?;
    }
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
    session.cycle_id().await.map_err(unavailable)?;
    session.insert(USER, "alice").await.map_err(unavailable)?;
    Ok("Logged in.\n")
}

async fn log_out(session: Session) -> Result<&'static str, StatusCode> {
    session.flush().await.map_err(unavailable)?;
    Ok("Logged out.\n")
}

async fn account(factor: SecondFactor) -> String {
    let ago = factor.shown_at().map(|at| at.elapsed().unwrap_or_default().as_secs());
    format!("{}, {:?} {}\n", factor.user(), factor.factor(), ago.map_or("now".into(), |ago| format!("{ago} s ago")))
}

fn unavailable(_: SessionError) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
