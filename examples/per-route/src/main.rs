//! One verifier, several actions. Each route names the action that the user confirms. One route is public, and one is
//! inside two layers of the same action, which ask once.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-per-route
//! ```
//!
//! and then, in another terminal (each code is accepted once, so wait 30 seconds between the requests),
//!
//! ```sh
//! otp() { oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ; }
//! curl -i http://127.0.0.1:3000/admin/health
//! curl -i -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/profile
//! curl -i -H "Toopher-OTP: $(otp)" -d amount=10 http://127.0.0.1:3000/transfer
//! curl -i -H "Toopher-OTP: $(otp)" http://127.0.0.1:3000/admin/users
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::process::ExitCode;

use axum::Router;
use axum::routing::{get, post};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()?).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(alice.clone(), Pairing::confirmed(Totp::new(secret)));

    // Clones of a layer share the verifier: a code that was accepted on one route is used on all of them.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?)
        // Every client is alice here. A real first factor authenticates the user.
        .identify(move |_| Some(alice.clone()));
    let admin = second_factor.clone().action("administer");

    let administration = Router::new()
        .route("/health", get(|| async { "healthy\n" }))
        // A second layer with the same action accepts the factor that the outer layer has verified.
        .route("/users", get(done).layer(admin.clone()))
        .route("/log", get(done))
        // `nest` removes the prefix from the path. The comparison is exact: `/health/` is protected.
        .layer(admin.insecure_skip(|parts| parts.uri.path() == "/health"));

    let transfer = second_factor.clone().extractor(HeaderOrForm::default()).action("transfer money");
    Ok(Router::new()
        .route("/profile", get(done).layer(second_factor.action("change the profile")))
        .route("/transfer", post(done).layer(transfer))
        .nest("/admin", administration))
}

async fn done(factor: SecondFactor) -> String {
    format!("{} may {}.\n", factor.user(), factor.action().as_str())
}

/// Each application should have this test: it requests every route without an OTP.
#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    #[tokio::test]
    #[allow(clippy::unwrap_used)]
    async fn every_route_but_the_health_check_is_protected() {
        for (method, path, status) in [
            ("GET", "/profile", 401),
            ("HEAD", "/profile", 401),
            ("POST", "/transfer", 401),
            ("GET", "/admin/users", 401),
            ("GET", "/admin/log", 401),
            ("GET", "/admin/health", 200),
            ("GET", "/admin/health/", 404),
            ("GET", "/admin//health", 404),
            ("GET", "/admin/%68ealth", 404),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = super::app().unwrap().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
        }
    }
}
