//! The gate in axum: every way to put a layer on a route, and what each of them covers.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use common::{CODE, Says, alice};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_toopher::gate::ToopherService;
use tower_toopher::{
    DenyReason, Factor, Header, HeaderOrForm, NotEnrolledPolicy, ProblemJson, RejectionKind, SecondFactor,
    ToopherLayer, Verdict, WithoutSecondFactor,
};

fn by_otp() -> Says {
    Says::new(|attempt| {
        Ok(match attempt.otp() {
            None => Verdict::Denied(DenyReason::OtpRequired),
            Some(otp) if otp.as_str() == CODE => Verdict::Granted(Factor::Totp),
            Some(_) => Verdict::Denied(DenyReason::WrongOtp),
        })
    })
}

fn gate() -> ToopherLayer<Says, HeaderOrForm, ProblemJson> {
    ToopherLayer::new(by_otp()).extractor(HeaderOrForm::default())
}

async fn send(app: &Router, method: &str, path: &str, otp: Option<&str>) -> Response {
    let mut request = Request::builder().method(method).uri(path).extension(alice());
    if let Some(otp) = otp {
        request = request.header("Toopher-OTP", otp);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn status(app: &Router, path: &str, otp: Option<&str>) -> u16 {
    send(app, "GET", path, otp).await.status().as_u16()
}

async fn who(factor: SecondFactor) -> String {
    factor.user().to_string()
}

#[tokio::test]
async fn router_layer_guards_what_was_added_before_it_and_the_fallback() {
    let app = Router::new()
        .route("/before", get(who))
        .nest("/nested", Router::new().route("/route", get(who)).fallback(get(who)))
        .fallback(get(who))
        .layer(gate())
        .route("/after", get(|| async { "open" }));
    for path in ["/before", "/nested/route", "/nested/unknown", "/unknown", "/before/", "//before", "/%62efore"] {
        assert_eq!(status(&app, path, None).await, 401, "{path}");
        assert_eq!(status(&app, path, Some(CODE)).await, 200, "{path}");
    }
    // As axum documents: what is added later stands outside.
    assert_eq!(status(&app, "/after", None).await, 200);
}

#[tokio::test]
async fn route_layer_leaves_the_fallback_out() {
    let app = Router::new().route("/route", get(who)).fallback(|| async { "open" }).route_layer(gate());
    assert_eq!(status(&app, "/route", None).await, 401);
    assert_eq!(status(&app, "/route", Some(CODE)).await, 200);
    assert_eq!(status(&app, "/unknown", None).await, 200);
}

#[tokio::test]
async fn method_router_layer_guards_one_route_in_every_method() {
    let app = Router::new().route("/guarded", any(who).layer(gate())).route("/open", get(|| async { "open" }));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        let refused = send(&app, method, "/guarded", None).await;
        assert_eq!(refused.status(), 401, "{method}");
        assert_eq!(refused.into_body().collect().await.unwrap().to_bytes().is_empty(), method == "HEAD");
        assert_eq!(send(&app, method, "/guarded", Some(CODE)).await.status(), 200, "{method}");
    }
    assert_eq!(status(&app, "/open", None).await, 200);
    // HEAD is routed to a GET handler, and guarded like it.
    let app = Router::new().route("/guarded", get(who).layer(gate()));
    assert_eq!(send(&app, "HEAD", "/guarded", None).await.status(), 401);
    assert_eq!(send(&app, "POST", "/guarded", None).await.status(), 401);
}

#[tokio::test]
async fn service_builder_and_from_fn_around_and_under() {
    async fn mark(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response.headers_mut().append("seen", HeaderValue::from_static("1"));
        response
    }
    let stack = ServiceBuilder::new().layer(from_fn(mark)).layer(gate()).layer(from_fn(mark));
    let app = Router::new().route("/", post(|body: String| async { body })).layer(stack);
    let request = |body: &'static str| {
        Request::post("/")
            .extension(alice())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
    };
    let passed = app.clone().oneshot(request("a=%zz&otp=081804&b=+").unwrap()).await.unwrap();
    assert_eq!(passed.headers().get_all("seen").iter().count(), 2);
    assert_eq!(passed.into_body().collect().await.unwrap().to_bytes(), "a=%zz&otp=081804&b=+");
    let refused = app.oneshot(request("otp=000000").unwrap()).await.unwrap();
    assert_eq!((refused.status(), refused.headers().get_all("seen").iter().count()), (StatusCode::UNAUTHORIZED, 1));
}

