//! Every outcome of the gate: what the outside sees, what the inside knows, and who was asked.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::{
    Action, DenyReason, Factor, HeaderOrForm, NotEnrolledPolicy, Profile, Realm, Rejection, RejectionKind as Kind,
    SecondFactor, ToopherLayer, Unavailable, Verdict, WithoutSecondFactor,
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
    answer: fn() -> Verdict,
    status: u16,
    kind: Kind,
    code: &'static str,
    verified: usize,
}

fn cases() -> Vec<Case> {
    use DenyReason::*;
    let never = || panic!("the verifier must not be asked");
    let case = |request, answer, status, kind, code, verified| Case { request, answer, status, kind, code, verified };
    let mut two_lines = request(Some("000000"));
    two_lines.headers_mut().append("Toopher-OTP", CODE.parse().unwrap());
    let mut differing = form(FORM, "otp=081804");
    differing.headers_mut().insert("Toopher-OTP", "000000".parse().unwrap());
    let mut empty_header = form(FORM, "otp=081804");
    empty_header.headers_mut().insert("Toopher-OTP", "".parse().unwrap());
    let mut nobody = request(Some(CODE));
    nobody.extensions_mut().clear();
    let mut compressed = form(FORM, "otp=081804");
    compressed.headers_mut().insert("Content-Encoding", "gzip".parse().unwrap());
    let code = || request(Some(CODE));
    vec![
        case(nobody, never, 401, Kind::Unidentified, "unidentified", 0),
        case(request(None), || Verdict::Denied(OtpRequired), 401, Kind::OtpRequired, "otp_required", 1),
        case(request(Some("")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(request(Some("  ")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(request(Some("None")), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(form(FORM, "otp="), never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(empty_header, never, 401, Kind::MalformedOtp, "otp_invalid", 0),
        case(two_lines, never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(differing, never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(form(FORM, "otp=1&otp=2"), never, 400, Kind::AmbiguousOtp, "otp_ambiguous", 0),
        case(code(), || Verdict::Denied(WrongOtp), 401, Kind::WrongOtp, "otp_invalid", 1),
        case(code(), || Verdict::Denied(ReplayedOtp), 401, Kind::ReplayedOtp, "otp_invalid", 1),
        case(code(), || Verdict::Denied(UnknownUser), 401, Kind::UnknownUser, "otp_invalid", 1),
        case(code(), || Verdict::Denied(NotEnrolled), 401, Kind::NotEnrolled, "otp_invalid", 1),
        case(request(None), || Verdict::Denied(UnknownUser), 401, Kind::UnknownUser, "otp_required", 1),
        case(request(None), || Verdict::Denied(NotEnrolled), 401, Kind::NotEnrolled, "otp_required", 1),
        case(request(None), || Verdict::Denied(Refused), 401, Kind::Refused, "denied", 1),
        case(
            code(),
            || Verdict::Denied(Throttled { retry_after: Duration::from_millis(1) }),
            429,
            Kind::Throttled,
            "too_many_failures",
            1,
        ),
        case(code(), || Verdict::Denied(LockedOut), 429, Kind::LockedOut, "too_many_failures", 1),
        case(request(None), || Verdict::pending(None), 202, Kind::Pending, "pending", 1),
        case(form(&format!("{FORM}; charset=utf-16"), "otp=1"), never, 400, Kind::UnreadableBody, "body_unreadable", 0),
        case(compressed, never, 400, Kind::UnreadableBody, "body_unreadable", 0),
        case(form(FORM, &"x".repeat(65_537)), never, 413, Kind::BodyTooLarge, "body_too_large", 0),
    ]
}

#[tokio::test]
async fn every_refusal() {
    for Case { request, answer, status, kind: expected, code, verified } in cases() {
        let inner = Calls::default();
        let verifier = Says::new(move |_| Ok(answer()));
        let gate = ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default()).layer(Strict::new(&inner));
        let response = gate.oneshot(request).await.unwrap();

        assert_eq!((response.status().as_u16(), kind(&response)), (status, Some(expected)));
        assert_eq!((verifier.calls(), inner.count()), (verified, 0), "{expected:?}");
        let headers = response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == 401);
        if status == 401 {
            let challenge = format!("Toopher realm=\"second factor\", error=\"{code}\"");
            assert_eq!(headers[header::WWW_AUTHENTICATE], challenge.as_str());
        }
        assert_eq!(headers.get(header::RETRY_AFTER).is_some(), expected == Kind::Throttled);
        let length = headers[header::CONTENT_LENGTH].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len().to_string(), length);
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], format!("urn:tower-toopher:{code}"));
        assert_eq!(problem["status"], status);
    }
}

#[tokio::test]
async fn a_verifier_in_trouble_is_503_whatever_its_error() {
    let inner = Calls::default();
    let gate = ToopherLayer::new(Says::new(|_| Err("the backend is down".into()))).layer(Strict::new(&inner));
    let response = gate.oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!((response.status(), kind(&response)), (StatusCode::SERVICE_UNAVAILABLE, Some(Kind::Unavailable)));
    assert!(!response.headers().contains_key(header::RETRY_AFTER));
    let cause = std::error::Error::source(response.extensions().get::<Rejection>().unwrap()).unwrap().to_string();
    assert_eq!(cause, "the backend is down");
    assert!(!format!("{:?}", response.into_body()).contains("backend"));

    let failing = Says::new(|_| Err(Unavailable::new("down", Duration::from_millis(1500)).into()));
    let response = ToopherLayer::new(failing).layer(Strict::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");

    // A wait that cannot be written down is as long as can be.
    let endless = Says::always(Verdict::Denied(DenyReason::Throttled { retry_after: Duration::MAX }));
    let response = ToopherLayer::new(endless).layer(Strict::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], u64::MAX.to_string());

    // An error of another type, and one before the verifier could be called at all.
    let refuses = service_fn(|_| async { Err::<Verdict, _>(std::io::Error::other("refused")) });
    let response = ToopherLayer::new(refuses).layer(Strict::new(&inner)).oneshot(request(None)).await.unwrap();
    assert_eq!(kind(&response), Some(Kind::Unavailable));
    assert_eq!(inner.count(), 0);
}

#[tokio::test]
async fn wrong_replayed_unknown_and_unenrolled_look_alike() {
    for otp in [Some(CODE), None] {
        let mut seen = Vec::new();
        for reason in [DenyReason::WrongOtp, DenyReason::ReplayedOtp, DenyReason::UnknownUser, DenyReason::NotEnrolled]
        {
            let gate = ToopherLayer::new(Says::always(Verdict::Denied(reason))).layer(Strict::new(&Calls::default()));
            let (parts, body) = gate.oneshot(request(otp)).await.unwrap().into_parts();
            seen.push((parts.status, format!("{:?}", parts.headers), body.collect().await.unwrap().to_bytes()));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
}

#[tokio::test]
async fn a_grant_goes_on_with_its_factor_and_without_its_header() {
    let inner = service_fn(|request: Request<Body>| async move {
        assert!(!request.headers().contains_key("Toopher-OTP"));
        let factor = request.extensions().get::<SecondFactor>().unwrap();
        assert_eq!((factor.user(), factor.action().as_str()), (&alice(), "transfer"));
        assert_eq!(factor.factor(), Factor::Push);
        Ok::<_, std::convert::Infallible>(Response::new(Body::from("in")))
    });
    let gate = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Push))).action("transfer").layer(inner);
    let response = gate.oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!((response.status(), kind(&response)), (StatusCode::OK, None));
}

#[tokio::test]
async fn the_verifier_sees_what_the_layer_was_told() {
    let verifier = Says::new(|attempt| {
        assert_eq!(attempt.user().as_str(), "from-the-session");
        assert_eq!(attempt.action().as_str(), "DELETE /account");
        assert_eq!(attempt.terminal().unwrap().name(), "curl/8");
        assert_eq!(attempt.otp().unwrap().as_str(), CODE);
        Ok(Verdict::Granted(Factor::Totp))
    });
    let gate = ToopherLayer::new(verifier)
        .identify(|parts| parts.headers.get("session").map(|_| user("from-the-session")))
        .action_for(|parts| Action::from(format!("{} {}", parts.method, parts.uri.path())))
        .terminal(|parts| Some(tower_toopher::Terminal::new(parts.headers["user-agent"].to_str().ok()?)))
        .layer(Strict::new(&Calls::default()));
    let request = Request::delete("/account")
        .header("session", "s")
        .header("user-agent", "curl/8")
        .header("toopher-otp", "081 804")
        .body(Body::default())
        .unwrap();
    assert_eq!(gate.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn who_passed_an_outer_gate_is_asked_again_only_for_another_action_or_user() {
    let ask = |shown: SecondFactor| async move {
        let verifier = Says::always(Verdict::Denied(DenyReason::OtpRequired));
        let gate = ToopherLayer::new(verifier.clone()).action("pay").layer(Strict::new(&Calls::default()));
        let mut request = request(None);
        request.extensions_mut().insert(shown);
        (gate.oneshot(request).await.unwrap().status().as_u16(), verifier.calls())
    };
    assert_eq!(ask(SecondFactor::new(alice(), "pay", Factor::Totp)).await, (200, 0));
    assert_eq!(ask(SecondFactor::new(alice(), "log in", Factor::Totp)).await, (401, 1));
    assert_eq!(ask(SecondFactor::new(alice(), "Pay", Factor::Totp)).await, (401, 1));
    assert_eq!(ask(SecondFactor::new(user("bob"), "pay", Factor::Totp)).await, (401, 1));
}

#[tokio::test]
async fn a_gate_within_a_gate_within_a_gate_remembers_all_of_them() {
    let verifier = Says::new(|attempt| {
        Ok(attempt.otp().map_or(Verdict::Denied(DenyReason::OtpRequired), |_| Verdict::Granted(Factor::Totp)))
    });
    let calls = Calls::default();
    let layer = |action: &'static str| ToopherLayer::new(verifier.clone()).action(action);
    let by_x = || tower_toopher::Header::named(http::HeaderName::from_static("x-otp"));
    let stack = layer("log in").layer(layer("pay").extractor(by_x()).layer(layer("log in").layer(Strict::new(&calls))));
    let mut request = request(Some(CODE));
    request.headers_mut().insert("x-otp", "123456".parse().unwrap());
    assert_eq!(stack.oneshot(request).await.unwrap().status(), 200);
    assert_eq!((verifier.calls(), calls.count()), (2, 1));
}

#[tokio::test]
async fn users_without_a_factor_get_what_was_configured() {
    let try_with = |policy| async move {
        let inner = service_fn(|request: Request<Body>| async move {
            let marked = request.extensions().get::<WithoutSecondFactor>().is_some();
            assert!(request.extensions().get::<SecondFactor>().is_none());
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(marked.to_string())))
        });
        let gate =
            ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::NotEnrolled))).not_enrolled(policy).layer(inner);
        let mut request = request(None);
        // A factor for something else does not make this request look guarded.
        request.extensions_mut().insert(SecondFactor::new(alice(), "else", Factor::Totp));
        let response = gate.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    assert_eq!(try_with(NotEnrolledPolicy::Refuse).await.0, 401);
    let (status, body) = try_with(NotEnrolledPolicy::RequireEnrolment).await;
    assert!(status == 403 && body.contains("enrolment_required"));
    assert_eq!(try_with(NotEnrolledPolicy::PassUnprotected).await, (200, "true".to_owned()));
}

