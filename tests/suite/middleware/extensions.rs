//! The typed extensions that the application inserts: what the layer does with each of them, and without it.
use std::sync::{Arc, Mutex};

use crate::support::phones::Phones;
use crate::support::*;
use http::{Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_toopher::middleware::{AuditEvent, Profile};
use tower_toopher::verify::{AuditPath, ExtraBinding, RequestBinding, RequestId, SessionId};
use tower_toopher::{Approvals, Attempt, DenyReason, RejectionKind, Terminal, ToopherLayer, Verdict};

/// A layer that may request approvals, and the attempts that its verifier receives.
fn recording() -> (ToopherLayer<ScriptedVerifier>, Arc<Mutex<Vec<Attempt>>>) {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = attempts.clone();
    let verifier = ScriptedVerifier::new(move |attempt| {
        seen.lock().unwrap().push(attempt.clone());
        Ok(Verdict::Denied(DenyReason::OtpRequired))
    });
    (ToopherLayer::new(verifier).approvals(), attempts)
}

/// The attempt that the verifier receives for a request.
async fn attempt(
    layer: &ToopherLayer<ScriptedVerifier>,
    seen: &Mutex<Vec<Attempt>>,
    request: Request<Body>,
) -> Attempt {
    let service = layer.layer(OneShotService::new(&Calls::default()));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
    let mut seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

fn bound_to(attempt: &Attempt) -> Option<Vec<Vec<u8>>> {
    attempt.request().map(|binding| binding.parts().map(<[u8]>::to_vec).collect())
}

fn with_extra(mut request: Request<Body>, extra: &str) -> Request<Body> {
    request.extensions_mut().insert(ExtraBinding::new(extra).unwrap());
    request
}

#[tokio::test]
async fn a_binding_needs_a_session() {
    let (layer, seen) = recording();
    assert!(attempt(&layer, &seen, request(None)).await.request().is_none());
    let bound = attempt(&layer, &seen, with_session(request(None), "s1")).await;
    assert_eq!(bound.request().and_then(RequestBinding::session), Some(&SessionId::new("s1").unwrap()));
    // With an OTP no approval is requested, so there is no binding.
    assert!(attempt(&layer, &seen, with_session(request(Some(CODE)), "s1")).await.request().is_none());

    // A layer without approvals neither builds a binding nor removes the token, which may be for an inner layer.
    let (with_approvals, seen) = recording();
    let verifier = ScriptedVerifier::new(|attempt| {
        assert!(attempt.request().is_none() && attempt.approval_token().is_none());
        Ok(Verdict::Granted(tower_toopher::Factor::Totp))
    });
    let outer = ToopherLayer::new(verifier).action("outer");
    let stack = outer.layer(with_approvals.layer(OneShotService::new(&Calls::default())));
    let mut with_token = with_session(request(Some(CODE)), "s1");
    with_token.headers_mut().insert("toopher-approval", "abc".parse().unwrap());
    assert_eq!(stack.oneshot(with_token).await.unwrap().status(), 401);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].approval_token().unwrap().as_str(), "abc");
    assert!(seen[0].request().is_some());
}

