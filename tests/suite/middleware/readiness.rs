//! The contract of Tower: no service is called before it is ready, and no capacity is reserved for a request that may
//! be rejected.
use std::convert::Infallible;
use std::time::Duration;

use crate::support::*;
use http::{Request, Response};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock;
use tower_toopher::{Attempt, BoxError, DenyReason, Factor, RejectionKind, ToopherLayer, Verdict};

type Inner = mock::Mock<Request<Body>, Response<Body>>;
type Verifier = mock::Mock<Attempt, Verdict>;

#[tokio::test]
async fn the_layer_is_ready_if_neither_inner_service_nor_verifier_is() {
    let (inner, mut inner_handle) = mock::pair::<Request<Body>, Response<Body>>();
    let (verifier, mut verifier_handle) = mock::pair::<Attempt, Verdict>();
    inner_handle.allow(0);
    verifier_handle.allow(0);
    let mut service = task::spawn(ToopherLayer::new(verifier).layer(inner));
    assert_ready_ok!(service.enter(|cx, mut service| service.poll_ready(cx)));
}

#[tokio::test]
async fn a_rejected_request_never_polls_an_inner_service_that_is_not_ready() {
    let denied: [fn() -> Verdict; 3] = [
        || Verdict::Denied(DenyReason::WrongOtp),
        || Verdict::pending(None),
        || Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(1) }),
    ];
    for verdict in denied {
        let (inner, mut inner_handle): (Inner, _) = mock::pair();
        inner_handle.allow(0);
        let service = ToopherLayer::new(ScriptedVerifier::always(verdict())).layer(inner);
        let mut response = task::spawn(service.oneshot(request(Some(CODE))));
        assert!(!assert_ready_ok!(response.poll()).status().is_server_error());
    }
    let (inner, mut inner_handle): (Inner, _) = mock::pair();
    inner_handle.allow(0);
    let service = ToopherLayer::new(ScriptedVerifier::new(|_| Err("down".into()))).layer(inner);
    assert_eq!(assert_ready_ok!(task::spawn(service.oneshot(request(None))).poll()).status(), 503);
}

#[tokio::test]
async fn a_granted_request_waits_for_the_inner_service_and_returns_its_error() {
    let (inner, mut inner_handle): (Inner, _) = mock::pair();
    inner_handle.allow(0);
    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).layer(inner);
    let mut response = task::spawn(service.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    inner_handle.allow(1);
    assert_pending!(response.poll());
    let (_, responder) = inner_handle.next_request().await.unwrap();
    responder.send_response(Response::new(Body::from("in")));
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()).status(), 200);

    inner_handle.allow(1);
    let mut response = task::spawn(service.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    inner_handle.next_request().await.unwrap().1.send_error("from the inner service");
    assert_eq!(assert_ready!(response.poll()).unwrap_err().to_string(), "from the inner service");

    // An error of its readiness is an error of the inner service too, and no rejection.
    inner_handle.send_error("broken");
    let mut response = task::spawn(service.oneshot(request(Some(CODE))));
    assert_eq!(assert_ready!(response.poll()).unwrap_err().to_string(), "broken");
}

#[tokio::test]
async fn a_verifier_is_driven_to_readiness_too_and_its_readiness_error_is_503() {
    let (verifier, mut handle): (Verifier, _) = mock::pair();
    let inner = Calls::default();
    handle.allow(0);
    let service = ToopherLayer::new(verifier).layer(OneShotService::new(&inner));
    let mut response = task::spawn(service.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    handle.allow(1);
    assert_pending!(response.poll());
    let (attempt, responder) = handle.next_request().await.unwrap();
    assert_eq!(attempt.otp().unwrap().as_str(), CODE);
    responder.send_response(Verdict::Granted(Factor::Totp));
    assert_eq!(assert_ready_ok!(response.poll()).status(), 200);
    assert_eq!(inner.count(), 1);

    handle.send_error("no more");
    let response = assert_ready_ok!(task::spawn(service.oneshot(request(None))).poll());
    assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(RejectionKind::Unavailable(None))));
    assert_eq!(inner.count(), 1);
}

