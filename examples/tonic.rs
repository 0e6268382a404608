//! A gRPC service behind a second factor, refused in gRPC's way.
//!
//! Run with
//!
//! ```sh
//! cargo run --example tonic
//! ```
//!
//! and then, in another terminal, by plain `curl`,
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
//! The first two are refused with `grpc-status: 16` (`UNAUTHENTICATED`), before any message is sent; the third, whose
//! message is the empty one, is let in.
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::error::Error;

use http::request::Parts;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{GrpcStatus, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(UserId::new("alice")?, Pairing::confirmed(Totp::new(secret)));

    // The code is in the call's metadata: `toopher-otp`.
    let gate = ToopherLayer::new(TotpVerifier::new(users)?)
        .identify(first_factor)
        .action("call a service")
        .reject_with(GrpcStatus);

    // Stands for your own services: gRPC's health service is the one that is ready to use.
    let (_, service) = tonic_health::server::health_reporter();

    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    // The layer is around all services that are added, and around the answer to those that are not.
    Server::builder().layer(gate).add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await?;
    Ok(())
}

/// Stands for a token that is checked. Never take a user from what the client can write, as this does.
fn first_factor(parts: &Parts) -> Option<UserId> {
    let token = parts.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    (token == "alice").then(|| UserId::new("alice").ok())?
}
