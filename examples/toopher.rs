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
//! The first has a code checked. The second asks alice's phone, and is answered with 202 and a challenge. Send it again
//! with the cookie and the challenge that it was given, until she has answered:
//!
//! ```sh
//! curl -i -u alice:wonderland -b jar -H 'Toopher-Challenge: …' -H 'Prefer: wait=20' http://127.0.0.1:3000/account
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Basic;
use tower_toopher::oauth1::Credentials;
use tower_toopher::toopher::TerminalCookie;
use tower_toopher::{Approvals, SecondFactor, ToopherClient, ToopherLayer, ToopherVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let variable = |name| std::env::var(name).map_err(|_| format!("please set {name}"));
    let credentials = Credentials::new(variable("TOOPHER_CONSUMER_KEY")?, variable("TOOPHER_CONSUMER_SECRET")?)?;
    let client = ToopherClient::new(variable("TOOPHER_BASE_URL")?.parse()?, credentials)?;

    // Asks phones, and remembers whose has been asked.
    let approvals = Approvals::new(ToopherVerifier::new(client).create_terminals())?;
    let second_factor = ToopherLayer::new(approvals)
        .action("see the account")
        // Without a session of its own, what tells browsers apart is their cookie alone.
        .approvals(|parts| Some(TerminalCookie::terminal(parts, "")?.discriminator()?.into()))
        // The browser, by its cookie, so that the approval of one browser does not let another one in.
        .terminal(|parts| TerminalCookie::terminal(parts, "a browser"));
    let app = Router::new()
        .route("/account", get(account).layer(second_factor))
        // Outside the gate, so that they have said who it is, and from where, when the gate asks.
        .route_layer(TerminalCookie::insecure_without_tls())
        .route_layer(middleware::from_fn(first_factor));

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> String {
    format!("This is the account of {}, by {:?}.\n", factor.user(), factor.factor())
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
