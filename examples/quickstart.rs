//! A web service with one guarded page and one guarded form.
//!
//! Run with
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! and then, with the code that your authenticator shows for the QR code in the terminal,
//!
//! ```sh
//! curl http://127.0.0.1:3000/
//! curl -u alice:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:3000/account
//! curl -u alice:wonderland -d 'to=bob&amount=10&otp=123456' http://127.0.0.1:3000/transfer
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`), `SECRET` the base32 secret (default: a new one at each start).

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Basic;
use tower_toopher::totp::{Enrolment, MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let secret = match std::env::var("SECRET") {
        Ok(base32) => Secret::from_base32(&base32)?,
        Err(_) => Secret::generate()?,
    };
    let totp = Totp::new(secret);

    // What a real application keeps in its user table once the first code has been confirmed.
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    users.insert(alice, Pairing::confirmed(totp.clone()));

    // One verifier, so that one code passes once whichever route it is sent to.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?);
    let app = Router::new()
        .route("/account", get(account).layer(second_factor.clone().action("see the account")))
        .route("/transfer", post(transfer).layer(second_factor.extractor(HeaderOrForm::default()).action("transfer")))
        // Outside the gate, so that it has said who it is when the gate asks.
        .route_layer(middleware::from_fn(first_factor))
        .route("/", get(|| async { "Public. Try /account.\n" }));

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    let addr = listener.local_addr()?;
    show_enrolment(&totp, &format!("http://{addr}"))?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn account(factor: SecondFactor) -> String {
    format!("This is the account of {}.\n", factor.user())
}

async fn transfer(factor: SecondFactor, form: String) -> String {
    format!("{} sent: {form}\n", factor.user())
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
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"quickstart\"")], "Who are you?\n")
                .into_response()
        }
    }
}

fn show_enrolment(totp: &Totp, url: &str) -> Result<(), Box<dyn Error>> {
    let enrolment = Enrolment::with_totp("tower-toopher quickstart", "alice", totp.clone())?;
    println!("Listening on {url}\n");
    println!("{}", *enrolment.qr_text());
    println!("Scan this with an authenticator app, or type the secret by hand.\n");
    println!("secret:  {}", *enrolment.secret().to_base32());
    println!("otpauth: {}\n", *enrolment.uri());
    println!("Then, with the code that it shows (each code passes once):\n");
    println!("  curl {url}/");
    println!("  curl -u alice:wonderland {url}/account");
    println!("  curl -u alice:wonderland -H 'Toopher-OTP: 123456' {url}/account");
    println!("  curl -u alice:wonderland -d 'to=bob&amount=10&otp=123456' {url}/transfer\n");
    println!("Without a phone, `oathtool --totp -b {}` prints the code.", *enrolment.secret().to_base32());
    Ok(())
}
