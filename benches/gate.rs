//! What the gate costs, beside the bare service and the middleware that people would write instead.
//!
//! Run with `cargo bench --bench gate`. All contenders take turns in one process, so the ratios hold when the speed of
//! the machine does not; each figure is the median over the rounds, with the least and the most. Requests are made
//! outside the measured time. Allocations are counted, not sampled.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_toopher::{Attempt, DenyReason, Factor, Otp, SecondFactor, ToopherLayer, UserId, Verdict};

const BATCH: usize = 1000;
const ROUNDS: usize = 201;
const WARM_UP: usize = 20;

type Body = Full<Bytes>;

fn main() {
    // `cargo test --benches` asks only whether it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };

    compare(
        "plain tower",
        rounds,
        "AsyncRequireAuthorization",
        vec![
            contender("bare service", Bare, || request(Some("081804")), 200),
            contender(
                "AsyncRequireAuthorization",
                AsyncRequireAuthorizationLayer::new(authorize).layer(Bare),
                || request(Some("081804")),
                200,
            ),
            contender(
                "AsyncRequireAuthorization, refused",
                AsyncRequireAuthorizationLayer::new(authorize).layer(Bare),
                || request(Some("000000")),
                401,
            ),
            contender(
                "ValidateRequestHeader::custom",
                ValidateRequestHeaderLayer::custom(validate).layer(Bare),
                || request(Some("081804")),
                200,
            ),
            contender("gate", gate().layer(Bare), || request(Some("081804")), 200),
            contender("gate, refused", gate().layer(Bare), || request(Some("000000")), 401),
            contender("gate, skipped", gate().insecure_skip(|_| true).layer(Bare), || request(None), 200),
            contender("gate, passed an outer one", gate().layer(Bare), passed, 200),
        ],
    );

    let app = || Router::new().route("/", get(|| async { "in" }));
    compare(
        "inside an axum Router",
        rounds,
        "from_fn",
        vec![
            contender("bare Router", app(), axum_request, 200),
            contender("from_fn", app().layer(from_fn(check)), axum_request, 200),
            contender(
                "AsyncRequireAuthorization",
                app().layer(AsyncRequireAuthorizationLayer::new(authorize_axum)),
                axum_request,
                200,
            ),
            contender("gate", app().layer(gate()), axum_request, 200),
            contender("gate outside the Router", gate().layer(app()), axum_request, 200),
        ],
    );
}

// What is compared.

#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
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

fn gate() -> ToopherLayer<ReadyVerifier> {
    ToopherLayer::new(ReadyVerifier)
}

/// The same decision by hand: who, which code, is it right, and the proof for the inner service.
fn decide<B>(request: &mut Request<B>) -> bool {
    let Some(user) = request.extensions().get::<UserId>().cloned() else { return false };
    let otp = request.headers_mut().remove("toopher-otp").and_then(|line| Otp::parse(line.as_bytes()).ok());
    let right = otp.is_some_and(|otp| otp.as_str() == "081804");
    if right {
        request.extensions_mut().insert(SecondFactor::new(user, action(), Factor::Totp));
    }
    right
}

/// Shared, as the gate shares its own.
fn action() -> tower_toopher::Action {
    static ACTION: std::sync::OnceLock<tower_toopher::Action> = std::sync::OnceLock::new();
    ACTION.get_or_init(|| "log in".into()).clone()
}

fn authorize(mut request: Request<Body>) -> Ready<Result<Request<Body>, Response<Body>>> {
    ready(if decide(&mut request) { Ok(request) } else { Err(refusal()) })
}

fn authorize_axum(
    mut request: axum::extract::Request,
) -> Ready<Result<axum::extract::Request, axum::response::Response>> {
    let refused = || refusal().map(axum::body::Body::new);
    ready(if decide(&mut request) { Ok(request) } else { Err(refused()) })
}

