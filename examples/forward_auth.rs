//! A second factor for applications that know nothing of it: nginx asks this service about each request, by its
//! `auth_request`, and lets in what it answers with 2xx.
//!
//! Run with
//!
//! ```sh
//! cargo run --example forward_auth
//! ```
//!
//! in another terminal with
//!
//! ```sh
//! nginx -p "$(mktemp -d)" -e stderr -c "$PWD/examples/forward_auth.conf"
//! ```
//!
//! and then, in a third one,
//!
//! ```sh
//! curl -i http://127.0.0.1:8080/report
//! curl -i -u alice:wonderland http://127.0.0.1:8080/report
//! code=$(oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ)
//! curl -i -u alice:wonderland -H "Toopher-OTP: $code" http://127.0.0.1:8080/report
//! ```
//!
//! The first two are refused with 401, the third arrives at the application. `examples/forward_auth.conf` says what each
//! line of nginx's configuration is for. Each request that nginx asks about needs a code of its own: put it before the
//! few things that matter.
//!
//! `ADDR` sets the address of the gate (default `127.0.0.1:3000`), `APP_ADDR` that of the application (default
//! `127.0.0.1:3001`). Nobody but nginx may reach either.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Basic;
use tokio::net::TcpListener;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{Profile, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    // To nginx any 2xx means "let it in", and 202 is one. With this profile nothing but a grant is answered with 2xx.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?).profile(Profile::ForwardAuth);
    let gate = Router::new()
        .route("/verify", any(granted).layer(second_factor))
        // Outside the gate, so that it has said who it is when the gate asks.
        .route_layer(middleware::from_fn(first_factor));

    let app = TcpListener::bind(addr("APP_ADDR", "127.0.0.1:3001")).await?;
    println!("The application is http://{}", app.local_addr()?);
    let app = axum::serve(app, Router::new().fallback(application));
    let listener = TcpListener::bind(addr("ADDR", "127.0.0.1:3000")).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    tokio::try_join!(app.into_future(), axum::serve(listener, gate).into_future())?;
    Ok(())
}

/// What the application is told, by way of nginx. A name that no header can carry lets nobody in.
async fn granted(factor: SecondFactor) -> Response {
    match HeaderValue::from_str(factor.user().as_str()) {
        Ok(user) => (StatusCode::NO_CONTENT, [("x-user", user)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// HTTP Basic, with one user. nginx passes the header on.
async fn first_factor(
    credentials: Option<TypedHeader<Authorization<Basic>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = credentials.filter(|TypedHeader(Authorization(basic))| {
        // A real one compares a salted hash, in constant time.
        (basic.username(), basic.password()) == ("alice", "wonderland")
    });
    match known.and_then(|TypedHeader(Authorization(basic))| UserId::new(Arc::from(basic.username())).ok()) {
        Some(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        None => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"forward auth\"")]).into_response()
        }
    }
}

/// Any web application, in any language. It believes the header, since nobody but nginx reaches it.
async fn application(uri: Uri, headers: HeaderMap, body: String) -> String {
    let sent = |name: &str| headers.get(name).map_or("nothing", |value| value.to_str().unwrap_or("?")).to_owned();
    format!(
        "{uri} for {}. Code: {}. Password: {}. {body}\n",
        sent("x-user"),
        sent("toopher-otp"),
        sent("authorization")
    )
}
