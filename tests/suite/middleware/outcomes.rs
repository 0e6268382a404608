//! Every outcome of the layer: the response, the reason in its extensions, and the calls of verifier and inner service.
use std::convert::Infallible;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::middleware::{NotEnrolledPolicy, Profile, Realm};
use tower_toopher::verify::{ApprovalToken, Bypassed, VerifierError};
use tower_toopher::{
    Action, DenyReason, Factor, Header, HeaderOrForm, Rejection, RejectionKind as Kind, SecondFactor, Terminal,
    ToopherLayer, Verdict,
};

fn form(content_type: &str, body: &str) -> Request<Body> {
    Request::post("/transfer")
        .extension(alice())
        .header("Content-Type", content_type)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

const FORM: &str = "application/x-www-form-urlencoded";

struct Case {
    request: Request<Body>,
    verdict: fn() -> Verdict,
    status: u16,
    kind: Kind,
    code: &'static str,
    verifier_calls: usize,
}

fn cases() -> Vec<Case> {
    use DenyReason::*;
    let never = || panic!("the verifier must not be called");
    let case = |request, verdict, status, kind, code, verifier_calls| Case {
        request,
        verdict,
        status,
        kind,
        code,
        verifier_calls,
    };
    let mut two_lines = request(Some("000000"));
    two_lines.headers_mut().append("Toopher-OTP", CODE.parse().unwrap());
    let mut differing = form(FORM, "otp=081804");
    differing.headers_mut().insert("Toopher-OTP", "000000".parse().unwrap());
    let mut empty_header = form(FORM, "otp=081804");
    empty_header.headers_mut().insert("Toopher-OTP", "".parse().unwrap());
    let mut unauthenticated = request(Some(CODE));
    unauthenticated.extensions_mut().clear();
    let mut compressed = form(FORM, "otp=081804");
    compressed.headers_mut().insert("Content-Encoding", "gzip".parse().unwrap());
    let code = || request(Some(CODE));
    const THROTTLED: DenyReason = Throttled { retry_after: Duration::from_millis(1) };
    vec![
        case(unauthenticated, never, 401, Kind::Unidentified, "unidentified", 0),
        case(request(None), || Verdict::Denied(OtpRequired), 401, Kind::Denied(OtpRequired), "otp_required", 1),
        case(request(Some("")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(request(Some("  ")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(request(Some("None")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(form(FORM, "otp="), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(empty_header, never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(two_lines, never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(differing, never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(form(FORM, "otp=1&otp=2"), never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(code(), || Verdict::Denied(WrongOtp), 401, Kind::Denied(WrongOtp), "otp_invalid", 1),
        case(code(), || Verdict::Denied(ReplayedOtp), 401, Kind::Denied(ReplayedOtp), "otp_invalid", 1),
        case(code(), || Verdict::Denied(UnknownUser), 401, Kind::Denied(UnknownUser), "otp_invalid", 1),
        case(code(), || Verdict::Denied(NotEnrolled), 401, Kind::Denied(NotEnrolled), "otp_invalid", 1),
        case(request(None), || Verdict::Denied(UnknownUser), 401, Kind::Denied(UnknownUser), "otp_required", 1),
        case(request(None), || Verdict::Denied(NotEnrolled), 401, Kind::Denied(NotEnrolled), "otp_required", 1),
        case(request(None), || Verdict::Denied(DeniedByUser), 401, Kind::Denied(DeniedByUser), "denied", 1),
        case(code(), || Verdict::Denied(THROTTLED), 429, Kind::Denied(THROTTLED), "too_many_failures", 1),
        case(code(), || Verdict::Denied(LockedOut), 429, Kind::Denied(LockedOut), "too_many_failures", 1),
        case(request(None), || Verdict::pending(None), 202, Kind::Pending, "pending", 1),
        case(form(&format!("{FORM}; charset=utf-16"), "otp=1"), never, 400, Kind::UnreadableBody, "body_unreadable", 0),
        case(compressed, never, 400, Kind::UnreadableBody, "body_unreadable", 0),
        case(form(FORM, &"x".repeat(65_537)), never, 413, Kind::BodyTooLarge, "body_too_large", 0),
    ]
}

#[tokio::test]
async fn every_rejection() {
    for Case { request, verdict, status, kind: expected, code, verifier_calls } in cases() {
        let inner = Calls::default();
        let verifier = ScriptedVerifier::new(move |_| Ok(verdict()));
        let service =
            ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default()).layer(OneShotService::new(&inner));
        let response = service.oneshot(request).await.unwrap();

        assert_eq!((response.status().as_u16(), kind(&response)), (status, Some(expected)));
        assert_eq!((verifier.calls(), inner.count()), (verifier_calls, 0), "{expected:?}");
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == 401);
        if status == 401 {
            let challenge = format!("Toopher realm=\"second factor\", error=\"{code}\"");
            assert_eq!(headers[header::WWW_AUTHENTICATE], challenge.as_str());
        }
        let throttled = matches!(expected, Kind::Denied(DenyReason::Throttled { .. }));
        assert_eq!(headers.get(header::RETRY_AFTER).is_some(), throttled);
        let length = headers[header::CONTENT_LENGTH].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len().to_string(), length);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], format!("urn:tower-toopher:{code}"));
        assert_eq!(problem["status"], status);
    }
}

/// Without a user there is nothing to verify, whatever credentials the request contains.
#[tokio::test]
async fn an_unauthenticated_request_with_an_approval_token_is_unidentified() {
    let token = "Zm9vYmFy".repeat(20);
    // The token is well-formed.
    ApprovalToken::new(&token).unwrap();
    for otp in [None, Some(CODE)] {
        let (verifier, inner) = (ScriptedVerifier::always(Verdict::Granted(Factor::Push)), Calls::default());
        let layer = ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default()).approvals();
        let mut unauthenticated = with_session(request(otp), "session");
        unauthenticated.extensions_mut().remove::<tower_toopher::UserId>();
        unauthenticated.headers_mut().insert("toopher-approval", token.parse().unwrap());
        let response = layer.layer(OneShotService::new(&inner)).oneshot(unauthenticated).await.unwrap();
        assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(Kind::Unidentified)));
        assert_eq!((verifier.calls(), inner.count()), (0, 0));
        assert!(!response.headers().contains_key("toopher-approval"));
    }
}

#[tokio::test]
async fn every_error_of_the_verifier_is_503() {
    let inner = Calls::default();
    let failing = ScriptedVerifier::new(|_| Err("the backend is down".into()));
    let service = ToopherLayer::new(failing).layer(OneShotService::new(&inner));
    let response = service.oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!((response.status(), kind(&response)), (StatusCode::SERVICE_UNAVAILABLE, Some(Kind::Unavailable(None))));
    assert!(!response.headers().contains_key(header::RETRY_AFTER));
    let cause = std::error::Error::source(response.extensions().get::<Rejection>().unwrap()).unwrap().to_string();
    assert_eq!(cause, "the backend is down");
    assert!(!format!("{:?}", response.into_body()).contains("backend"));

    let wait = Duration::from_millis(1500);
    let failing = ScriptedVerifier::new(move |_| Err(VerifierError::new("down").with_retry_after(wait).into()));
    let response = ToopherLayer::new(failing).layer(OneShotService::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");

    // The longest duration has a value too.
    let endless = ScriptedVerifier::always(Verdict::Denied(DenyReason::Throttled { retry_after: Duration::MAX }));
    let response = ToopherLayer::new(endless).layer(OneShotService::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], u64::MAX.to_string());

    // An error of another type.
    let refuses = service_fn(|_| async { Err::<Verdict, _>(std::io::Error::other("refused")) });
    let response = ToopherLayer::new(refuses).layer(OneShotService::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(kind(&response), Some(Kind::Unavailable(None)));
    assert_eq!(inner.count(), 0);
}

#[tokio::test]
async fn wrong_replayed_unknown_and_unenrolled_look_alike() {
    for otp in [Some(CODE), None] {
        let mut seen = Vec::new();
        for reason in [DenyReason::WrongOtp, DenyReason::ReplayedOtp, DenyReason::UnknownUser, DenyReason::NotEnrolled]
        {
            let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(reason)))
                .layer(OneShotService::new(&Calls::default()));
            let (parts, body) = service.oneshot(request(otp)).await.unwrap().into_parts();
            seen.push((parts.status, format!("{:?}", parts.headers), body.collect().await.unwrap().to_bytes()));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
}

#[tokio::test]
async fn a_granted_request_has_its_factor_and_not_its_header() {
    let inner = service_fn(|request: Request<Body>| async move {
        assert!(!request.headers().contains_key("Toopher-OTP"));
        let factor = request.extensions().get::<SecondFactor>().unwrap();
        assert_eq!((factor.user(), factor.action().as_str()), (&alice(), "transfer"));
        assert_eq!(factor.factor(), Factor::Push);
        Ok::<_, Infallible>(Response::new(Body::from("in")))
    });
    let service =
        ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Push))).action("transfer").layer(inner);
    let response = service.oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!((response.status(), kind(&response)), (StatusCode::OK, None));
}

#[tokio::test]
async fn the_attempt_contains_user_action_terminal_and_otp() {
    let verifier = ScriptedVerifier::new(|attempt| {
        assert_eq!(attempt.user().as_str(), "from-the-session");
        assert_eq!(attempt.action().as_str(), "DELETE /account");
        assert_eq!(attempt.terminal().unwrap().name(), "curl/8");
        assert_eq!(attempt.otp().unwrap().as_str(), CODE);
        Ok(Verdict::Granted(Factor::Totp))
    });
    let service = ToopherLayer::new(verifier)
        .identify(|parts| parts.headers.get("session").map(|_| user("from-the-session")))
        .action_for(|parts| Action::from(format!("{} {}", parts.method, parts.uri.path())))
        .layer(OneShotService::new(&Calls::default()));
    let request = Request::delete("/account")
        .extension(Terminal::new("curl/8"))
        .header("session", "s")
        .header("toopher-otp", "081 804")
        .body(Body::default())
        .unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

/// A factor that an outer layer verified is not required again, except for another action or user.
#[tokio::test]
async fn a_factor_of_an_outer_layer_is_accepted_for_its_user_and_action() {
    let send = |factor: SecondFactor| async move {
        let verifier = ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired));
        let service = ToopherLayer::new(verifier.clone()).action("pay").layer(OneShotService::new(&Calls::default()));
        let mut request = request(None);
        request.extensions_mut().insert(factor);
        (service.oneshot(request).await.unwrap().status().as_u16(), verifier.calls())
    };
    assert_eq!(send(SecondFactor::new(alice(), "pay", Factor::Totp)).await, (200, 0));
    assert_eq!(send(SecondFactor::new(alice(), "log in", Factor::Totp)).await, (401, 1));
    assert_eq!(send(SecondFactor::new(alice(), "Pay", Factor::Totp)).await, (401, 1));
    assert_eq!(send(SecondFactor::new(user("bob"), "pay", Factor::Totp)).await, (401, 1));
}

#[tokio::test]
async fn the_innermost_layer_finds_the_factor_of_the_outermost() {
    let verifier = ScriptedVerifier::new(|attempt| {
        Ok(attempt.otp().map_or(Verdict::Denied(DenyReason::OtpRequired), |_| Verdict::Granted(Factor::Totp)))
    });
    let calls = Calls::default();
    let layer = |action: &'static str| ToopherLayer::new(verifier.clone()).action(action);
    let x_otp = || Header::new(http::HeaderName::from_static("x-otp"));
    let innermost = layer("log in").layer(OneShotService::new(&calls));
    let stack = layer("log in").layer(layer("pay").extractor(x_otp()).layer(innermost));
    let mut request = request(Some(CODE));
    request.headers_mut().insert("x-otp", "123456".parse().unwrap());
    assert_eq!(stack.oneshot(request).await.unwrap().status(), 200);
    assert_eq!((verifier.calls(), calls.count()), (2, 1));
}

#[tokio::test]
async fn the_policy_for_users_without_a_factor() {
    let send = |policy| async move {
        let inner = service_fn(|request: Request<Body>| async move {
            let marked = request.extensions().get::<Bypassed>().is_some();
            assert!(request.extensions().get::<SecondFactor>().is_none());
            Ok::<_, Infallible>(Response::new(Body::from(marked.to_string())))
        });
        let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::NotEnrolled)))
            .not_enrolled(policy)
            .layer(inner);
        let mut request = request(None);
        // The layer removes a factor for another action, so no handler mistakes it for one of this request.
        request.extensions_mut().insert(SecondFactor::new(alice(), "else", Factor::Totp));
        let response = service.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    assert_eq!(send(NotEnrolledPolicy::Refuse).await.0, 401);
    let (status, body) = send(NotEnrolledPolicy::RequireEnrollment).await;
    assert!(status == 403 && body.contains("enrollment_required"));
    assert_eq!(send(NotEnrolledPolicy::InsecureAllow).await, (200, "true".to_owned()));
}

