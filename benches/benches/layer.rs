//! The cost of the layer, compared with the bare service and with the middleware that an application would write
//! instead. Requests are made outside the measured time.
//!
//! Run with `cargo bench -p tower-toopher-benches --bench layer`, and with `--features full` to measure tower-toopher
//! with all its features.
#![allow(clippy::result_large_err)]

use std::future::{Ready, ready};
use std::sync::OnceLock;

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Layer;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tower_toopher::{Action, Factor, Otp, SecondFactor, ToopherLayer, UserId};
use tower_toopher_benches::services::{InnerService, ReadyVerifier, refusal};
use tower_toopher_benches::{Contender, compare};

const BATCH_SIZE: usize = 1000;
const RIGHT: Option<&str> = Some("081804");
const WRONG: Option<&str> = Some("000000");

type Body = Full<Bytes>;

fn main() {
    compare_on_tower();
    compare_in_router();
}

fn compare_on_tower() {
    let requests = |otp| batch(move || request(otp));
    let authorization = AsyncRequireAuthorizationLayer::new(authorize);
    let validation = ValidateRequestHeaderLayer::custom(validate);
    compare(
        "the layer on a plain tower service",
        vec![
            Contender::service("bare service", InnerService, requests(RIGHT), 200),
            Contender::service(
                "AsyncRequireAuthorization",
                authorization.clone().layer(InnerService),
                requests(RIGHT),
                200,
            ),
            Contender::service(
                "AsyncRequireAuthorization, refused",
                authorization.layer(InnerService),
                requests(WRONG),
                401,
            ),
            Contender::service("ValidateRequestHeader::custom", validation.layer(InnerService), requests(RIGHT), 200)
                .relative_to("AsyncRequireAuthorization", None),
            Contender::service("layer", layer().layer(InnerService), requests(RIGHT), 200)
                .relative_to("AsyncRequireAuthorization", 1.30),
            Contender::service("layer, refused", layer().layer(InnerService), requests(WRONG), 401)
                .relative_to("AsyncRequireAuthorization, refused", 0.92),
            Contender::service(
                "layer, skipped",
                layer().insecure_skip(|_| true).layer(InnerService),
                requests(None),
                200,
            )
            .relative_to("AsyncRequireAuthorization", None),
            Contender::service("layer, passed an outer one", layer().layer(InnerService), batch(verified_request), 200)
                .relative_to("AsyncRequireAuthorization", None),
        ],
    );
}

fn compare_in_router() {
    let app = || Router::new().route("/", get(|| async { "in" }));
    // `axum::serve` does this once for each connection. A `Router` without it applies its layers to each request.
    let served = |router: Router| router.with_state::<()>(());
    let requests = |otp| batch(move || request(otp).map(|_| axum::body::Body::empty()));
    let verified = batch(|| verified_request().map(|_| axum::body::Body::empty()));
    let authorization = AsyncRequireAuthorizationLayer::new(authorize_axum);
    let skipping = || layer().insecure_skip(|_| true);
    compare(
        "the layer and an axum Router",
        vec![
            Contender::service("bare Router", served(app()), requests(RIGHT), 200),
            Contender::service("from_fn", served(app().layer(from_fn(check))), requests(RIGHT), 200),
            Contender::service("from_fn, refused", served(app().layer(from_fn(check))), requests(WRONG), 401),
            Contender::service(
                "AsyncRequireAuthorization",
                served(app().layer(authorization.clone())),
                requests(RIGHT),
                200,
            )
            .relative_to("from_fn", None),
            Contender::service(
                "AsyncRequireAuthorization outside",
                authorization.layer(served(app())),
                requests(RIGHT),
                200,
            )
            .relative_to("from_fn", None),
            Contender::service("layer inside", served(app().layer(layer())), requests(RIGHT), 200)
                .relative_to("from_fn", 0.90),
            Contender::service("layer inside, refused", served(app().layer(layer())), requests(WRONG), 401)
                .relative_to("from_fn, refused", None),
            Contender::service("layer inside, skipped", served(app().layer(skipping())), requests(None), 200)
                .relative_to("bare Router", None),
            Contender::service("layer inside, passed an outer one", served(app().layer(layer())), verified, 200)
                .relative_to("bare Router", None),
            Contender::service("layer outside", layer().layer(served(app())), requests(RIGHT), 200)
                .relative_to("AsyncRequireAuthorization outside", None),
            Contender::service("layer outside, refused", layer().layer(served(app())), requests(WRONG), 401)
                .relative_to("from_fn, refused", None),
            Contender::service("layer outside, skipped", skipping().layer(served(app())), requests(None), 200)
                .relative_to("bare Router", None),
        ],
    );
}

// The contenders.

fn layer() -> ToopherLayer<ReadyVerifier> {
    ToopherLayer::new(ReadyVerifier)
}

/// Decides as the layer and the verifier do: finds the user, parses and compares the code, and inserts the
/// `SecondFactor` for the inner service.
fn decide<B>(request: &mut Request<B>) -> bool {
    let Some(user) = request.extensions().get::<UserId>().cloned() else { return false };
    let otp = request.headers_mut().remove("toopher-otp").and_then(|line| Otp::parse(line.as_bytes()).ok());
    let is_right = otp.is_some_and(|otp| otp.as_str() == "081804");
    if is_right {
        request.extensions_mut().insert(SecondFactor::new(user, action(), Factor::Totp));
    }
    is_right
}

/// Returns a shared action, as the layer does.
fn action() -> Action {
    static ACTION: OnceLock<Action> = OnceLock::new();
    ACTION.get_or_init(|| "log in".into()).clone()
}

fn authorize(mut request: Request<Body>) -> Ready<Result<Request<Body>, Response<Body>>> {
    ready(if decide(&mut request) { Ok(request) } else { Err(refusal()) })
}

fn authorize_axum(
    mut request: axum::extract::Request,
) -> Ready<Result<axum::extract::Request, axum::response::Response>> {
    ready(if decide(&mut request) { Ok(request) } else { Err(refusal().map(axum::body::Body::new)) })
}

fn validate(request: &mut Request<Body>) -> Result<(), Response<Body>> {
    if decide(request) { Ok(()) } else { Err(refusal()) }
}

async fn check(mut request: axum::extract::Request, next: Next) -> axum::response::Response {
    if decide(&mut request) { next.run(request).await } else { refusal().map(axum::body::Body::new) }
}

// The requests.

fn batch<B>(make: impl Fn() -> Request<B> + 'static) -> impl FnMut() -> Vec<Request<B>> + 'static {
    move || (0..BATCH_SIZE).map(|_| make()).collect()
}

fn user() -> UserId {
    UserId::new("alice").unwrap()
}

fn request(otp: Option<&str>) -> Request<Body> {
    let mut request = Request::get("/").extension(user()).header("user-agent", "bench").header("host", "localhost");
    if let Some(otp) = otp {
        request = request.header("toopher-otp", otp);
    }
    request.body(Body::default()).unwrap()
}

/// Returns a request that an outer layer has verified.
fn verified_request() -> Request<Body> {
    let mut request = request(None);
    request.extensions_mut().insert(SecondFactor::new(user(), "log in", Factor::Totp));
    request
}
