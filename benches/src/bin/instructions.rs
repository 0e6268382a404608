//! Runs one path of tower-toopher a number of times: `instructions PATH COUNT`.
//!
//! `instructions.sh` counts the instructions of two runs and compares the difference with `instructions-budget.txt`.
//! Every run prepares the inputs of [`MAX_COUNT`] repetitions, so two runs differ only in the repetitions of the path.
//! This program does not use the library of this package: linking it would install an allocator that counts.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use toopher_oauth1::{BaseUri, Credentials, OauthRequest, sign};
use tower::{Layer, Service, service_fn};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{Attempt, DenyReason, Factor, HeaderOrForm, ToopherLayer, TotpVerifier, UserId, Verdict};

const MAX_COUNT: usize = 600;
const PERIOD_SECONDS: u64 = 30;
const START: u64 = 1_700_000_000;
/// Longer than a store records failures.
const OVER_A_YEAR_SECONDS: u64 = 400 * 24 * 60 * 60;
const SECRET: [u8; 20] = *b"12345678901234567890";
const FORM: &str = "to=CH9300762011623852957&name=Bob+Miller&street=Long+Lane+7&city=Zurich&amount=1250.00\
                    &currency=CHF&reference=invoice+2026-0815&memo=with+%26+without&date=2026-11-30\
                    &csrf=3a7bd3e2360a3d29ee&otp=081804";

type Body = Full<Bytes>;
type BoxError = Box<dyn Error>;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("the argument PATH is missing")?;
    let count = arguments.next().ok_or("the argument COUNT is missing")?.parse::<usize>()?.min(MAX_COUNT);
    match path.as_str() {
        "granted" => run(count, layer().layer(InnerService), requests(|_| header("081804"))?, 200),
        "refused" => run(count, layer().layer(InnerService), requests(|_| header("000000"))?, 401),
        "skipped" => {
            let service = layer().insecure_skip(|_| true).layer(InnerService);
            run(count, service, requests(|_| header("081804"))?, 200)
        }
        "form" => run_form(count, FORM),
        "long_form" => {
            let fields = (0..2430).map(|i| format!("name-{i:04}=value-{i:04}-{:04}&", i % 97)).collect::<String>();
            run_form(count, format!("{fields}otp=081804").leak())
        }
        "totp_right" => {
            let totp = Totp::new(Secret::from_bytes(SECRET)?);
            let code = |i| totp.code_at(UnixTime::from_secs(START + i * PERIOD_SECONDS));
            run(count, totp_service(PERIOD_SECONDS)?, requests(|i| header(code(i).as_str()))?, 200)
        }
        "totp_wrong" => run(count, totp_service(OVER_A_YEAR_SECONDS)?, requests(|_| header("000000"))?, 401),
        "sign" => run_sign(count),
        "check" => run_check(count),
        _ => Err(format!("unknown path: {path}").into()),
    }
}

/// Sends the first `count` requests.
fn run<S>(count: usize, mut service: S, requests: Vec<Request<Body>>, expected_status: u16) -> Result<(), BoxError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut requests = requests.into_iter();
    for request in requests.by_ref().take(count) {
        let future = pin!(service.call(black_box(request)));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) if response.status() == expected_status => drop(black_box(response)),
            _ => return Err("unexpected response".into()),
        }
    }
    // Dropping the remaining requests would cost the run with fewer repetitions more.
    std::mem::forget(requests);
    Ok(())
}

fn run_form(count: usize, form: &'static str) -> Result<(), BoxError> {
    let service = layer().extractor(HeaderOrForm::default()).layer(InnerService);
    run(count, service, requests(|_| form_request(form))?, 200)
}

// The inner service, the verifier and the layer.

/// Responds at once with an empty body.
#[derive(Clone)]
struct InnerService;

impl Service<Request<Body>> for InnerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Body::default())))
    }
}

/// Accepts the code `081804` and returns its verdict at once.
#[derive(Clone)]
struct ReadyVerifier;

