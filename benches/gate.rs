//! What the gate costs, beside the bare service and the middleware that people would write instead.
//!
//! Run with `cargo bench --bench gate`. Requests are made outside the measured time.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

mod support;

use std::future::{Ready, ready};

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::services::{Bare, ReadyVerifier};
use support::{Contender, compare};
use tower::Layer;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_toopher::{Factor, Otp, SecondFactor, ToopherLayer, UserId};

const BATCH: usize = 1000;
const RIGHT: Option<&str> = Some("081804");
const WRONG: Option<&str> = Some("000000");

type Body = Full<Bytes>;

fn main() {
    let plain = |otp| batch(move || request(otp));
    let authorization = AsyncRequireAuthorizationLayer::new(authorize);
    let validation = ValidateRequestHeaderLayer::custom(validate);
    compare(
        "the gate on a plain tower service",
        vec![
            Contender::service("bare service", Bare, plain(RIGHT), 200),
            Contender::service("AsyncRequireAuthorization", authorization.clone().layer(Bare), plain(RIGHT), 200),
            Contender::service(
                "AsyncRequireAuthorization, refused",
                authorization.clone().layer(Bare),
                plain(WRONG),
                401,
            ),
            Contender::service("ValidateRequestHeader::custom", validation.layer(Bare), plain(RIGHT), 200)
                .against("AsyncRequireAuthorization", None),
            Contender::service("gate", gate().layer(Bare), plain(RIGHT), 200)
                .against("AsyncRequireAuthorization", 1.00),
            Contender::service("gate, refused", gate().layer(Bare), plain(WRONG), 401)
                .against("AsyncRequireAuthorization, refused", 0.95),
            Contender::service("gate, skipped", gate().insecure_skip(|_| true).layer(Bare), plain(None), 200)
                .against("AsyncRequireAuthorization", None),
            Contender::service("gate, passed an outer one", gate().layer(Bare), batch(passed), 200)
                .against("AsyncRequireAuthorization", None),
        ],
    );

    let app = || Router::new().route("/", get(|| async { "in" }));
    let axum = |otp| batch(move || request(otp).map(|_| axum::body::Body::empty()));
    let passed = batch(|| passed().map(|_| axum::body::Body::empty()));
    let authorization = AsyncRequireAuthorizationLayer::new(authorize_axum);
    compare(
        "the gate and an axum Router",
        vec![
            Contender::service("bare Router", app(), axum(RIGHT), 200),
            Contender::service("from_fn", app().layer(from_fn(check)), axum(RIGHT), 200),
            Contender::service("from_fn, refused", app().layer(from_fn(check)), axum(WRONG), 401),
            Contender::service("AsyncRequireAuthorization", app().layer(authorization.clone()), axum(RIGHT), 200)
                .against("from_fn", None),
            Contender::service("AsyncRequireAuthorization outside", authorization.layer(app()), axum(RIGHT), 200)
                .against("from_fn", None),
            Contender::service("gate inside", app().layer(gate()), axum(RIGHT), 200).against("from_fn", 0.87),
            Contender::service("gate inside, refused", app().layer(gate()), axum(WRONG), 401)
                .against("from_fn, refused", None),
            Contender::service("gate inside, skipped", app().layer(gate().insecure_skip(|_| true)), axum(None), 200)
                .against("bare Router", None),
            Contender::service("gate inside, passed an outer one", app().layer(gate()), passed, 200)
                .against("bare Router", None),
            Contender::service("gate outside", gate().layer(app()), axum(RIGHT), 200)
                .against("AsyncRequireAuthorization outside", None),
            Contender::service("gate outside, refused", gate().layer(app()), axum(WRONG), 401)
                .against("from_fn, refused", None),
            Contender::service("gate outside, skipped", gate().insecure_skip(|_| true).layer(app()), axum(None), 200)
                .against("bare Router", None),
        ],
    );
}

/// Many of one request.
fn batch<B>(make: impl Fn() -> Request<B> + 'static) -> impl FnMut() -> Vec<Request<B>> + 'static {
    move || (0..BATCH).map(|_| make()).collect()
}

// What is compared.

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
