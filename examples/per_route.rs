//! One verifier, several actions: each route says what it asks the factor for, one is skipped, one is guarded twice
//! and asks once.
//!
//! Run with
//!
//! ```sh
//! cargo run --example per_route
//! ```
//!
//! and then, in another terminal (each code passes once, so wait for the next one in between),
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

use axum::Router;
use axum::routing::{get, post};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{HeaderOrForm, SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app()?).await?;
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(alice.clone(), Pairing::confirmed(Totp::new(secret)));

    // Clones of a layer share the verifier: a code that was used on one route is used on all.
    let gate = ToopherLayer::new(TotpVerifier::new(users)?)
        // Everybody is alice here. A real first factor proves who it is.
        .identify(move |_| Some(alice.clone()));
    let admin = gate.clone().action("administer");

    let administration = Router::new()
        .route("/health", get(|| async { "healthy\n" }))
        // Guarded once more, for the same action: the layer around it has asked already.
        .route("/users", get(done).layer(admin.clone()))
        .route("/log", get(done))
        // Inside `nest` a path has lost its prefix. The whole of it is compared: `/health/` is another.
        .layer(admin.insecure_skip(|parts| parts.uri.path() == "/health"));

    Ok(Router::new()
        .route("/profile", get(done).layer(gate.clone().action("change the profile")))
        .route("/transfer", post(done).layer(gate.extractor(HeaderOrForm::default()).action("transfer money")))
        .nest("/admin", administration))
}

async fn done(factor: SecondFactor) -> String {
    format!("{} may {}.\n", factor.user(), factor.action().as_str())
}

/// The test that every application should have: each of its routes, asked without an OTP.
#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    #[tokio::test]
    async fn every_route_but_the_health_check_is_guarded() {
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
