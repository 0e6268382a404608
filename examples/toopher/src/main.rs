//! A web service whose second factor is verified by a Toopher API: a code, or an approval on the user's phone.
//!
//! Start the server in one terminal:
//!
//! ```sh
//! cargo run -p toopher-server -- serve --demo
//! ```
//!
//! It prints lines to paste into another terminal: they export its address, key and secret, and pair a phone of
//! `alice`. There, run with
//!
//! ```sh
//! cargo run -p example-toopher
//! ```
//!
//! and then, in a third one,
//!
//! ```sh
//! curl -i -u alice:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:3000/account
//! curl -i -u alice:wonderland -c jar -b jar http://127.0.0.1:3000/account
//! ```
//!
//! The first sends a code. The second requests an approval: the response is 202 with an approval token, and alice's
//! phone shows the request. Repeat the request with the cookie and the token until she has answered:
//!
//! ```sh
//! curl -i -u alice:wonderland -b jar -H 'Toopher-Approval: …' -H 'Prefer: wait=20' http://127.0.0.1:3000/account
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64;
use tower_toopher::client::{Credentials, HyperTransport, TerminalCookie, ToopherClient, ToopherVerifier};
use tower_toopher::verify::SessionId;
use tower_toopher::{Approvals, SecondFactor, Terminal, ToopherLayer, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let variable = |name| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let base_url = variable("TOOPHER_BASE_URL")?;
    let base_url = base_url.parse().map_err(|error| {
        format!("TOOPHER_BASE_URL {base_url}: {error}. It is the address of an API, such as http://127.0.0.1:8080/v1")
    })?;
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)
        .map_err(|error| format!("TOOPHER_CONSUMER_KEY, TOOPHER_CONSUMER_SECRET: {error}"))?;
    // The transport with fewer dependencies. `ToopherClient::new` uses the one over `reqwest`.
    let transport = HyperTransport::new()?;
    let client = ToopherClient::with_transport(base_url, credentials, transport);

    // Requests approvals, and stores which of them are pending.
    let approvals = Approvals::new(ToopherVerifier::new(client).create_terminals())?;
    let second_factor = ToopherLayer::new(approvals).action("see the account").approvals();
    let app = Router::new()
        .route("/account", get(account).layer(second_factor))
        // Outside the layer: they insert the session, the terminal and the user, and the layer reads them.
        .route_layer(middleware::map_request(insert_session))
        .route_layer(TerminalCookie::new("a browser").insecure_without_tls())
        .route_layer(middleware::from_fn(first_factor));

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> String {
    format!("This is the account of {}, by {}.\n", factor.user(), factor.factor().name())
}

/// An approval is bound to a session. This service has none, so the cookie of the browser identifies it.
async fn insert_session(mut request: Request) -> Request {
    let cookie = request.extensions().get::<Terminal>().and_then(Terminal::discriminator);
    if let Some(session) = cookie.and_then(|cookie| SessionId::new(cookie.to_owned()).ok()) {
        request.extensions_mut().insert(session);
    }
    request
}

/// The first factor. It inserts the `UserId` into the request's extensions, where the layer looks for it.
async fn first_factor(mut request: Request, next: Next) -> Response {
    let Some(user) = basic_auth(request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"toopher\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "A user name and a password are required.\n").into_response();
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
