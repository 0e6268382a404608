//! The layer on plain hyper, without axum.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-hyper-header
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
use std::process::ExitCode;

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
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(alice.clone(), Pairing::confirmed(Totp::new(secret)));

    // Every client is alice here. A real first factor authenticates the user.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?).identify(move |_| Some(alice.clone()));
    let service = ServiceBuilder::new().layer(second_factor).service(service_fn(hello));

    let listener = TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                eprintln!("connection error: {error}");
            }
        });
    }
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let user = request.extensions().get::<SecondFactor>().map_or("stranger", |factor| factor.user().as_str());
    Ok(Response::new(Full::from(format!("Hello, {user}.\n"))))
}
