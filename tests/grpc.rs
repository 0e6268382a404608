//! What a gRPC client sees of the gate: `examples/tonic.rs` as a process, and a server for what it cannot show.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::{Duration, SystemTime};

use common::example::Example;
use common::{Calls, Says, Strict, alice, have, k20, output};
use http::{Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt};
use tower_toopher::{
    BoxError, DenyReason, Factor, Fault, FaultKind, GrpcStatus, NotEnrolledPolicy, Profile, ToopherLayer, Unavailable,
    Verdict,
};

async fn connect(url: &str) -> HealthClient<Channel> {
    HealthClient::new(Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap())
}

fn call(metadata: &[(&'static str, &str)]) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

const ALICE: (&str, &str) = ("authorization", "Bearer alice");

fn reason(status: &Status) -> (Code, &str) {
    (status.code(), status.metadata().get("toopher-error").unwrap().to_str().unwrap())
}

#[tokio::test]
async fn the_example_lets_in_who_has_both_factors() {
    let example = Example::start("tonic");
    let mut client = connect(&example.url).await;
    let refused = client.check(call(&[])).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unauthenticated, "unidentified"));
    assert_eq!(refused.message(), "The first factor is missing");
    let refused = client.check(call(&[("authorization", "Bearer mallory"), ("toopher-otp", "081804")])).await;
    assert_eq!(reason(&refused.unwrap_err()), (Code::Unauthenticated, "unidentified"));
    let refused = client.check(call(&[ALICE])).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::Unauthenticated, "otp_required"));
    // A call that streams its answer is one.
    assert_eq!(client.watch(call(&[ALICE])).await.unwrap_err().code(), Code::Unauthenticated);
    let two = client.check(call(&[ALICE, ("toopher-otp", "081804"), ("toopher-otp", "081805")])).await.unwrap_err();
    assert_eq!(reason(&two), (Code::InvalidArgument, "otp_ambiguous"));

    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let code = k20().code_at(now()).as_str().to_owned();
    let granted = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap();
    assert_eq!(granted.into_inner().status(), ServingStatus::Serving);
    let again = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap_err();
    assert_eq!(reason(&again), (Code::Unauthenticated, "otp_invalid"));

    // The used one was the first failure.
    for _ in 0..4 {
        client.check(call(&[ALICE, ("toopher-otp", "abcd-efgh-jkmn-pqrs")])).await.unwrap_err();
    }
    let throttled = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap_err();
    assert_eq!(reason(&throttled), (Code::ResourceExhausted, "too_many_failures"));
    let wait: u64 = throttled.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

#[test]
fn the_lines_of_curl_do_what_they_say() {
    if !have(&["bash", "curl", "oathtool"]) {
        return;
    }
    let example = Example::start("tonic");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tonic.rs")).unwrap();
    let block = text.split("//! ```sh\n").nth(2).unwrap().split("//! ```").next().unwrap();
    let script: String = block.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let printed = output("bash", &["-c", &script.replace("127.0.0.1:3000", example.address())]);
    let answers: Vec<_> = printed.split("HTTP/2 200").skip(1).collect();
    let refused = |answer: &str| answer.contains("grpc-status: 16");
    assert_eq!(answers.len(), 3, "{printed}");
    assert!(refused(answers[0]) && refused(answers[1]), "{printed}");
    assert!(answers[2].contains("grpc-status: 0"), "{printed}");
}

type Answer = Result<Verdict, BoxError>;
type Answering = fn() -> Answer;

/// A server of its own, behind a verifier that says this.
async fn serve(answer: impl Fn() -> Answer + Send + Sync + 'static) -> String {
    let gate = ToopherLayer::new(Says::new(move |_| answer()))
        .identify(|_| Some(alice()))
        .not_enrolled(NotEnrolledPolicy::RequireEnrolment)
        .reject_with(GrpcStatus);
    let (_, service) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(Server::builder().layer(gate).add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    url
}

#[tokio::test]
async fn every_refusal_is_a_status_that_a_client_knows() {
    let wait = Duration::from_secs(9);
    let cases: Vec<(Answering, Code, &str)> = vec![
        (|| Ok(Verdict::Denied(DenyReason::OtpRequired)), Code::Unauthenticated, "otp_required"),
        (|| Ok(Verdict::Denied(DenyReason::WrongOtp)), Code::Unauthenticated, "otp_invalid"),
        (|| Ok(Verdict::Denied(DenyReason::Refused)), Code::Unauthenticated, "denied"),
        // Not a success, though HTTP has one for it.
        (|| Ok(Verdict::pending(Some(Duration::from_secs(9)))), Code::Unauthenticated, "pending"),
        (|| Ok(Verdict::Denied(DenyReason::NotEnrolled)), Code::PermissionDenied, "enrolment_required"),
        (|| Ok(Verdict::Denied(DenyReason::LockedOut)), Code::ResourceExhausted, "too_many_failures"),
        (|| Err(Fault::new(FaultKind::Unreachable, "down").into()), Code::Unavailable, "unavailable"),
        (|| Err(Unavailable::new("down", Duration::from_secs(9)).into()), Code::Unavailable, "unavailable"),
    ];
    for (answer, code, error) in cases {
        let mut client = connect(&serve(answer).await).await;
        let refused = client.check(call(&[("toopher-otp", "081804")])).await.unwrap_err();
        assert_eq!(reason(&refused), (code, error));
        let waits = matches!(answer(), Ok(Verdict::Pending(_)))
            || answer().is_err_and(|error| error.downcast_ref::<Unavailable>().is_some());
        let retry_after = refused.metadata().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry_after, waits.then(|| wait.as_secs().to_string()));
    }
    let mut client = connect(&serve(|| Ok(Verdict::Granted(Factor::Totp))).await).await;
    assert!(client.check(call(&[("toopher-otp", "081804")])).await.is_ok());
}

#[tokio::test]
async fn on_the_wire_it_is_trailers_only_and_to_others_it_is_http() {
    let url = serve(|| Ok(Verdict::Denied(DenyReason::OtpRequired))).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<bytes::Bytes>>();
    let send = |content_type: &'static str| {
        let request = Request::post(format!("{url}/grpc.health.v1.Health/Check")).version(Version::HTTP_2);
        client.request(request.header(header::CONTENT_TYPE, content_type).body(Full::from(&[0; 5][..])).unwrap())
    };
    let response = send("application/grpc+proto").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(response.headers()["grpc-message"], "A one-time password is required");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    // The head ends the stream: no body, and no trailers after it.
    assert!(http_body::Body::is_end_stream(response.body()));
    let rest = response.into_body().collect().await.unwrap();
    assert!(rest.trailers().is_none() && rest.to_bytes().is_empty());

    for other in ["application/grpc-web+proto", "application/json"] {
        let response = send(other).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{other}");
        assert!(!response.headers().contains_key("grpc-status"));
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        assert_eq!(response.headers()["toopher-error"], "otp_required");
    }
}

/// A forward-auth proxy takes 200 for a pass, whatever the headers say.
#[tokio::test]
async fn to_a_proxy_it_is_never_200() {
    let layer = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::OtpRequired)))
        .profile(Profile::ForwardAuth)
        .reject_with(GrpcStatus);
    let mut request = common::request(None);
    request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
    let response = layer.layer(Strict::new(&Calls::default())).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