#[tokio::test]
async fn the_called_instance_of_the_inner_service_is_ready_in_every_case() {
    let calls = Calls::default();
    let layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)));
    let mut service =
        layer.clone().insecure_skip(|parts| parts.uri.path() == "/skip").layer(OneShotService::new(&calls));
    // Without poll_ready between the calls, as a careless caller might do.
    for path in ["/account", "/skip", "/account"] {
        let mut request = request(Some(CODE));
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(service.call(request).await.unwrap().status(), 200);
    }
    let stacked = layer.clone().layer(layer.layer(OneShotService::new(&calls)));
    assert_eq!(stacked.oneshot(request(Some(CODE))).await.unwrap().status(), 200);
    assert_eq!(calls.count(), 4);
}

#[tokio::test]
async fn a_pending_verification_holds_no_permit_of_the_inner_service() {
    let (verifier, mut handle): (Verifier, _) = mock::pair();
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) }));
    let service = ToopherLayer::new(verifier).insecure_skip(|parts| parts.uri.path() == "/free").layer(inner);
    let mut waiting = task::spawn(service.clone().oneshot(request(Some(CODE))));
    assert_pending!(waiting.poll());
    let mut free = request(None);
    *free.uri_mut() = "/free".parse().unwrap();
    let mut passing = task::spawn(service.clone().oneshot(free));
    assert_eq!(assert_ready_ok!(passing.poll()).status(), 200);
    let (_, responder) = handle.next_request().await.unwrap();
    responder.send_response(Verdict::Denied(DenyReason::WrongOtp));
    assert_eq!(assert_ready_ok!(waiting.poll()).status(), 401);
}

#[tokio::test]
async fn a_buffer_around_the_inner_service_works() {
    let calls = Calls::default();
    let inner = ServiceBuilder::new().buffer::<Request<Body>>(1).service(OneShotService::new(&calls));
    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).layer(inner);
    for _ in 0..10 {
        assert_eq!(service.clone().oneshot(request(Some(CODE))).await.unwrap().status(), 200);
    }
    assert_eq!(calls.count(), 10);
}

/// A completed future that a caller keeps holds nothing of the inner service.
#[tokio::test]
async fn a_completed_future_holds_no_permit_and_panics_if_polled_again() {
    let inner = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("in"))) }));
    let layers = [
        ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))),
        ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).insecure_skip(|_| true),
    ];
    for layer in layers {
        let mut service = layer.layer(inner.clone());
        let mut first = task::spawn(service.call(request(Some(CODE))));
        assert_eq!(assert_ready_ok!(first.poll()).status(), 200);
        let mut second = task::spawn(service.call(request(Some(CODE))));
        assert_eq!(assert_ready_ok!(second.poll()).status(), 200);
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.poll().is_ready()));
        let message = *again.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "ResponseFuture polled after completion");
    }
    let mut rejecting = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::WrongOtp))).layer(inner);
    for otp in [Some(CODE), Some("junk")] {
        let mut future = task::spawn(rejecting.call(request(otp)));
        assert_eq!(assert_ready_ok!(future.poll()).status(), 401);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.poll().is_ready())).is_err());
    }
}

/// A future that failed may hold a permit of the verifier until it is dropped.
#[tokio::test]
async fn a_completed_future_holds_no_permit_of_a_verifier_that_failed() {
    let verifier = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(service_fn(|_: Attempt| async { Err::<Verdict, BoxError>("down".into()) }));
    let mut service = ToopherLayer::new(verifier).layer(OneShotService::new(&Calls::default()));
    let mut first = task::spawn(service.call(request(Some(CODE))));
    assert_eq!(assert_ready_ok!(first.poll()).status(), 503);
    let mut second = task::spawn(service.call(request(Some(CODE))));
    assert_eq!(assert_ready_ok!(second.poll()).status(), 503);
}
