//! A web service whose second factor is verified by a Toopher API: a code at once, or an approval on the phone.
//!
//! Run with
//!
//! ```sh
//! cargo run --features server --bin toopher-server -- serve --demo
//! ```
//!
//! in one terminal. It prints lines to paste into another, which export its address, key and secret, and pair a phone
//! of `alice`. There, run
//!
//! ```sh
//! cargo run --example toopher --features client
//! ```
//!
//! and then
//!
//! ```sh
//! curl -i -u alice:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:3000/account
//! curl -i -u alice:wonderland -c jar -b jar http://127.0.0.1:3000/account
//! ```
//!
//! The first has a code checked. The second asks alice's phone, and is answered with 202 until she has answered: send
//! it again, with the cookie that it was given.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Basic;
use tower_toopher::oauth1::{Credentials, sign};
use tower_toopher::{SecondFactor, Terminal, ToopherClient, ToopherLayer, ToopherVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let variable = |name| std::env::var(name).map_err(|_| format!("please set {name}"));
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    let client = ToopherClient::new(variable("TOOPHER_BASE_URL")?.parse()?, credentials)?;

    // One verifier, which remembers whose phone has been asked.
    let second_factor =
        ToopherLayer::new(ToopherVerifier::new(client).create_terminals()).action("see the account").terminal(terminal);
    let app = Router::new()
        .route("/account", get(account).layer(second_factor))
        // Outside the gate, so that they have said who it is, and from where, when the gate asks.
        .route_layer(middleware::from_fn(terminal_cookie))
        .route_layer(middleware::from_fn(first_factor));

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> String {
    format!("This is the account of {}, by {:?}.\n", factor.user(), factor.factor())
}

/// The browser, by a random cookie, so that the approval of one browser does not let another one in.
fn terminal(parts: &Parts) -> Option<Terminal> {
    let TerminalId(id) = parts.extensions.get()?;
    Some(Terminal::new("a browser").with_discriminator(id.as_str()))
}

#[derive(Clone)]
struct TerminalId(String);

/// Reads the cookie of the browser, and gives it one if it has none.
async fn terminal_cookie(mut request: Request, next: Next) -> Response {
    let known = cookie(request.headers());
    let Some(id) = known.clone().or_else(|| sign::nonce().ok()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let set = format!("terminal={id}; HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000");
    request.extensions_mut().insert(TerminalId(id));
    let mut response = next.run(request).await;
    if let (None, Ok(set)) = (known, HeaderValue::try_from(set)) {
        // Behind TLS, `Secure` belongs to it too.
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let (_, value) =
        cookies.split("; ").filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "terminal")?;
    // Only what this service has given out has this shape.
    (value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| value.to_owned())
}

/// HTTP Basic, with one user. It puts the `UserId` into the request's extensions, where the gate looks for it.
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
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"toopher\"")];
            (StatusCode::UNAUTHORIZED, challenge, "Who are you?\n").into_response()
        }
    }
}
