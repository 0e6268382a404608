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
//! `ADDR` sets the address (default `127.0.0.1:3000`), `HEAD_SECONDS` the seconds within which a client must send the
//! head of a request (default 10).

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{SecondFactor, ToopherLayer, TotpVerifier, UserId};

/// How long the example accepts no connection after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let head_seconds = std::env::var("HEAD_SECONDS").unwrap_or_else(|_| "10".into());
    let head_timeout = head_seconds.parse().map_err(|error| format!("HEAD_SECONDS {head_seconds}: {error}"))?;
    let head_timeout = Duration::from_secs(head_timeout);
    let alice = UserId::new("alice")?;
    let users = MemoryPairings::new();
    let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
    users.insert(alice.clone(), Pairing::confirmed(Totp::new(secret)));

    // Every client is alice here. A real first factor authenticates the user.
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?).identify(move |_| Some(alice.clone()));
    let service = ServiceBuilder::new().layer(second_factor).service(service_fn(hello));

    let listener = TcpListener::bind(&addr).await.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("Listening on http://{}", listener.local_addr()?);
    let mut server = http1::Builder::new();
    // hyper closes a connection without a complete request head within this time, also before the first byte and
    // between two requests. `auto::Builder` of hyper-util has no deadline while it reads the version of HTTP, so silent
    // clients could use up the files of the process.
    server.timer(TokioTimer::new()).header_read_timeout(head_timeout);
    let graceful = GracefulShutdown::new();
    let mut stopped = pin!(example_shutdown::signal());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // If the process has no free file (EMFILE), it has one after a connection has ended. Without the
                    // pause, the loop would use a whole core until then.
                    eprintln!("accept error: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection error: {error}");
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let user = request.extensions().get::<SecondFactor>().map_or("stranger", |factor| factor.user().as_str());
    Ok(Response::new(Full::from(format!("Hello, {user}.\n"))))
}