#[tokio::test]
async fn a_forward_auth_proxy_receives_2xx_only_after_a_grant() {
    let verdicts: [fn() -> Verdict; 3] = [
        || Verdict::pending(Some(Duration::from_secs(3))),
        || Verdict::Denied(DenyReason::WrongOtp),
        || Verdict::Denied(DenyReason::NotEnrolled),
    ];
    let hook_with_200 = |_: &Rejection, _: &Parts| Response::new(Full::<Bytes>::from("come in"));
    for verdict in verdicts {
        let layer = ToopherLayer::new(ScriptedVerifier::always(verdict())).profile(Profile::ForwardAuth);
        let response =
            layer.clone().layer(OneShotService::new(&Calls::default())).oneshot(request(None)).await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let hooked = layer.reject_with(hook_with_200).layer(OneShotService::new(&Calls::default()));
        let response = hooked.oneshot(request(None)).await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
    let granted =
        ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).profile(Profile::ForwardAuth);
    let response = granted.layer(OneShotService::new(&Calls::default())).oneshot(request(None)).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_hook_replaces_the_response_and_not_the_reason_in_its_extensions() {
    let hook = |rejection: &Rejection, request: &Parts| {
        let mut response = rejection.response(Body::from(format!("{} {}", request.uri.path(), rejection.code())));
        response.headers_mut().remove(header::WWW_AUTHENTICATE);
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::ReplayedOtp)))
        .realm(&Realm::new("bank").unwrap())
        .reject_with(hook)
        .layer(OneShotService::new(&Calls::default()));
    let response = service.oneshot(request(Some(CODE))).await.unwrap();
    let expected = Some(Kind::Denied(DenyReason::ReplayedOtp));
    assert_eq!((response.status(), kind(&response)), (StatusCode::IM_A_TEAPOT, expected));
    assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/account otp_invalid");
}

