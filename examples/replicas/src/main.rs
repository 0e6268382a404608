//! Two processes that share one Redis: each code is accepted exactly once.
//!
//! Run with
//!
//! ```sh
//! cargo run -p example-replicas
//! ```
//!
//! It starts the same service in two processes and sends the same code to both at the same time, in each round for
//! another user. `REDIS_URL` sets the Redis server; without it the example starts a `redis-server`, if one is
//! installed. `ROUNDS` sets the number of rounds (default 20). With `WAIT=1` it keeps the services running at the end,
//! so that you can send requests to both:
//!
//! ```sh
//! curl -i -u tim:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:PORT/
//! ```

use std::error::Error;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use data_encoding::BASE64;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tower_toopher::store::RedisStore;
use tower_toopher::time::Clock;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let rounds = match std::env::var("ROUNDS") {
        Ok(rounds) => rounds.parse().map_err(|error| format!("ROUNDS {rounds}: {error}"))?,
        Err(_) => 20,
    };
    // The example starts itself as a replica, with one argument.
    match std::env::args().nth(1) {
        Some(prefix) => replica(&prefix, rounds).await,
        None => tokio::select! {
            result = race(rounds) => result,
            // The replicas and the Redis server end with this process.
            () = example_shutdown::signal() => Ok(()),
        },
    }
}

/// One of the two services.
async fn replica(prefix: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let variable = |name| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let store = redis_store(&variable("REDIS_URL")?).await?.prefix(prefix)?;

    let secret = Secret::from_base32(&variable("SECRET")?).map_err(|error| format!("SECRET: {error}"))?;
    let totp = Totp::new(secret);
    let users = MemoryPairings::new();
    for name in (1..=rounds).map(|round| format!("user{round}")).chain(["tim".to_owned()]) {
        users.insert(UserId::new(name)?, Pairing::confirmed(totp.clone()));
    }
    let second_factor = ToopherLayer::new(TotpVerifier::new(users)?.store(store)).identify(first_factor);
    let app = Router::new().route("/", get(|| async { "accepted\n" })).layer(second_factor);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    // The standard input ends with the parent process.
    let parent_exited = async { while tokio::io::stdin().read_u8().await.is_ok() {} };
    axum::serve(listener, app).with_graceful_shutdown(parent_exited).await?;
    Ok(())
}

/// Fails at the start and not at the first request. The URL may contain a password, so the error does not repeat it.
async fn redis_store(url: &str) -> Result<RedisStore, Box<dyn Error>> {
    let store = RedisStore::new(url).map_err(|error| format!("REDIS_URL: {error}"))?;
    store.check().await.map_err(|error| format!("REDIS_URL: {error}"))?;
    Ok(store)
}

/// HTTP Basic with one password for all users. A real service compares a salted hash, in constant time.
fn first_factor(parts: &Parts) -> Option<UserId> {
    let encoded = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let credentials = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
    UserId::new(credentials.strip_suffix(":wonderland")?.to_owned()).ok()
}

/// Starts both services, and sends the same code to both in each round.
async fn race(rounds: usize) -> Result<(), Box<dyn Error>> {
    let (redis_url, _redis) = match std::env::var("REDIS_URL") {
        Ok(url) => {
            redis_store(&url).await?;
            (url, None)
        }
        Err(_) => redis_server().await.map(|(url, server)| (url, Some(server)))?,
    };
    let secret = Secret::generate()?;
    let totp = Totp::new(secret.clone());
    // Each run needs keys of its own, because the user names are the same in every run.
    let prefix = format!("replicas:{}:{}", std::process::id(), Clock::system().now()?.since_epoch().as_millis());

    let mut replicas = Vec::new();
    for _ in 0..2 {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(&prefix)
            .env("REDIS_URL", &redis_url)
            .env("SECRET", secret.to_base32().as_str())
            .env("ROUNDS", rounds.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("a replica has no standard output")?;
        let address = BufReader::new(output).lines().next_line().await?.ok_or("a replica failed to start")?;
        println!("replica {} listens on http://{address}", replicas.len() + 1);
        replicas.push((address, process));
    }

    let mut once = 0;
    for round in 1..=rounds {
        let (user, code) = (format!("user{round}"), totp.code_at(Clock::system().now()?));
        let (first, second) =
            tokio::try_join!(send(&replicas[0].0, &user, code.as_str()), send(&replicas[1].0, &user, code.as_str()))?;
        println!("round {round}: replica 1 answers {}, replica 2 answers {}", first.as_u16(), second.as_u16());
        once += usize::from(matches!((first.as_u16(), second.as_u16()), (200, 401) | (401, 200)));
    }
    println!("{rounds} rounds: in {once} of them exactly one replica accepted the code.");
    if std::env::var_os("WAIT").is_some() {
        println!("The secret of tim is {}. Press enter to end.", *secret.to_base32());
        BufReader::new(tokio::io::stdin()).lines().next_line().await?;
    }
    if once == rounds { Ok(()) } else { Err("a code was not accepted exactly once".into()) }
}

/// Sends one request, and returns the status of the response.
async fn send(address: &str, user: &str, code: &str) -> Result<StatusCode, Box<dyn Error>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
    tokio::spawn(connection);
    let credentials = BASE64.encode(format!("{user}:wonderland").as_bytes());
    let request = Request::get("/")
        .header(header::HOST, address)
        .header(header::AUTHORIZATION, format!("Basic {credentials}"))
        .header("Toopher-OTP", code)
        .body(Body::empty())?;
    Ok(sender.send_request(request).await?.status())
}

/// Starts a Redis server that ends with this process.
async fn redis_server() -> Result<(String, Child), Box<dyn Error>> {
    // Redis cannot choose a free port.
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let mut server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("REDIS_URL is not set, and redis-server cannot be started: {error}"))?;
    let url = format!("redis://127.0.0.1:{port}");
    let store = RedisStore::new(&url)?;
    for _ in 0..100 {
        if store.check().await.is_ok() {
            println!("redis-server at {url}");
            return Ok((url, server));
        }
        if let Some(status) = server.try_wait()? {
            return Err(format!("redis-server ended: {status}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("redis-server does not answer".into())
}
