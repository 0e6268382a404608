//! The layer in axum: every way to add it to a route, and which requests it then verifies.
use std::convert::Infallible;
use std::time::Duration;

use crate::support::{CODE, ScriptedVerifier, alice};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_toopher::middleware::{NotEnrolledPolicy, ProblemJson};
use tower_toopher::verify::Bypassed;
use tower_toopher::{
    DenyReason, Factor, Header, HeaderOrForm, Rejection, RejectionKind, SecondFactor, ToopherLayer, Verdict,
};

fn otp_verifier() -> ScriptedVerifier {
    ScriptedVerifier::new(|attempt| {
        Ok(match attempt.otp() {
            None => Verdict::Denied(DenyReason::OtpRequired),
            Some(otp) if otp.as_str() == CODE => Verdict::Granted(Factor::Totp),
            Some(_) => Verdict::Denied(DenyReason::WrongOtp),
        })
    })
}

fn layer() -> ToopherLayer<ScriptedVerifier, HeaderOrForm, ProblemJson> {
    ToopherLayer::new(otp_verifier()).extractor(HeaderOrForm::default())
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

async fn user(factor: SecondFactor) -> String {
    factor.user().to_string()
}

#[tokio::test]
async fn router_layer_applies_to_earlier_routes_and_the_fallback() {
    let app = Router::new()
        .route("/before", get(user))
        .nest("/nested", Router::new().route("/route", get(user)).fallback(get(user)))
        .fallback(get(user))
        .layer(layer())
        .route("/after", get(|| async { "open" }));
    for path in ["/before", "/nested/route", "/nested/unknown", "/unknown", "/before/", "//before", "/%62efore"] {
        assert_eq!(status(&app, path, None).await, 401, "{path}");
        assert_eq!(status(&app, path, Some(CODE)).await, 200, "{path}");
    }
    // As axum documents, it does not apply to a route that is added later.
    assert_eq!(status(&app, "/after", None).await, 200);
}

#[tokio::test]
async fn route_layer_does_not_apply_to_the_fallback() {
    let app = Router::new().route("/route", get(user)).fallback(|| async { "open" }).route_layer(layer());
    assert_eq!(status(&app, "/route", None).await, 401);
    assert_eq!(status(&app, "/route", Some(CODE)).await, 200);
    assert_eq!(status(&app, "/unknown", None).await, 200);
}

#[tokio::test]
async fn method_router_layer_applies_to_every_method_of_one_route() {
    let app = Router::new().route("/protected", any(user).layer(layer())).route("/open", get(|| async { "open" }));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        let refused = send(&app, method, "/protected", None).await;
        assert_eq!(refused.status(), 401, "{method}");
        assert_eq!(refused.into_body().collect().await.unwrap().to_bytes().is_empty(), method == "HEAD");
        assert_eq!(send(&app, method, "/protected", Some(CODE)).await.status(), 200, "{method}");
    }
    assert_eq!(status(&app, "/open", None).await, 200);
    // HEAD is routed to a GET handler, and verified like GET.
    let app = Router::new().route("/protected", get(user).layer(layer()));
    assert_eq!(send(&app, "HEAD", "/protected", None).await.status(), 401);
    assert_eq!(send(&app, "POST", "/protected", None).await.status(), 401);
}

#[tokio::test]
async fn from_fn_outside_and_inside_in_a_service_builder() {
    async fn mark(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response.headers_mut().append("seen", HeaderValue::from_static("1"));
        response
    }
    let stack = ServiceBuilder::new().layer(from_fn(mark)).layer(layer()).layer(from_fn(mark));
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
async fn a_factor_of_an_outer_layer_is_not_required_again_for_the_same_action() {
    let verifier = otp_verifier();
    let layer = ToopherLayer::new(verifier.clone());
    let inner = Router::new().route("/same", get(user).layer(layer.clone()));
    let app = inner.route("/other", get(user).layer(layer.clone().action("transfer"))).layer(layer);
    assert_eq!(status(&app, "/same", Some(CODE)).await, 200);
    assert_eq!(verifier.calls(), 1);
    // The outer layer removed the header, so a factor for another action is required.
    assert_eq!(status(&app, "/other", Some(CODE)).await, 401);
}

#[tokio::test]
async fn the_extractor_rejects_requests_without_a_layer_and_names_the_layer() {
    let app = Router::new()
        .route("/", get(user))
        .route("/optional", get(|factor: Option<SecondFactor>| async move { factor.is_some().to_string() }));
    let response = send(&app, "GET", "/", Some(CODE)).await;
    assert_eq!(response.status(), 500);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains("`ToopherLayer`"));
    let body = send(&app, "GET", "/optional", None).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "false");
}