#[tokio::test]
async fn every_method_is_verified_and_the_response_to_head_has_no_body() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"] {
        let inner = Calls::default();
        let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired)))
            .layer(OneShotService::new(&inner));
        let mut request = request(None);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        // The layer reads no OTP from the query, which servers log.
        *request.uri_mut() = "/account?otp=081804".parse().unwrap();
        request.headers_mut().insert(header::ORIGIN, "https://elsewhere.test".parse().unwrap());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!((response.status().as_u16(), inner.count()), (401, 0), "{method}");
        assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD", "{method}");
    }
}

#[tokio::test]
async fn only_a_complete_preflight_is_forwarded_and_only_if_configured() {
    let send = |allow: bool, method: &'static str, headers: &'static [&'static str]| async move {
        let layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired)));
        let layer = if allow { layer.insecure_allow_cors_preflight() } else { layer };
        let mut request = Request::builder().method(method).uri("/account");
        for name in headers {
            request = request.header(*name, "GET");
        }
        let service = layer.layer(OneShotService::new(&Calls::default()));
        service.oneshot(request.body(Body::default()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(send(true, "OPTIONS", &["origin", "access-control-request-method"]).await, 200);
    assert_eq!(send(false, "OPTIONS", &["origin", "access-control-request-method"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &["origin"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &["access-control-request-method"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &[]).await, 401);
    assert_eq!(send(true, "GET", &["origin", "access-control-request-method"]).await, 401);
}

#[tokio::test]
async fn skipped_requests_are_unchanged_and_no_others_are_skipped() {
    let verifier = ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired));
    let service = ToopherLayer::new(verifier.clone()).insecure_skip(|parts| parts.uri.path() == "/health").layer(
        service_fn(|request: Request<Body>| async move {
            assert_eq!(request.headers()["Toopher-OTP"], "  odd  ");
            Ok::<_, Infallible>(Response::new(Body::default()))
        }),
    );
    let send = |path: &str| {
        let request = Request::get(path).header("Toopher-OTP", "  odd  ").body(Body::default()).unwrap();
        service.clone().oneshot(request)
    };
    assert_eq!(send("/health").await.unwrap().status(), 200);
    assert_eq!(send("/health?deep=1").await.unwrap().status(), 200);
    for path in ["/health/", "//health", "/%68ealth", "/HEALTH", "/health/../account", "/health;x", "/healthy"] {
        assert_eq!(send(path).await.unwrap().status(), 401, "{path}");
    }
    assert_eq!(verifier.calls(), 0);
}
