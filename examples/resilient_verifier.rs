//! Time limit, circuit breaker, concurrency limit and load shedding around a verifier that is slow and fails at times.
//!
//! Run with
//!
//! ```sh
//! cargo run --example resilient_verifier
//! ```
//!
//! and then, in another terminal,
//!
//! ```sh
//! curl -i -H 'Toopher-OTP: 111111' http://127.0.0.1:3000/
//! curl -i -H 'Toopher-OTP: 222222' http://127.0.0.1:3000/
//! curl -i -H 'Toopher-OTP: 333333' http://127.0.0.1:3000/
//! for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{http_code}\n' -H 'Toopher-OTP: 222222' http://127.0.0.1:3000/ & done; wait
//! ```
//!
//! The first is granted; the second is too slow and the third fails, and both are answered with 503, with
//! `Retry-After` where the verifier says when to come back. Of the six at once, two are shed at once. By then the breaker
//! has seen enough: for ten seconds the first line, too, is answered with 503, and the backend is not asked.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tower::{ServiceBuilder, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_toopher::{
    Attempt, BoxError, DenyReason, Factor, Fault, FaultKind, Rejection, ToopherLayer, Unavailable, UserId, Verdict,
};

/// How long the breaker stays open before it tries one call.
const OPEN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let alice = UserId::new("alice")?;

    // Opens after five failures in a row. Denials are answers and no failures: nobody opens it by guessing.
    let breaker = CircuitBreakerLayer::builder().consecutive_failures(5).wait_duration_in_open(OPEN).build()?;

    // The order is tower's: the first layer is the outermost. Each request asks a clone, and all clones share the
    // concurrency limit and the breaker, since they are clones of the ones that are built here.
    let verifier = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(4)
        // The breaker's error has no `source`: without this, nobody outside would see what is in it.
        .map_err(|error: CircuitBreakerError<BoxError>| match error {
            // With its kind, for audit events, and for routes that open on it.
            CircuitBreakerError::OpenCircuit => {
                Fault::new(FaultKind::Unreachable, Unavailable::new("the breaker is open", OPEN)).into()
            }
            CircuitBreakerError::Inner(error) => error,
        })
        .layer(breaker)
        .timeout(Duration::from_secs(1))
        .service(service_fn(ask_the_backend));

    let gate = ToopherLayer::new(verifier).identify(move |_| Some(alice.clone()));
    let app = Router::new()
        .route("/", get(|| async { "You are in.\n" }))
        .layer(gate)
        .layer(middleware::from_fn(log_refusals));

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn ask_the_backend(attempt: Attempt) -> Result<Verdict, BoxError> {
    match attempt.otp().map(tower_toopher::Otp::as_str) {
        None => Ok(Verdict::Denied(DenyReason::OtpRequired)),
        Some("111111") => Ok(Verdict::Granted(Factor::Totp)),
        Some("222222") => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Verdict::Granted(Factor::Totp))
        }
        Some("333333") => Err(Unavailable::new("the backend is restarting", Duration::from_secs(10)).into()),
        Some(_) => Ok(Verdict::Denied(DenyReason::WrongOtp)),
    }
}

/// What the client is not told stands in the response's extensions.
async fn log_refusals(request: Request<axum::body::Body>, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        let cause = std::error::Error::source(rejection).map(ToString::to_string).unwrap_or_default();
        println!("{} {:?} {cause}", rejection.status().as_u16(), rejection.kind());
    }
    response
}
