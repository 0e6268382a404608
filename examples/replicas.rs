//! Two processes, one Redis, one code: exactly one pass.
//!
//! Run with
//!
//! ```sh
//! cargo run --example replicas --features redis
//! ```
//!
//! It starts the same service twice, each in a process of its own, and sends both of them one code at once, again and
//! again, each time that of another user. `REDIS_URL` says which Redis they share; without it a `redis-server` is
//! started for the while, if that is installed. `ROUNDS` sets how often (default 20). While it waits at the end
//! (`WAIT=1`), you can try by hand, at both addresses:
//!
//! ```sh
//! curl -i -u tim:wonderland -H 'Toopher-OTP: 123456' http://127.0.0.1:PORT/
//! ```

use std::error::Error;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::request::Parts;
use axum::routing::get;
use axum_extra::headers::HeaderMapExt;
use axum_extra::headers::authorization::{Authorization, Basic};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tower_toopher::store::RedisStore;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{ToopherLayer, TotpVerifier, UserId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::var("ROUNDS").ok().map_or(Ok(20), |rounds| rounds.parse())?;
    match std::env::args().nth(1) {
        Some(prefix) => replica(&prefix, rounds).await,
        None => race(rounds).await,
    }
}

/// One of the two services.
async fn replica(prefix: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let store = RedisStore::new(&std::env::var("REDIS_URL")?)?.prefix(prefix)?;
    // A process that cannot do its work says so at once.
    store.check().await?;

    let totp = Totp::new(Secret::from_base32(&std::env::var("SECRET")?)?);
    let users = MemoryPairings::new();
    for name in (1..=rounds).map(|round| format!("user{round}")).chain(["tim".to_owned()]) {
        users.insert(UserId::new(name)?, Pairing::confirmed(totp.clone()));
    }
    let verifier = TotpVerifier::new(users)?.store(store);
    let app =
        Router::new().route("/", get(|| async { "passed\n" })).layer(ToopherLayer::new(verifier).identify(account));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    // It ends with the process that started it.
    let ended = async { while tokio::io::stdin().read_u8().await.is_ok() {} };
    axum::serve(listener, app).with_graceful_shutdown(ended).await?;
    Ok(())
}

/// The first factor. A real one compares a salted hash.
fn account(parts: &Parts) -> Option<UserId> {
    let Authorization(basic) = parts.headers.typed_get::<Authorization<Basic>>()?;
    (basic.password() == "wonderland").then(|| UserId::new(basic.username()).ok())?
}

/// Starts both, and sends them one code at once.
async fn race(rounds: usize) -> Result<(), Box<dyn Error>> {
    let (redis_url, _redis) = match std::env::var("REDIS_URL") {
        Ok(url) => (url, None),
        Err(_) => redis_server().await.map(|(url, server)| (url, Some(server)))?,
    };
    let secret = Secret::generate()?;
    let totp = Totp::new(secret.clone());
    // Keys of this run alone, since the names of its users are those of every run.
    let prefix = format!("replicas:{}:{}", std::process::id(), since_epoch()?.as_millis());

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
        let output = process.stdout.take().ok_or("a process without an output")?;
        let address = BufReader::new(output).lines().next_line().await?.ok_or("a replica did not start: see above")?;
        println!("replica {} listens on http://{address}", replicas.len() + 1);
        replicas.push((address, process));
    }

    let client = reqwest::Client::new();
    let mut once = 0;
    for round in 1..=rounds {
        let code = totp.code_at(since_epoch()?);
        let send = |address: &str| {
            let request =
                client.get(format!("http://{address}/")).basic_auth(format!("user{round}"), Some("wonderland"));
            request.header("Toopher-OTP", code.as_str()).send()
        };
        let (first, second) = tokio::try_join!(send(&replicas[0].0), send(&replicas[1].0))?;
        let statuses = (first.status().as_u16(), second.status().as_u16());
        println!("round {round}: replica 1 says {}, replica 2 says {}", statuses.0, statuses.1);
        once += usize::from(matches!(statuses, (200, 401) | (401, 200)));
    }
    println!("{rounds} rounds: in {once} of them one of the two passed, and the other was refused.");
    if std::env::var_os("WAIT").is_some() {
        println!("The secret of tim is {}. Press enter to end.", *secret.to_base32());
        BufReader::new(tokio::io::stdin()).lines().next_line().await?;
    }
    if once == rounds { Ok(()) } else { Err("one code did not pass exactly once".into()) }
}

/// A Redis that is gone when this is.
async fn redis_server() -> Result<(String, Child), Box<dyn Error>> {
    // Redis does not choose a port by itself.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            format!("no REDIS_URL, and redis-server cannot be started ({error}): set the one, or install the other")
        })?;
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

fn since_epoch() -> Result<Duration, Box<dyn Error>> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
