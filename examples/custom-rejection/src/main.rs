//! Rejections in the application's own format: an HTML page that asks for the code, and a redirect to the login page.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-custom-rejection
//! ```
//!
//! and open <http://127.0.0.1:3000/account> in a browser, or, in another terminal,
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/account
//! curl -i 'http://127.0.0.1:3000/account?session=alice'
//! code=$(oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ)
//! curl -i -d "otp=$code" 'http://127.0.0.1:3000/account?session=alice'
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{HeaderOrForm, Rejection, RejectionKind, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?)
        .extractor(HeaderOrForm::default())
        // A placeholder for a session. A real service never reads the user from a value that the client can choose.
        .identify(|parts| (parts.uri.query() == Some("session=alice")).then(|| UserId::new("alice").ok())?)
        .reject_with(page);
    let app = Router::new()
        .route("/account", any(account))
        .layer(second_factor)
        .route("/login", get(login))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }));

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> Html<String> {
    // A real page escapes the name.
    document("Your account", &format!("<p>The account of {}.</p>", factor.user()))
}

async fn login() -> Html<String> {
    document("Log in", "<p><a href=\"/account?session=alice\">Log in as alice</a></p>")
}

/// A function with this signature replaces the problem documents.
fn page(rejection: &Rejection, _request: &Parts) -> Response {
    if rejection.kind() == RejectionKind::Unidentified {
        return Redirect::to("/login").into_response();
    }
    // `code()` is the public reason. `kind()` would show whether a code was wrong or used, and who is not enrolled.
    let message = match rejection.code() {
        "otp_required" => "",
        "otp_invalid" => "That code was not accepted. Each code works once: wait for the next one.",
        _ => rejection.title(),
    };
    let Html(form) = document(
        "One more step",
        &format!(
            r#"<form method="post">
  <p role="alert">{message}</p>
  <label>Code from your authenticator app
    <input name="otp" inputmode="numeric" autocomplete="one-time-code" required autofocus>
  </label>
  <button>Continue</button>
</form>"#
        ),
    );
    // `response` sets the status, `WWW-Authenticate`, `Retry-After` and `Cache-Control`.
    let mut response = rejection.response(Body::from(form));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// A page with a title, a language, a heading and a landmark, which screen readers need.
fn document(title: &str, content: &str) -> Html<String> {
    Html(format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><link rel="stylesheet" href="/style.css">
<main>
<h1>{title}</h1>
{content}
</main>
"#
    ))
}

/// The browser's own colors, light or dark. Its dark ones have too little contrast for links.
const STYLE: &str = "\
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
a { color: inherit; }
input, button { display: block; box-sizing: border-box; width: 100%; margin: 0.5rem 0; padding: 0.6rem; font: inherit; }
[role=alert]:not(:empty) { padding: 0.6rem; border: 2px solid; }
";
