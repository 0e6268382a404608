//! Timeout, circuit breaker, concurrency limit and load shedding around a verifier whose backend is slow and fails.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-resilient-verifier
//! ```
//!
//! and then, in another terminal,
//!
//! ```sh
//! curl -i -H 'Toopher-OTP: 111111' http://127.0.0.1:3000/
//! curl -i -H 'Toopher-OTP: 222222' http://127.0.0.1:3000/
//! curl -i -H 'Toopher-OTP: 333333' http://127.0.0.1:3000/
//! for i in 1 2 3 4 5 6; do
//!     curl -s -o /dev/null -w '%{http_code}\n' -H 'Toopher-OTP: 222222' http://127.0.0.1:3000/ &
//! done; wait
//! ```
//!
//! The first is granted. The second times out and the third fails; both are answered with 503, the third with the
//! `Retry-After` of the backend. Of the six concurrent requests, two exceed the limit and are rejected immediately.
//! These failures open the breaker: for ten seconds the first line is answered with 503 as well, without a call of the
//! backend.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tower::{ServiceBuilder, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_toopher::verify::{ErrorClass, VerifierError};
use tower_toopher::{Attempt, BoxError, DenyReason, Factor, Otp, Rejection, ToopherLayer, UserId, Verdict};

/// The time for which the breaker stays open before it allows one call.
const OPEN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let alice = UserId::new("alice")?;

    // Opens after five consecutive failures. A denial is a verdict and not a failure, so wrong codes do not open it.
    let breaker = CircuitBreakerLayer::builder().consecutive_failures(5).wait_duration_in_open(OPEN).build()?;

    // As always in tower, the first layer is the outermost. The middleware calls a clone for each request; all clones
    // share the concurrency limit and the breaker.
    let verifier = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(4)
        // `CircuitBreakerError` has no `source`, which would hide the verifier's error from the middleware.
        .map_err(|error: CircuitBreakerError<BoxError>| match error {
            // With a class, for audit events and for routes that fail open.
            CircuitBreakerError::OpenCircuit => VerifierError::new("the breaker is open")
                .with_class(ErrorClass::Unreachable)
                .with_retry_after(OPEN)
                .into(),
            CircuitBreakerError::Inner(error) => error,
        })
        .layer(breaker)
        .timeout(Duration::from_secs(1))
        .service(service_fn(verify));

    // Every client is alice here. A real first factor authenticates the user.
    let second_factor = ToopherLayer::new(verifier).identify(move |_| Some(alice.clone()));
    let app = Router::new()
        .route("/", get(|| async { "You are in.\n" }))
        .layer(second_factor)
        .layer(middleware::from_fn(log_rejections));

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(example_shutdown::signal()).await?;
    Ok(())
}

/// A placeholder for a call of the backend.
async fn verify(attempt: Attempt) -> Result<Verdict, BoxError> {
    match attempt.otp().map(Otp::as_str) {
        None => Ok(Verdict::Denied(DenyReason::OtpRequired)),
        Some("111111") => Ok(Verdict::Granted(Factor::Totp)),
        Some("222222") => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Verdict::Granted(Factor::Totp))
        }
        Some("333333") => {
            Err(VerifierError::new("the backend is restarting").with_retry_after(Duration::from_secs(10)).into())
        }
        Some(_) => Ok(Verdict::Denied(DenyReason::WrongOtp)),
    }
}

/// The response does not contain the cause; the rejection in the response's extensions does.
async fn log_rejections(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        let cause = rejection.source().map(ToString::to_string).unwrap_or_default();
        println!("{} {} {cause}", rejection.status().as_u16(), rejection.kind().name());
    }
    response
}