#[tokio::test]
async fn a_bypassed_request_has_no_second_factor_for_handlers() {
    let layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::NotEnrolled)))
        .not_enrolled(NotEnrolledPolicy::InsecureAllow);
    let app = Router::new()
        .route("/strict", get(user))
        .route(
            "/marked",
            get(|request: Request| async move {
                request.extensions().get::<Bypassed>().map_or(StatusCode::CONFLICT, |_| StatusCode::OK)
            }),
        )
        .layer(layer);
    assert_eq!(status(&app, "/strict", None).await, 403);
    assert_eq!(status(&app, "/marked", None).await, 200);
}

#[tokio::test]
async fn cors_outside_the_layer_adds_headers_to_rejections_and_responds_to_preflights() {
    let cors = CorsLayer::new()
        .allow_origin("https://app.test".parse::<HeaderValue>().unwrap())
        .allow_methods([Method::GET])
        .allow_headers([header::HeaderName::from_static("toopher-otp")]);
    let preflight = || {
        let request = Request::options("/").header("origin", "https://app.test");
        let request = request.header("access-control-request-method", "GET");
        request.header("access-control-request-headers", "toopher-otp").body(Body::empty()).unwrap()
    };
    let outside = Router::new().route("/", get(user)).layer(layer()).layer(cors.clone());
    let response = outside.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-headers"], "toopher-otp");
    let refused =
        Request::get("/").extension(alice()).header("origin", "https://app.test").body(Body::empty()).unwrap();
    let refused = outside.oneshot(refused).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.test");

    // Inside the layer, the layer handles a preflight first.
    let inside = Router::new().route("/", get(user)).layer(cors.clone()).layer(layer());
    assert_eq!(inside.oneshot(preflight()).await.unwrap().status(), 401);
    let allowing = Router::new().route("/", get(user)).layer(cors).layer(layer().insecure_allow_cors_preflight());
    assert_eq!(allowing.clone().oneshot(preflight()).await.unwrap().status(), 200);
    let plain = Request::options("/").header("origin", "https://app.test").body(Body::empty()).unwrap();
    assert_eq!(allowing.oneshot(plain).await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_outer_layer_finds_the_reason_and_the_client_does_not() {
    async fn observe(request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        let kind = response.extensions().get::<Rejection>().map(Rejection::kind);
        assert_eq!(kind, Some(RejectionKind::Denied(DenyReason::ReplayedOtp)));
        response
    }
    let layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::ReplayedOtp)));
    let app = Router::new().route("/", get(user)).layer(layer).layer(from_fn(observe));
    let body = send(&app, "GET", "/", Some(CODE)).await.into_body().collect().await.unwrap().to_bytes();
    assert!(!std::str::from_utf8(&body).unwrap().to_lowercase().contains("replay"));
}

#[tokio::test]
async fn the_default_layer_reads_the_header() {
    let layer: ToopherLayer<ScriptedVerifier, Header> = ToopherLayer::new(otp_verifier());
    let app = Router::new().route("/", get(user)).layer(layer);
    assert_eq!(status(&app, "/", Some(CODE)).await, 200);
    assert_eq!(status(&app, "/", Some("000000")).await, 401);
    let response: Response = (StatusCode::OK, "unused").into_response();
    assert!(response.extensions().get::<Rejection>().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_ends_a_stalled_form_and_the_verifier_is_not_called() {
    let verifier = otp_verifier();
    let app = Router::new()
        .route("/", post(user))
        .layer(ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default()))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(10)));
    let send = || {
        let stalled =
            futures_util::stream::once(async { Ok::<_, Infallible>("otp=081") }).chain(futures_util::stream::pending());
        let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
        app.clone().oneshot(request.body(Body::from_stream(stalled)).unwrap())
    };
    let responses = futures_util::future::join_all((0..100).map(|_| send())).await;
    assert!(responses.into_iter().all(|response| response.unwrap().status() == StatusCode::REQUEST_TIMEOUT));
    assert_eq!(verifier.calls(), 0);
}