#[tokio::test]
async fn forward_auth_never_says_2xx_unless_granted() {
    let verdicts: [fn() -> Verdict; 3] = [
        || Verdict::pending(Some(Duration::from_secs(3))),
        || Verdict::Denied(DenyReason::WrongOtp),
        || Verdict::Denied(DenyReason::NotEnrolled),
    ];
    let nothing_to_see = |_: &Rejection, _: &Parts| Response::new(Full::<Bytes>::from("come in"));
    for verdict in verdicts {
        let layer = ToopherLayer::new(Says::always(verdict())).profile(Profile::ForwardAuth);
        let response = layer.clone().layer(Strict::new(&Calls::default())).oneshot(request(None)).await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let hooked = layer.reject_with(nothing_to_see).layer(Strict::new(&Calls::default()));
        let response = hooked.oneshot(request(None)).await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
    let granted = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))).profile(Profile::ForwardAuth);
    let response = granted.layer(Strict::new(&Calls::default())).oneshot(request(None)).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_hook_replaces_everything_but_the_reason_inside() {
    let hook = |rejection: &Rejection, request: &Parts| {
        let mut response = rejection.response(Body::from(format!("{} {}", request.uri.path(), rejection.code())));
        response.headers_mut().remove(header::WWW_AUTHENTICATE);
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    };
    let gate = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::ReplayedOtp)))
        .realm(&Realm::new("bank").unwrap())
        .reject_with(hook)
        .layer(Strict::new(&Calls::default()));
    let response = gate.oneshot(request(Some(CODE))).await.unwrap();
    assert_eq!((response.status(), kind(&response)), (StatusCode::IM_A_TEAPOT, Some(Kind::ReplayedOtp)));
    assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/account otp_invalid");
}