/// Requests without a session must contain an OTP. No approval is requested for them, and no phone is contacted.
#[tokio::test]
async fn no_approval_is_requested_without_a_session() {
    let (phones, clock) = (Phones::default(), Clock::from_secs(T));
    let approvals = phones::approvals(&phones, tower_toopher::store::MemoryStore::new(), &clock);
    let service = ToopherLayer::new(approvals).approvals().layer(OneShotService::new(&Calls::default()));
    for _ in 0..3 {
        let response = service.clone().oneshot(request(None)).await.unwrap();
        let required = Some(RejectionKind::Denied(DenyReason::OtpRequired));
        assert_eq!((response.status().as_u16(), kind(&response)), (401, required));
        assert!(!response.headers().contains_key("toopher-approval"));
    }
    assert_eq!(phones.push_count(), 0);
    // A token does not help without the session of its approval.
    let response = service.clone().oneshot(with_session(request(None), "s1")).await.unwrap();
    assert_eq!((response.status().as_u16(), phones.push_count()), (202, 1));
    phones.decide(phones::Decision::Allowed);
    let token = &response.headers()["toopher-approval"];
    let send = |session: Option<&str>| {
        let mut request = request(None);
        request.headers_mut().insert("toopher-approval", token.clone());
        let request = session.map_or_else(|| request.clone(), |session| with_session(request.clone(), session));
        service.clone().oneshot(request)
    };
    for session in [None, Some("s2"), Some("S1")] {
        assert_eq!(send(session).await.unwrap().status(), StatusCode::UNAUTHORIZED, "{session:?}");
    }
    assert_eq!(send(Some("s1")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(phones.push_count(), 1);
}

/// The requests of a forward-auth proxy are equal for all requests that it asks about.
#[tokio::test]
async fn forward_auth_requests_no_approval_without_an_extra_binding() {
    let (layer, seen) = recording();
    let api = layer.clone();
    let proxy = layer.profile(Profile::ForwardAuth);
    let request = || with_session(request(None), "s1");
    assert!(attempt(&api, &seen, request()).await.request().is_some());
    assert!(attempt(&proxy, &seen, request()).await.request().is_none());
    let first = attempt(&proxy, &seen, with_extra(request(), "GET /a")).await;
    let second = attempt(&proxy, &seen, with_extra(request(), "GET /b")).await;
    assert!(bound_to(&first).is_some() && bound_to(&first) != bound_to(&second));

    let (phones, clock) = (Phones::default(), Clock::from_secs(T));
    let approvals = phones::approvals(&phones, tower_toopher::store::MemoryStore::new(), &clock);
    let layer = ToopherLayer::new(approvals).approvals().profile(Profile::ForwardAuth);
    let service = layer.layer(OneShotService::new(&Calls::default()));
    let response = service.clone().oneshot(request()).await.unwrap();
    let required = Some(RejectionKind::Denied(DenyReason::OtpRequired));
    assert_eq!((response.status().as_u16(), kind(&response), phones.push_count()), (401, required, 0));
    let response = service.clone().oneshot(with_extra(request(), "GET /a")).await.unwrap();
    assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(RejectionKind::Pending)));
    assert_eq!(phones.push_count(), 1);
    phones.decide(phones::Decision::Allowed);
    for (extra, status) in [("GET /b", 401), ("GET /a", 200)] {
        let mut again = with_extra(request(), extra);
        again.headers_mut().insert("toopher-approval", response.headers()["toopher-approval"].clone());
        assert_eq!(service.clone().oneshot(again).await.unwrap().status(), status, "{extra}");
    }
}

#[tokio::test]
async fn the_audit_event_contains_request_id_path_and_terminal() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let recorded = events.clone();
    let verifier = ScriptedVerifier::always(Verdict::Denied(DenyReason::WrongOtp));
    let layer = ToopherLayer::new(verifier)
        .audit(move |event: &AuditEvent| recorded.lock().unwrap().push(event.clone()))
        .insecure_skip(|parts| parts.uri.path() == "/health");
    let send = async |request: Request<Body>| {
        layer.layer(OneShotService::new(&Calls::default())).oneshot(request).await.unwrap();
        let mut events = events.lock().unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    };
    let plain = send(request(Some(CODE))).await;
    assert_eq!((plain.request_id(), plain.path(), plain.terminal()), (None, "/account", None));

    let full = || {
        let mut request = request(Some(CODE));
        request.extensions_mut().insert(RequestId::new("request-7").unwrap());
        request.extensions_mut().insert(AuditPath::new("/{account}").unwrap());
        request.extensions_mut().insert(Terminal::new("laptop"));
        request
    };
    let event = send(full()).await;
    assert_eq!((event.request_id(), event.path()), (Some("request-7"), "/{account}"));
    assert_eq!(event.terminal().map(Terminal::name), Some("laptop"));

    // They are in the event of every decision, also of those before the verifier is called.
    let mut skipped = full();
    *skipped.uri_mut() = "/health".parse().unwrap();
    let mut unauthenticated = full();
    unauthenticated.extensions_mut().remove::<tower_toopher::UserId>();
    let mut malformed = full();
    malformed.headers_mut().insert("toopher-otp", "junk".parse().unwrap());
    for request in [skipped, unauthenticated, malformed] {
        let event = send(request).await;
        assert_eq!((event.request_id(), event.path()), (Some("request-7"), "/{account}"), "{:?}", event.outcome());
    }
}

/// The Debug output of the extensions that are secret contains none of their text.
#[test]
fn secret_extensions_are_redacted() {
    let session = SessionId::new("d1f5c2").unwrap();
    let extra = ExtraBinding::new("d1f5c2").unwrap();
    assert!(!format!("{session:?} {extra:?} {session:#?} {extra:#?}").contains("d1f5c2"));
    let id = RequestId::new("request-7").unwrap();
    assert!(format!("{id:?} {:?}", AuditPath::new("/path").unwrap()).contains("request-7"));
}

#[tokio::test]
async fn an_approval_needs_the_setting() {
    let (phones, clock) = (Phones::default(), Clock::from_secs(T));
    let approvals: Approvals<Phones, _> = phones::approvals(&phones, tower_toopher::store::MemoryStore::new(), &clock);
    let service = ToopherLayer::new(approvals).layer(OneShotService::new(&Calls::default()));
    assert_eq!(service.oneshot(with_session(request(None), "s1")).await.unwrap().status(), 401);
    assert_eq!(phones.push_count(), 0);
}
