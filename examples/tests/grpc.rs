//! A gRPC client of `examples/tonic`, and of a server in the test's process for the statuses that the example cannot
//! show.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use test_support::example::Example;
use test_support::{have, output};
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::middleware::{GrpcStatus, NotEnrolledPolicy, Profile};
use tower_toopher::test_util::ScriptedVerifier;
use tower_toopher::time::Clock;
use tower_toopher::totp::{Secret, Totp};
use tower_toopher::verify::{ErrorClass, VerifierError};
use tower_toopher::{BoxError, DenyReason, Factor, ToopherLayer, UserId, Verdict};

use super::commands;

const ALICE: (&str, &str) = ("authorization", "Bearer alice");

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

fn reason(status: &Status) -> (Code, &str) {
    (status.code(), status.metadata().get("toopher-error").unwrap().to_str().unwrap())
}

#[tokio::test]
async fn the_example_requires_both_factors() {
    let example = Example::start("tonic");
    let mut client = connect(&example.url).await;
    let rejected = client.check(call(&[])).await.unwrap_err();
    assert_eq!(reason(&rejected), (Code::Unauthenticated, "unidentified"));
    assert_eq!(rejected.message(), "The first factor is missing");
    let rejected = client.check(call(&[("authorization", "Bearer mallory"), ("toopher-otp", "081804")])).await;
    assert_eq!(reason(&rejected.unwrap_err()), (Code::Unauthenticated, "unidentified"));
    let rejected = client.check(call(&[ALICE])).await.unwrap_err();
    assert_eq!(reason(&rejected), (Code::Unauthenticated, "otp_required"));
    // A call with a streamed response.
    assert_eq!(client.watch(call(&[ALICE])).await.unwrap_err().code(), Code::Unauthenticated);
    let two = client.check(call(&[ALICE, ("toopher-otp", "081804"), ("toopher-otp", "081805")])).await.unwrap_err();
    assert_eq!(reason(&two), (Code::InvalidArgument, "otp_ambiguous"));

    let totp = Totp::new(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap());
    let code = totp.code_at(Clock::system().now().unwrap()).as_str().to_owned();
    let granted = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap();
    assert_eq!(granted.into_inner().status(), ServingStatus::Serving);
    let replayed = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap_err();
    assert_eq!(reason(&replayed), (Code::Unauthenticated, "otp_invalid"));

    // The replay was the first of five failures.
    for _ in 0..4 {
        client.check(call(&[ALICE, ("toopher-otp", "abcd-efgh-jkmn-pqrs")])).await.unwrap_err();
    }
    let throttled = client.check(call(&[ALICE, ("toopher-otp", &code)])).await.unwrap_err();
    assert_eq!(reason(&throttled), (Code::ResourceExhausted, "too_many_failures"));
    let wait: u64 = throttled.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

#[test]
fn the_commands_of_the_header_work() {
    if !have(&["bash", "curl", "oathtool"]) {
        return;
    }
    let example = Example::start("tonic");
    let script = commands("tonic", 1).replace("127.0.0.1:3000", example.address());
    let printed = output("bash", &["-c", &script]);
    let responses: Vec<_> = printed.split("HTTP/2 200").skip(1).collect();
    let rejected = |response: &str| response.contains("grpc-status: 16");
    assert_eq!(responses.len(), 3, "{printed}");
    assert!(rejected(responses[0]) && rejected(responses[1]), "{printed}");
    assert!(responses[2].contains("grpc-status: 0"), "{printed}");
}

type VerifierResult = Result<Verdict, BoxError>;
type Script = fn() -> VerifierResult;

/// Starts a server with this verifier, and returns its address.
async fn serve(script: Script) -> String {
    let layer = ToopherLayer::new(ScriptedVerifier::new(move |_| script()))
        .identify(|_| UserId::new("alice").ok())
        .not_enrolled(NotEnrolledPolicy::RequireEnrollment)
        .reject_with(GrpcStatus);
    let (_, service) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(Server::builder().layer(layer).add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    url
}

#[tokio::test]
async fn every_rejection_is_a_grpc_status() {
    let wait = Duration::from_secs(9);
    let cases: Vec<(Script, Code, &str)> = vec![
        (|| Ok(Verdict::Denied(DenyReason::OtpRequired)), Code::Unauthenticated, "otp_required"),
        (|| Ok(Verdict::Denied(DenyReason::WrongOtp)), Code::Unauthenticated, "otp_invalid"),
        (|| Ok(Verdict::Denied(DenyReason::DeniedByUser)), Code::Unauthenticated, "denied"),
        // HTTP's 202 is a success; a gRPC status must not be one.
        (|| Ok(Verdict::pending(Some(Duration::from_secs(9)))), Code::Unauthenticated, "pending"),
        (|| Ok(Verdict::Denied(DenyReason::NotEnrolled)), Code::PermissionDenied, "enrollment_required"),
        (|| Ok(Verdict::Denied(DenyReason::LockedOut)), Code::ResourceExhausted, "too_many_failures"),
        (
            || Err(VerifierError::new("down").with_class(ErrorClass::Unreachable).into()),
            Code::Unavailable,
            "unavailable",
        ),
        (
            || Err(VerifierError::new("down").with_retry_after(Duration::from_secs(9)).into()),
            Code::Unavailable,
            "unavailable",
        ),
    ];
    for (script, code, error) in cases {
        let mut client = connect(&serve(script).await).await;
        let rejected = client.check(call(&[("toopher-otp", "081804")])).await.unwrap_err();
        assert_eq!(reason(&rejected), (code, error));
        let waits = matches!(script(), Ok(Verdict::Pending(_)))
            || script().is_err_and(|error| error.downcast::<VerifierError>().unwrap().retry_after().is_some());
        let retry_after = rejected.metadata().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry_after, waits.then(|| wait.as_secs().to_string()));
    }
    let mut client = connect(&serve(|| Ok(Verdict::Granted(Factor::Totp))).await).await;
    assert!(client.check(call(&[("toopher-otp", "081804")])).await.is_ok());
}

#[tokio::test]
async fn a_rejection_is_trailers_only_for_grpc_and_http_for_other_content_types() {
    let url = serve(|| Ok(Verdict::Denied(DenyReason::OtpRequired))).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
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
    // The head ends the stream: no body and no trailers follow.
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

/// A forward-auth proxy accepts 200, whatever `grpc-status` contains.
#[tokio::test]
async fn with_the_profile_for_proxies_a_rejection_is_never_200() {
    let layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired)))
        .profile(Profile::ForwardAuth)
        .reject_with(GrpcStatus);
    let inner = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("inner")))
    });
    let request = Request::get("/account").extension(UserId::new("alice").unwrap());
    let request = request.header(header::CONTENT_TYPE, "application/grpc").body(Full::default()).unwrap();
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