#[tokio::test]
async fn every_method_is_guarded_and_head_is_answered_without_a_body() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"] {
        let inner = Calls::default();
        let gate = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::OtpRequired))).layer(Strict::new(&inner));
        let mut request = request(None);
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        // No OTP is read from where logs would keep it.
        *request.uri_mut() = "/account?otp=081804".parse().unwrap();
        request.headers_mut().insert(header::ORIGIN, "https://elsewhere.test".parse().unwrap());
        let response = gate.oneshot(request).await.unwrap();
        assert_eq!((response.status().as_u16(), inner.count()), (401, 0), "{method}");
        assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.is_empty(), method == "HEAD", "{method}");
    }
}

#[tokio::test]
async fn only_a_real_preflight_passes_and_only_when_told() {
    let send = |pass: bool, method: &'static str, headers: &'static [&'static str]| async move {
        let layer = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::OtpRequired)));
        let layer = if pass { layer.insecure_pass_cors_preflight() } else { layer };
        let mut request = Request::builder().method(method).uri("/account");
        for name in headers {
            request = request.header(*name, "GET");
        }
        let gate = layer.layer(Strict::new(&Calls::default()));
        gate.oneshot(request.body(Body::default()).unwrap()).await.unwrap().status().as_u16()
    };
    assert_eq!(send(true, "OPTIONS", &["origin", "access-control-request-method"]).await, 200);
    assert_eq!(send(false, "OPTIONS", &["origin", "access-control-request-method"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &["origin"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &["access-control-request-method"]).await, 401);
    assert_eq!(send(true, "OPTIONS", &[]).await, 401);
    assert_eq!(send(true, "GET", &["origin", "access-control-request-method"]).await, 401);
}

#[tokio::test]
async fn what_is_skipped_is_untouched_and_only_that() {
    let verifier = Says::always(Verdict::Denied(DenyReason::OtpRequired));
    let gate = ToopherLayer::new(verifier.clone()).insecure_skip(|parts| parts.uri.path() == "/health").layer(
        service_fn(|request: Request<Body>| async move {
            assert_eq!(request.headers()["Toopher-OTP"], "  odd  ");
            Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
        }),
    );
    let send = |path: &str| {
        let request = Request::get(path).header("Toopher-OTP", "  odd  ").body(Body::default()).unwrap();
        gate.clone().oneshot(request)
    };
    assert_eq!(send("/health").await.unwrap().status(), 200);
    assert_eq!(send("/health?deep=1").await.unwrap().status(), 200);
    for path in ["/health/", "//health", "/%68ealth", "/HEALTH", "/health/../account", "/health;x", "/healthy"] {
        assert_eq!(send(path).await.unwrap().status(), 401, "{path}");
    }
    assert_eq!(verifier.calls(), 0);
}
