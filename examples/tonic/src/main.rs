//! A gRPC service behind a second factor. Rejections are gRPC statuses.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-tonic
//! ```
//!
//! and then, in another terminal, with plain `curl`,
//!
//! ```sh
//! call() { curl -s --http2-prior-knowledge -D - -o /dev/null -X POST -H 'content-type: application/grpc' \
//!     -H 'te: trailers' "$@" http://127.0.0.1:3000/grpc.health.v1.Health/Check; }
//! call
//! call -H 'authorization: Bearer alice'
//! code=$(oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ)
//! printf '\0\0\0\0\0' | call --data-binary @- -H 'authorization: Bearer alice' -H "toopher-otp: $code"
//! ```
//!
//! The first two are rejected with `grpc-status: 16` (`UNAUTHENTICATED`) before the client sends a message. The third,
//! with an empty message, is granted.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;
use std::process::ExitCode;

use http::request::Parts;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower_toopher::middleware::GrpcStatus;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{ToopherLayer, TotpVerifier, UserId};

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

    // The code is in the call's metadata: `toopher-otp`.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?)
        .identify(first_factor)
        .action("call a service")
        .reject_with(GrpcStatus);

    // A placeholder for your own services: gRPC's health service needs no generated code.
    let (_, service) = tonic_health::server::health_reporter();

    let listener = tokio::net::TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    // The layer wraps all services, and the fallback for unknown ones.
    Server::builder()
        .layer(second_factor)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), example_shutdown::signal())
        .await?;
    Ok(())
}

/// A placeholder for a token that is verified. A real service never reads the user from a value that the client can
/// choose.
fn first_factor(parts: &Parts) -> Option<UserId> {
    let token = parts.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    (token == "alice").then(|| UserId::new("alice").ok())?
}
