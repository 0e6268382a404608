//! `FailOpenLayer` forwards a request only if the bypass is recorded.

use std::time::Duration;

use tower::{Layer, ServiceExt};
use tower_toopher::ToopherLayer;
use tower_toopher::verify::{ErrorClass, FailOpen, FailOpenLayer, VerifierError};

use crate::capture::capture;
use crate::support::{CODE, Calls, OneShotService, ScriptedVerifier, request};

type Layered = ToopherLayer<FailOpen<ScriptedVerifier>>;

/// A layer whose verifier fails and fails open.
fn layer() -> Layered {
    let verifier =
        ScriptedVerifier::new(|_| Err(VerifierError::new("down").with_class(ErrorClass::Unreachable).into()));
    let fail_open = FailOpenLayer::insecure(10, Duration::from_secs(3600)).unwrap();
    let fail_open = fail_open.insecure_also([ErrorClass::Unreachable]).unwrap();
    ToopherLayer::new(fail_open.layer(verifier))
}

/// The status of the response. 200 is the inner service's.
fn status(layer: &Layered) -> u16 {
    let calls = Calls::default();
    let response = layer.layer(OneShotService::new(&calls)).oneshot(request(Some(CODE)));
    let status = futures_util::FutureExt::now_or_never(response).unwrap().unwrap().status().as_u16();
    assert_eq!(calls.count() == 1, status == 200);
    status
}

#[test]
fn a_bypass_that_is_not_recorded_is_rejected() {
    let panics = layer().audit(|_| panic!("the disk is full"));
    let (seen, captured) = capture(|| status(&panics));
    assert_eq!(seen, 503);
    assert_eq!(captured.decisions()[0]["fields"]["outcome"], "unavailable");
    assert!(captured.metrics.keys().all(|key| !key.contains("failed_open")), "{:?}", captured.metrics);

    let without_sink = layer();
    let (seen, captured) = capture(|| status(&without_sink));
    assert_eq!((seen, captured.decisions()[0]["level"].as_str()), (200, Some("ERROR")));
    let count = "tower_toopher_decisions_total{outcome=\"failed_open\",reason=\"unreachable\",factor=\"none\"}";
    assert_eq!(captured.metrics[count], 1);
}
