//! A second factor for an application that does not implement one: nginx sends a subrequest for each request to this
//! service (`auth_request`), and forwards the request only if the response is 2xx.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-forward-auth
//! ```
//!
//! in another terminal
//!
//! ```sh
//! nginx -p "$(mktemp -d)" -e stderr -c "$PWD/examples/forward-auth/nginx.conf"
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
//! The first two are rejected with 401, the third reaches the application. The comments in
//! `examples/forward-auth/nginx.conf` explain each line of the configuration. Each request that nginx checks needs a
//! code of its own, so protect only the locations that need it.
//!
//! `ADDR` sets the address of this service (default `127.0.0.1:3000`), `APP_ADDR` the address of the application
//! (default `127.0.0.1:3001`). In production only nginx may reach them.

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use data_encoding::BASE64;
use tokio::net::TcpListener;
use tower_toopher::middleware::Profile;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    // nginx accepts any 2xx, and 202 (pending) is one. With this profile only a granted request is answered with 2xx.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?).profile(Profile::ForwardAuth);
    let verify = Router::new()
        .route("/verify", any(granted).layer(second_factor))
        // Outside the layer: the first factor inserts the user, and the layer reads it.
        .route_layer(middleware::from_fn(first_factor));

    let app = listen("APP_ADDR", "127.0.0.1:3001").await?;
    println!("The application is http://{}", app.local_addr()?);
    let app = axum::serve(app, Router::new().fallback(application)).with_graceful_shutdown(example_shutdown::signal());
    let listener = listen("ADDR", "127.0.0.1:3000").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let verify = axum::serve(listener, verify).with_graceful_shutdown(example_shutdown::signal());
    tokio::try_join!(app.into_future(), verify.into_future())?;
    Ok(())
}

async fn listen(variable: &str, default: &str) -> Result<TcpListener, Box<dyn Error>> {
    let addr = std::env::var(variable).unwrap_or_else(|_| default.into());
    Ok(TcpListener::bind(&addr).await.map_err(|error| format!("{variable} {addr}: {error}"))?)
}

/// nginx passes `X-User` on to the application. A user id that is not a valid header value is rejected.
async fn granted(factor: SecondFactor) -> Response {
    match HeaderValue::from_str(factor.user().as_str()) {
        Ok(user) => (StatusCode::NO_CONTENT, [("x-user", user)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The first factor. It inserts the `UserId` into the request's extensions, where the layer looks for it.
async fn first_factor(mut request: Request, next: Next) -> Response {
    let Some(user) = basic_auth(request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"forward auth\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    request.extensions_mut().insert(user);
    next.run(request).await
}

/// HTTP Basic with one user. A real service compares a salted hash, in constant time.
fn basic_auth(headers: &HeaderMap) -> Option<UserId> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let credentials = BASE64.decode(encoded.as_bytes()).ok()?;
    (credentials == b"alice:wonderland").then(|| UserId::new("alice").ok())?
}

/// Any web application, in any language. It trusts `X-User`, because only nginx reaches it.
async fn application(uri: Uri, headers: HeaderMap, body: String) -> String {
    let value_of = |name: &str| headers.get(name).map_or("nothing", |value| value.to_str().unwrap_or("?"));
    let (user, code, password) = (value_of("x-user"), value_of("toopher-otp"), value_of("authorization"));
    format!("{uri} for {user}. Code: {code}. Password: {password}. {body}\n")
}
