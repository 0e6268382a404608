//! Walks one path of the crate a number of times: `instructions PATH TIMES`. What is walked is prepared for the most
//! times there can be, whatever `TIMES` says, so that the difference between two runs is the path alone.
//!
//! `check.sh` counts the instructions, and holds them to `budget.txt`.

#[path = "../../support/services.rs"]
mod services;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use services::{Bare, ReadyVerifier};
use tower::{Layer, Service};
use tower_toopher::oauth1::{BaseUri, Credentials, OauthRequest, sign};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
use tower_toopher::{HeaderOrForm, ToopherLayer, UserId};

const MOST: usize = 600;
const PERIOD: u64 = 30;
const START: u64 = 1_700_000_000;
/// Longer than failures are remembered.
const YEAR_AND_MORE: u64 = 400 * 24 * 60 * 60;
const SECRET: [u8; 20] = *b"12345678901234567890";
const FORM: &str = "to=CH9300762011623852957&name=Bob+Miller&street=Long+Lane+7&city=Zurich&amount=1250.00&currency=CHF\
                    &reference=invoice+2026-0815&memo=with+%26+without&date=2026-11-30&csrf=3a7bd3e2360a3d29ee&otp=081804";

type Body = Full<Bytes>;
type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (path, times) = (arguments.next().ok_or("which path?")?, arguments.next().ok_or("how often?")?);
    let times = times.parse::<usize>()?.min(MOST);
    match path.as_str() {
        "granted" => walk(times, layer().layer(Bare), requests(|_| header("081804"))?, 200),
        "refused" => walk(times, layer().layer(Bare), requests(|_| header("000000"))?, 401),
        "skipped" => walk(times, layer().insecure_skip(|_| true).layer(Bare), requests(|_| header("081804"))?, 200),
        "form" => walk(times, layer().extractor(HeaderOrForm::default()).layer(Bare), requests(|_| form(FORM))?, 200),
        "long_form" => {
            let long = (0..2430).map(|i| format!("name-{i:04}=value-{i:04}-{:04}&", i % 97)).collect::<String>();
            let long: &'static str = format!("{long}otp=081804").leak();
            walk(times, layer().extractor(HeaderOrForm::default()).layer(Bare), requests(|_| form(long))?, 200)
        }
        "totp_right" => {
            let totp = Totp::new(Secret::from_bytes(SECRET)?);
            let code = |i| totp.code_at(Duration::from_secs(START + i * PERIOD));
            walk(times, totp_gate(PERIOD)?, requests(|i| header(code(i).as_str()))?, 200)
        }
        "totp_wrong" => walk(times, totp_gate(YEAR_AND_MORE)?, requests(|_| header("000000"))?, 401),
        "sign" | "check" => oauth(times, path == "check"),
        _ => Err("no such path".into()),
    }
}

/// Sends as many of the requests as `times` says.
fn walk<S>(times: usize, mut service: S, requests: Vec<Request<Body>>, status: u16) -> Result<(), Failure>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut requests = requests.into_iter();
    for request in requests.by_ref().take(times) {
        let future = pin!(service.call(black_box(request)));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) if response.status() == status => drop(black_box(response)),
            _ => return Err("the path leads elsewhere".into()),
        }
    }
    // Those that are left would cost the shorter run more.
    std::mem::forget(requests);
    Ok(())
}

fn requests(make: impl Fn(u64) -> http::Result<Request<Body>>) -> http::Result<Vec<Request<Body>>> {
    (0..MOST as u64).map(make).collect()
}

fn header(otp: &str) -> http::Result<Request<Body>> {
    let request = Request::get("/").header("user-agent", "bench").header("host", "localhost");
    request.header("toopher-otp", otp).extension(alice()).body(Body::default())
}

fn form(form: &'static str) -> http::Result<Request<Body>> {
    let request = Request::post("/").header("user-agent", "bench").header("host", "localhost");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.extension(alice()).body(Body::from(form))
}

fn alice() -> UserId {
    UserId::new("alice").unwrap_or_else(|_| unreachable!("it is short, and not empty"))
}

fn layer() -> ToopherLayer<ReadyVerifier> {
    ToopherLayer::new(ReadyVerifier)
}

/// A gate whose clock goes on by as much as `seconds` with each request.
fn totp_gate(
    seconds: u64,
) -> Result<impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>, Failure> {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(Totp::new(Secret::from_bytes(SECRET)?)));
    let clock = Arc::new(AtomicU64::new(START));
    let read = Arc::clone(&clock);
    let verifier =
        TotpVerifier::new(users)?.clock(move || UNIX_EPOCH + Duration::from_secs(read.load(Ordering::Relaxed)));
    let mut gate = ToopherLayer::new(verifier).layer(Bare);
    Ok(tower::service_fn(move |request| {
        let response = gate.call(request);
        let clock = Arc::clone(&clock);
        async move {
            let response = response.await;
            clock.fetch_add(seconds, Ordering::Relaxed);
            response
        }
    }))
}

fn oauth(times: usize, check: bool) -> Result<(), Failure> {
    const PARAMETERS: [(&str, &str); 6] = [
        ("action_name", "transfer 1,250.00 CHF"),
        ("automation_allowed", "false"),
        ("otp", "081804"),
        ("terminal_name", "Zo\u{eb}'s laptop"),
        ("terminal_name_extra", "f0b1c2d3e4a59687"),
        ("user_name", "zoe+alerts@example.test"),
    ];
    const BODY: &[u8] = b"action_name=transfer+1%2C250.00+CHF&automation_allowed=false&otp=081804\
                          &terminal_name=Zo%C3%AB%27s+laptop&terminal_name_extra=f0b1c2d3e4a59687\
                          &user_name=zoe%2Balerts%40example.test";
    let credentials = Credentials::new("4f1c93d0a8b24c6e9d7a51b0c2e8f364", "b7d1e0c95a4f42c8a6d3f1907c5be284")?;
    let base = BaseUri::new("https", "mfa.example.test", "/v1/authentication_requests/initiate")?;
    let sign =
        || sign::authorization(&credentials, "POST", &base, &PARAMETERS, "0123456789abcdef0123456789abcdef", START);
    let header = sign();
    for _ in 0..times {
        if check {
            let request = OauthRequest::parse("POST", base.clone(), [header.as_bytes()], None, Some(BODY))?;
            if !request.is_signed_with(credentials.secret()) {
                return Err("the path leads elsewhere".into());
            }
        } else {
            black_box(sign());
        }
    }
    Ok(())
}
