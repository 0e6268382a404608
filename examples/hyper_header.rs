//! The gate on plain hyper, without axum.
//!
//! Run with
//!
//! ```sh
//! cargo run --example hyper_header
//! ```
//!
//! and then, in another terminal,
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/
//! curl -i -H "Toopher-OTP: $(oathtool --totp -b GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ)" http://127.0.0.1:3000/
//! ```
//!
//! `ADDR` sets the address (default `127.0.0.1:3000`).

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{SecondFactor, ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    users
        .insert(alice.clone(), Pairing::confirmed(Totp::new(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?)));

    let service = ServiceBuilder::new()
        .layer(
            ToopherLayer::new(TotpVerifier::new(users)?)
                // Everybody is alice here. A real first factor proves who it is.
                .identify(move |_| Some(alice.clone())),
        )
        .service(service_fn(hello));

    let listener = TcpListener::bind(&addr).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let who = request.extensions().get::<SecondFactor>().map_or("nobody", |factor| factor.user().as_str());
    Ok(Response::new(Full::from(format!("Hello, {who}.\n"))))
}
