//! A web service with one protected page and one protected form.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-quickstart
//! ```
//!
//! Scan the QR code in the terminal with an authenticator app. Then send the code that the app shows:
//!
//! ```sh
//! curl http://127.0.0.1:3000/
//! curl -u alice:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:3000/account
//! curl -u alice:wonderland -d 'to=bob&amount=10&otp=123456' http://127.0.0.1:3000/transfer
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`). `SECRET` sets the base32 secret (default: a new one at each
//! start).

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use tower_toopher::totp::{Enrollment, MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let secret = match std::env::var("SECRET") {
        Ok(base32) => Secret::from_base32(&base32).map_err(|error| format!("SECRET: {error}"))?,
        Err(_) => Secret::generate()?,
    };
    let totp = Totp::new(secret);

    // A real application stores the pairing in its user table after the user has confirmed the first code.
    let users = MemoryPairings::new();
    users.insert(UserId::new("alice")?, Pairing::confirmed(totp.clone()));

    // All routes share one verifier, so each code is accepted once, on one route.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?);
    let app = Router::new()
        .route("/account", get(account).layer(second_factor.clone().action("see the account")))
        .route("/transfer", post(transfer).layer(second_factor.extractor(HeaderOrForm::default()).action("transfer")))
        // Outside the layer: the first factor inserts the user, and the layer reads it.
        .route_layer(middleware::from_fn(first_factor))
        .route("/", get(|| async { "Public. Try /account.\n" }));

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    print_enrollment(&totp, &format!("http://{}", listener.local_addr()?))?;
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> String {
    format!("This is the account of {}.\n", factor.user())
}

async fn transfer(factor: SecondFactor, form: String) -> String {
    format!("{} sent: {form}\n", factor.user())
}

/// The first factor. It inserts the `UserId` into the request's extensions, where the layer looks for it.
async fn first_factor(mut request: Request, next: Next) -> Response {
    let Some(user) = basic_auth(request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"quickstart\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "A user name and a password are required.\n").into_response();
    };
    request.extensions_mut().insert(user);
    next.run(request).await
}

/// HTTP Basic with one user. A real application compares a salted hash, in constant time.
fn basic_auth(headers: &HeaderMap) -> Option<UserId> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let credentials = BASE64.decode(encoded.as_bytes()).ok()?;
    (credentials == b"alice:wonderland").then(|| UserId::new("alice").ok())?
}

fn print_enrollment(totp: &Totp, url: &str) -> Result<(), Box<dyn Error>> {
    let enrollment = Enrollment::with_totp("tower-toopher quickstart", "alice", totp.clone())?;
    println!("Listening on {url}\n");
    // Colors make it readable on light and dark terminals. A file or a pipe has none.
    println!("{}", *if std::io::stdout().is_terminal() { enrollment.qr_ansi() } else { enrollment.qr_text() });
    println!("Scan this with an authenticator app, or type the secret by hand.\n");
    println!("secret:  {}", *enrollment.secret().to_base32());
    println!("otpauth: {}\n", *enrollment.uri());
    println!("Then replace 123456 with the code that the app shows. Each code is accepted once:\n");
    println!("  curl {url}/");
    println!("  curl -u alice:wonderland {url}/account");
    println!("  curl -u alice:wonderland -H 'Toopher-OTP: 123456' {url}/account");
    println!("  curl -u alice:wonderland -d 'to=bob&amount=10&otp=123456' {url}/transfer\n");
    println!("Without a phone, `oathtool --totp -b {}` prints the code.", *enrollment.secret().to_base32());
    Ok(())
}
