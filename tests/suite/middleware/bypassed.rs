//! `Verdict::Bypassed`: the request is forwarded with the first factor alone, marked, and recorded before.
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use crate::support::*;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::middleware::{AuditEvent, Outcome, Profile};
use tower_toopher::verify::{BypassReason, Bypassed, ErrorClass};
use tower_toopher::{DenyReason, Factor, Header, RejectionKind, SecondFactor, ToopherLayer, Verdict};

const REASONS: [BypassReason; 2] = [BypassReason::NotEnrolled, BypassReason::FailOpen(ErrorClass::Store)];

fn layer(reason: BypassReason) -> ToopherLayer<ScriptedVerifier> {
    ToopherLayer::new(ScriptedVerifier::always(Verdict::Bypassed(reason))).action("pay")
}

#[tokio::test]
async fn the_request_is_recorded_first_then_marked_and_forwarded() {
    for reason in REASONS {
        let order = Arc::new(Mutex::new(Vec::new()));
        let (recorded, called) = (order.clone(), order.clone());
        let sink = move |event: &AuditEvent| {
            assert_eq!((event.user(), event.path()), (Some(&alice()), "/account"));
            assert!(event.verifier_duration().is_some());
            recorded.lock().unwrap().push(format!("{:?}", event.outcome()));
        };
        let inner = service_fn(move |request: Request<Body>| {
            assert_eq!(request.extensions().get::<Bypassed>().unwrap().reason(), reason);
            assert_eq!(request.extensions().get::<SecondFactor>(), None);
            assert!(!request.headers().contains_key("toopher-otp"));
            called.lock().unwrap().push("inner service".to_owned());
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        });
        let response = layer(reason).audit(sink).layer(inner).oneshot(request(Some(CODE))).await.unwrap();
        assert_eq!((response.status().as_u16(), kind(&response)), (200, None));
        let outcome = format!("{:?}", Outcome::Bypassed(reason));
        assert_eq!(*order.lock().unwrap(), [outcome, "inner service".to_owned()]);
    }
}

#[tokio::test]
async fn the_request_is_rejected_if_the_sink_panics() {
    for reason in REASONS {
        for profile in [Profile::Api, Profile::ForwardAuth] {
            let calls = Calls::default();
            let layer = layer(reason).profile(profile).audit(|_| panic!("the disk is full"));
            let response = layer.layer(OneShotService::new(&calls)).oneshot(request(Some(CODE))).await.unwrap();
            let expected = (503, Some(RejectionKind::Unavailable(None)));
            assert_eq!((response.status().as_u16(), kind(&response)), expected);
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(calls.count(), 0);
        }
    }
}

/// A handler that finds a `SecondFactor` would take the request for a verified one.
#[tokio::test]
async fn no_factor_of_an_outer_layer_is_kept() {
    for reason in REASONS {
        let inner = service_fn(move |request: Request<Body>| {
            assert_eq!(request.extensions().get::<SecondFactor>(), None);
            assert_eq!(request.extensions().get::<Bypassed>().unwrap().reason(), reason);
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        });
        let outer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).action("log in");
        let stack = outer.layer(layer(reason).layer(inner));
        assert_eq!(stack.oneshot(request(Some(CODE))).await.unwrap().status(), 200);

        // The same for a factor that code outside inserts, and for one of an earlier request.
        let time = tower_toopher::time::UnixTime::from_secs(T);
        let factor = SecondFactor::new(alice(), "log in", Factor::Totp);
        for factor in [factor.clone(), factor.with_auth_time(time)] {
            let mut request = request(None);
            request.extensions_mut().insert(factor);
            assert_eq!(layer(reason).layer(inner).oneshot(request).await.unwrap().status(), 200);
        }
    }
}

/// A bypass is valid for one layer. An inner layer verifies, and after a grant the mark is gone.
#[tokio::test]
async fn an_inner_layer_verifies_the_request() {
    for reason in REASONS {
        for (verdict, status) in
            [(Verdict::Denied(DenyReason::OtpRequired), 401), (Verdict::Granted(Factor::Push), 200)]
        {
            let inner = service_fn(|request: Request<Body>| {
                assert_eq!(request.extensions().get::<Bypassed>(), None);
                assert_eq!(request.extensions().get::<SecondFactor>().unwrap().factor(), Factor::Push);
                std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
            });
            let verifier = ScriptedVerifier::always(verdict);
            let inner_layer = ToopherLayer::new(verifier.clone()).action("pay");
            let x_otp = Header::new(http::HeaderName::from_static("x-otp"));
            let stack = layer(reason).layer(inner_layer.extractor(x_otp).layer(inner));
            assert_eq!(stack.oneshot(request(Some(CODE))).await.unwrap().status(), status);
            assert_eq!(verifier.calls(), 1);
        }
    }
}

/// A bypass is valid for one request.
#[cfg(feature = "grants")]
#[tokio::test]
async fn no_grant_is_issued() {
    use std::time::Duration;

    use tower_toopher::crypto::SealingKey;
    use tower_toopher::middleware::grants::{Epoch, Grant, Grants};

    for reason in REASONS {
        let grants = Grants::new(SealingKey::generate().unwrap());
        let bound = || {
            let mut request = with_session(request(Some(CODE)), "session");
            request.extensions_mut().insert(Epoch::from(7_u64));
            request
        };
        let granted = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)));
        let send = |layer: ToopherLayer<ScriptedVerifier>| {
            layer.layer(OneShotService::new(&Calls::default())).oneshot(bound())
        };
        let has_grant = |response: Response<Body>| {
            assert_eq!(response.status(), 200);
            response.headers().contains_key("set-cookie")
        };
        let layer = layer(reason).grants(grants.clone()).max_age(Duration::from_secs(300));
        assert!(!has_grant(send(layer.clone()).await.unwrap()));
        assert!(has_grant(send(granted.grants(grants.clone())).await.unwrap()));

        let in_extensions = layer.grants(grants.in_extensions()).layer(service_fn(|request: Request<Body>| {
            assert_eq!(request.extensions().get::<Grant>(), None);
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        }));
        assert_eq!(in_extensions.oneshot(bound()).await.unwrap().status(), 200);
    }
}