#[tokio::test]
async fn an_outer_gate_for_the_same_action_asks_once() {
    let verifier = by_otp();
    let layer = ToopherLayer::new(verifier.clone());
    let inner = Router::new().route("/same", get(who).layer(layer.clone()));
    let app = inner.route("/other", get(who).layer(layer.clone().action("transfer"))).layer(layer);
    assert_eq!(status(&app, "/same", Some(CODE)).await, 200);
    assert_eq!(verifier.calls(), 1);
    // The header went with the first gate: another action is asked for anew.
    assert_eq!(status(&app, "/other", Some(CODE)).await, 401);
}

#[tokio::test]
async fn the_extractor_fails_closed_and_names_the_layer() {
    let app = Router::new()
        .route("/", get(who))
        .route("/optional", get(|factor: Option<SecondFactor>| async move { factor.is_some().to_string() }));
    let response = send(&app, "GET", "/", Some(CODE)).await;
    assert_eq!(response.status(), 500);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("`ToopherLayer`"));
    let body = send(&app, "GET", "/optional", None).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "false");
}

#[tokio::test]
async fn a_pass_without_a_factor_is_no_second_factor_to_a_handler() {
    let layer = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::NotEnrolled)))
        .not_enrolled(NotEnrolledPolicy::PassUnprotected);
    let app = Router::new()
        .route("/strict", get(who))
        .route(
            "/marked",
            get(|request: Request| async move {
                request.extensions().get::<WithoutSecondFactor>().map_or(StatusCode::CONFLICT, |_| StatusCode::OK)
            }),
        )
        .layer(layer);
    assert_eq!(status(&app, "/strict", None).await, 403);
    assert_eq!(status(&app, "/marked", None).await, 200);
}

#[tokio::test]
async fn cors_outside_decorates_refusals_and_answers_preflights() {
    let cors = CorsLayer::new()
        .allow_origin("https://app.test".parse::<HeaderValue>().unwrap())
        .allow_methods([Method::GET])
        .allow_headers([header::HeaderName::from_static("toopher-otp")]);
    let preflight = || {
        let request = Request::options("/").header("origin", "https://app.test");
        let request = request.header("access-control-request-method", "GET");
        request.header("access-control-request-headers", "toopher-otp").body(Body::empty()).unwrap()
    };
    let outside = Router::new().route("/", get(who)).layer(gate()).layer(cors.clone());
    let answer = outside.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["access-control-allow-headers"], "toopher-otp");
    let refused =
        Request::get("/").extension(alice()).header("origin", "https://app.test").body(Body::empty()).unwrap();
    let refused = outside.oneshot(refused).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.test");

    // Inside, a preflight meets the gate first.
    let inside = Router::new().route("/", get(who)).layer(cors.clone()).layer(gate());
    assert_eq!(inside.oneshot(preflight()).await.unwrap().status(), 401);
    let told = Router::new().route("/", get(who)).layer(cors).layer(gate().insecure_pass_cors_preflight());
    assert_eq!(told.clone().oneshot(preflight()).await.unwrap().status(), 200);
    let plain = Request::options("/").header("origin", "https://app.test").body(Body::empty()).unwrap();
    assert_eq!(told.oneshot(plain).await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_reason_reaches_a_layer_outside_and_not_the_client() {
    async fn observe(request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        let kind = response.extensions().get::<tower_toopher::Rejection>().map(tower_toopher::Rejection::kind);
        assert_eq!(kind, Some(RejectionKind::ReplayedOtp));
        response
    }
    let layer = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::ReplayedOtp)));
    let app = Router::new().route("/", get(who)).layer(layer).layer(from_fn(observe));
    let body = send(&app, "GET", "/", Some(CODE)).await.into_body().collect().await.unwrap().to_bytes();
    assert!(!std::str::from_utf8(&body).unwrap().to_lowercase().contains("replay"));
}

#[tokio::test]
async fn the_shortcut_on_the_service_is_the_layer() {
    let layer: ToopherLayer<Says, Header> = ToopherService::layer(by_otp());
    let app = Router::new().route("/", get(who)).layer(layer);
    assert_eq!(status(&app, "/", Some(CODE)).await, 200);
    assert_eq!(status(&app, "/", Some("000000")).await, 401);
    let response: Response = (StatusCode::OK, "unused").into_response();
    assert!(response.extensions().get::<tower_toopher::Rejection>().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_form_ends_at_the_time_limit_outside_and_is_never_no_otp() {
    let verifier = by_otp();
    let app = Router::new()
        .route("/", post(who))
        .layer(ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default()))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)));
    let send = || {
        let stalled =
            futures_util::stream::once(async { Ok::<_, Infallible>("otp=081") }).chain(futures_util::stream::pending());
        let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
        app.clone().oneshot(request.body(Body::from_stream(stalled)).unwrap())
    };
    let answers = futures_util::future::join_all((0..100).map(|_| send())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status() == StatusCode::REQUEST_TIMEOUT));
    assert_eq!(verifier.calls(), 0);
}
