//! The gate keeps Tower's contract: nothing is called unready, and nothing is reserved for a request that may be
//! refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::time::Duration;

use common::*;
use http::{Request, Response};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_test::mock;
use tower_toopher::{Attempt, DenyReason, Factor, RejectionKind, ToopherLayer, Verdict};

type Inner = mock::Mock<Request<Body>, Response<Body>>;
type Verifier = mock::Mock<Attempt, Verdict>;

#[tokio::test]
async fn the_gate_is_ready_when_neither_inner_nor_verifier_is() {
    let (inner, mut inner_handle) = mock::pair::<Request<Body>, Response<Body>>();
    let (verifier, mut verifier_handle) = mock::pair::<Attempt, Verdict>();
    inner_handle.allow(0);
    verifier_handle.allow(0);
    let mut gate = task::spawn(ToopherLayer::new(verifier).layer(inner));
    assert_ready_ok!(gate.enter(|cx, mut gate| gate.poll_ready(cx)));
}

#[tokio::test]
async fn a_refused_request_never_touches_an_inner_that_is_not_ready() {
    let denied: [fn() -> Verdict; 3] = [
        || Verdict::Denied(DenyReason::WrongOtp),
        || Verdict::pending(None),
        || Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(1) }),
    ];
    for verdict in denied {
        let (inner, mut inner_handle): (Inner, _) = mock::pair();
        inner_handle.allow(0);
        let gate = ToopherLayer::new(Says::always(verdict())).layer(inner);
        let mut response = task::spawn(gate.oneshot(request(Some(CODE))));
        assert!(!assert_ready_ok!(response.poll()).status().is_server_error());
    }
    let (inner, mut inner_handle): (Inner, _) = mock::pair();
    inner_handle.allow(0);
    let gate = ToopherLayer::new(Says::new(|_| Err("down".into()))).layer(inner);
    assert_eq!(assert_ready_ok!(task::spawn(gate.oneshot(request(None))).poll()).status(), 503);
}

#[tokio::test]
async fn a_granted_request_waits_for_the_inner_and_gets_its_error() {
    let (inner, mut inner_handle): (Inner, _) = mock::pair();
    inner_handle.allow(0);
    let gate = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))).layer(inner);
    let mut response = task::spawn(gate.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    inner_handle.allow(1);
    assert_pending!(response.poll());
    let (_, answer) = inner_handle.next_request().await.unwrap();
    answer.send_response(Response::new(Body::from("in")));
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()).status(), 200);

    inner_handle.allow(1);
    let mut response = task::spawn(gate.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    inner_handle.next_request().await.unwrap().1.send_error("the inner's own");
    assert_eq!(assert_ready!(response.poll()).unwrap_err().to_string(), "the inner's own");

    // Its readiness failing is its error too, not a refusal.
    inner_handle.send_error("broken for good");
    let mut response = task::spawn(gate.oneshot(request(Some(CODE))));
    assert_eq!(assert_ready!(response.poll()).unwrap_err().to_string(), "broken for good");
}

#[tokio::test]
async fn a_verifier_is_made_ready_too_and_its_readiness_error_is_503() {
    let (verifier, mut handle): (Verifier, _) = mock::pair();
    let inner = Calls::default();
    handle.allow(0);
    let gate = ToopherLayer::new(verifier).layer(Strict::new(&inner));
    let mut response = task::spawn(gate.clone().oneshot(request(Some(CODE))));
    assert_pending!(response.poll());
    handle.allow(1);
    assert_pending!(response.poll());
    let (attempt, answer) = handle.next_request().await.unwrap();
    assert_eq!(attempt.otp().unwrap().as_str(), CODE);
    answer.send_response(Verdict::Granted(Factor::Totp));
    assert_eq!(assert_ready_ok!(response.poll()).status(), 200);
    assert_eq!(inner.count(), 1);

    handle.send_error("no more");
    let response = assert_ready_ok!(task::spawn(gate.oneshot(request(None))).poll());
    assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(RejectionKind::Unavailable)));
    assert_eq!(inner.count(), 1);
}

#[tokio::test]
async fn every_path_to_the_inner_makes_that_very_instance_ready() {
    let calls = Calls::default();
    let layer = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp)));
    let mut gate = layer.clone().insecure_skip(|parts| parts.uri.path() == "/skip").layer(Strict::new(&calls));
    // Without poll_ready in between, as a careless caller might.
    for path in ["/account", "/skip", "/account"] {
        let mut request = request(Some(CODE));
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(gate.call(request).await.unwrap().status(), 200);
    }
    let stacked = layer.clone().layer(layer.layer(Strict::new(&calls)));
    assert_eq!(stacked.oneshot(request(Some(CODE))).await.unwrap().status(), 200);
    assert_eq!(calls.count(), 4);
}

#[tokio::test]
async fn a_pending_verification_holds_no_permit_of_the_inner() {
    let (verifier, mut handle): (Verifier, _) = mock::pair();
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) }));
    let gate = ToopherLayer::new(verifier).insecure_skip(|parts| parts.uri.path() == "/free").layer(inner);
    let mut waiting = task::spawn(gate.clone().oneshot(request(Some(CODE))));
    assert_pending!(waiting.poll());
    let mut free = request(None);
    *free.uri_mut() = "/free".parse().unwrap();
    let mut passing = task::spawn(gate.clone().oneshot(free));
    assert_eq!(assert_ready_ok!(passing.poll()).status(), 200);
    let (_, answer) = handle.next_request().await.unwrap();
    answer.send_response(Verdict::Denied(DenyReason::WrongOtp));
    assert_eq!(assert_ready_ok!(waiting.poll()).status(), 401);
}

#[tokio::test]
async fn a_buffer_inside_works() {
    let calls = Calls::default();
    let inner = ServiceBuilder::new().buffer::<Request<Body>>(1).service(Strict::new(&calls));
    let gate = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))).layer(inner);
    for _ in 0..10 {
        assert_eq!(gate.clone().oneshot(request(Some(CODE))).await.unwrap().status(), 200);
    }
    assert_eq!(calls.count(), 10);
}

/// Whoever keeps the future after it is done keeps nothing of the inner service with it.
#[tokio::test]
async fn an_answered_request_holds_no_permit_and_is_not_answered_again() {
    let inner = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("in"))) }));
    let gates = [
        ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))),
        ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))).insecure_skip(|_| true),
    ];
    for layer in gates {
        let mut gate = layer.layer(inner.clone());
        let mut first = task::spawn(gate.call(request(Some(CODE))));
        assert_eq!(assert_ready_ok!(first.poll()).status(), 200);
        let mut second = task::spawn(gate.call(request(Some(CODE))));
        assert_eq!(assert_ready_ok!(second.poll()).status(), 200);
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.poll().is_ready()));
        let message = *again.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "ResponseFuture polled after completion");
    }
    let mut refused = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::WrongOtp))).layer(inner);
    for otp in [Some(CODE), Some("junk")] {
        let mut future = task::spawn(refused.call(request(otp)));
        assert_eq!(assert_ready_ok!(future.poll()).status(), 401);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.poll().is_ready())).is_err());
    }
}