fn validate(request: &mut Request<Body>) -> Result<(), Response<Body>> {
    if decide(request) { Ok(()) } else { Err(refusal()) }
}

async fn check(mut request: axum::extract::Request, next: Next) -> axum::response::Response {
    if decide(&mut request) { next.run(request).await } else { refusal().map(axum::body::Body::new) }
}

/// With the headers and the body that the gate gives its own.
fn refusal() -> Response<Body> {
    let json =
        r#"{"type":"urn:tower-toopher:otp_invalid","title":"The one-time password was not accepted","status":401}"#;
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("cache-control", "no-store")
        .header("www-authenticate", "Toopher realm=\"second factor\", error=\"otp_invalid\"")
        .header("content-type", "application/problem+json")
        .header("content-length", json.len())
        .body(Body::from(json))
        .unwrap()
}

// The requests.

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

fn request(otp: Option<&str>) -> Request<Body> {
    let mut request = Request::get("/").extension(alice()).header("user-agent", "bench").header("host", "localhost");
    if let Some(otp) = otp {
        request = request.header("toopher-otp", otp);
    }
    request.body(Body::default()).unwrap()
}

fn passed() -> Request<Body> {
    let mut request = request(None);
    request.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    request
}

fn axum_request() -> axum::extract::Request {
    request(Some("081804")).map(|_| axum::body::Body::empty())
}

// How it is compared.

struct Contender {
    name: &'static str,
    /// Runs one batch and says how long it took.
    batch: Box<dyn FnMut() -> Duration>,
    allocations: u64,
}

fn contender<S, B, R>(
    name: &'static str,
    mut service: S,
    make: impl Fn() -> Request<B> + 'static,
    status: u16,
) -> Contender
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + 'static,
    B: 'static,
    R: 'static,
{
    let call = move |service: &mut S, request: Request<B>| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut future = pin!(service.call(request));
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(Ok(response)) => response,
            _ => unreachable!("everything here is ready at once"),
        }
    };
    assert_eq!(call(&mut service, make()).status(), status, "{name}");
    let mut once = Some(make());
    let counted = allocation_counter::measure(|| drop(call(&mut service, once.take().unwrap())));
    let batch = move || {
        let requests: Vec<_> = (0..BATCH).map(|_| make()).collect();
        let mut responses = Vec::with_capacity(BATCH);
        let start = Instant::now();
        for request in requests {
            responses.push(call(&mut service, request));
        }
        let took = start.elapsed();
        drop(black_box(responses));
        took
    };
    Contender { name, batch: Box::new(batch), allocations: counted.count_total }
}

fn compare(title: &str, rounds: usize, peer: &str, mut contenders: Vec<Contender>) {
    for _ in 0..WARM_UP.min(rounds) {
        for contender in &mut contenders {
            (contender.batch)();
        }
    }
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        // Another one begins each round, so that none always runs in the wake of the same.
        for i in 0..contenders.len() {
            let i = (i + round) % contenders.len();
            times[i].push((contenders[i].batch)().as_nanos() as f64 / BATCH as f64);
        }
    }
    let peer_at = contenders.iter().position(|contender| contender.name == peer).unwrap();
    println!("\n{title}: {rounds} rounds of {BATCH} requests\n");
    println!(
        "{:<36} {:>22} {:>22} {:>26} {:>6}",
        "",
        "ns a request",
        "of the bare one",
        format!("of {peer}"),
        "allocs"
    );
    for (i, contender) in contenders.iter().enumerate() {
        let ratios = |base: usize| times[i].iter().zip(&times[base]).map(|(a, b)| a / b).collect();
        println!(
            "{:<36} {:>22} {:>22} {:>26} {:>6}",
            contender.name,
            spread(times[i].clone(), 0),
            spread(ratios(0), 2),
            spread(ratios(peer_at), 2),
            contender.allocations
        );
    }
}

/// The median, and the least and the most.
fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (min, median, max) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
}