impl Service<Attempt> for ReadyVerifier {
    type Response = Verdict;
    type Error = Infallible;
    type Future = Ready<Result<Verdict, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        ready(Ok(match attempt.otp() {
            Some(otp) if otp.as_str() == "081804" => Verdict::Granted(Factor::Totp),
            _ => Verdict::Denied(DenyReason::WrongOtp),
        }))
    }
}

fn layer() -> ToopherLayer<ReadyVerifier> {
    ToopherLayer::new(ReadyVerifier)
}

/// Verifies codes with a clock that advances by `seconds` after each request.
fn totp_service(
    seconds: u64,
) -> Result<impl Service<Request<Body>, Response = Response<Body>, Error = Infallible>, BoxError> {
    let users = MemoryPairings::new();
    users.insert(user()?, Pairing::confirmed(Totp::new(Secret::from_bytes(SECRET)?)));
    let clock = Arc::new(AtomicU64::new(START));
    let read = Arc::clone(&clock);
    let verifier = TotpVerifier::new(users)?.clock(move || UnixTime::from_secs(read.load(Ordering::Relaxed)));
    let mut service = ToopherLayer::new(verifier).layer(InnerService);
    Ok(service_fn(move |request| {
        let response = service.call(request);
        let clock = Arc::clone(&clock);
        async move {
            let response = response.await;
            clock.fetch_add(seconds, Ordering::Relaxed);
            response
        }
    }))
}

// Requests.

fn requests(make: impl Fn(u64) -> Result<Request<Body>, BoxError>) -> Result<Vec<Request<Body>>, BoxError> {
    (0..MAX_COUNT as u64).map(make).collect()
}

fn header(otp: &str) -> Result<Request<Body>, BoxError> {
    let request = Request::get("/").header("user-agent", "bench").header("host", "localhost");
    Ok(request.header("toopher-otp", otp).extension(user()?).body(Body::default())?)
}

fn form_request(form: &'static str) -> Result<Request<Body>, BoxError> {
    let request = Request::post("/").header("user-agent", "bench").header("host", "localhost");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    Ok(request.extension(user()?).body(Body::from(form))?)
}

fn user() -> Result<UserId, BoxError> {
    Ok(UserId::new("alice")?)
}

// OAuth 1.0a.

const NONCE: &str = "0123456789abcdef0123456789abcdef";
const PARAMETERS: [(&str, &str); 6] = [
    ("action_name", "transfer 1,250.00 CHF"),
    ("automation_allowed", "false"),
    ("otp", "081804"),
    ("terminal_name", "Zo\u{eb}'s laptop"),
    ("terminal_name_extra", "f0b1c2d3e4a59687"),
    ("user_name", "zoe+alerts@example.test"),
];
/// [`PARAMETERS`] as a form.
const PARAMETERS_FORM: &[u8] = b"action_name=transfer+1%2C250.00+CHF&automation_allowed=false&otp=081804\
                                 &terminal_name=Zo%C3%AB%27s+laptop&terminal_name_extra=f0b1c2d3e4a59687\
                                 &user_name=zoe%2Balerts%40example.test";

fn credentials() -> Result<Credentials, BoxError> {
    Ok(Credentials::new("4f1c93d0a8b24c6e9d7a51b0c2e8f364", "b7d1e0c95a4f42c8a6d3f1907c5be284")?)
}

fn base_uri() -> Result<BaseUri, BoxError> {
    Ok(BaseUri::new("https", "mfa.example.test", "/v1/authentication_requests/initiate")?)
}

fn run_sign(count: usize) -> Result<(), BoxError> {
    let (credentials, base) = (credentials()?, base_uri()?);
    for _ in 0..count {
        black_box(sign::authorization(&credentials, "POST", &base, &PARAMETERS, NONCE, START));
    }
    Ok(())
}

fn run_check(count: usize) -> Result<(), BoxError> {
    let (credentials, base) = (credentials()?, base_uri()?);
    let header = sign::authorization(&credentials, "POST", &base, &PARAMETERS, NONCE, START);
    for _ in 0..count {
        let request = OauthRequest::parse("POST", base.clone(), [header.as_bytes()], None, Some(PARAMETERS_FORM))?;
        if request.signed_parameters(credentials.secret(), &[]).is_none() {
            return Err("the signature does not match".into());
        }
    }
    Ok(())
}
