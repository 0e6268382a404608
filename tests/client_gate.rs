//! The whole way: a request, the gate, the verifier, the client, and an API that says what it likes.
#![allow(clippy::unwrap_used)]

mod client_common;
mod common;

use std::time::Duration;

use client_common::{Answer, Api, DENIED, GRANTED, PENDING, answer, api_error, at_now};
use common::{Calls, Strict, kind, request};
use http::{HeaderMap, HeaderValue, StatusCode};
use tower::{Layer, ServiceExt};
use tower_toopher::toopher::{ToopherClient, ToopherVerifier};
use tower_toopher::{Approvals, NotEnrolledPolicy, Profile, RejectionKind, Terminal, ToopherLayer};

/// The layer of a gate that may ask for approvals, in one session.
fn layer<V>(verifier: V) -> ToopherLayer<Approvals<V>> {
    ToopherLayer::new(Approvals::new(verifier).unwrap()).approvals(|_| Some("session".into()))
}

/// Sends a request through a new gate over an API that says one thing: the status, why, the headers, and how often the
/// inner service was called.
async fn outcome(said: Answer, otp: Option<&str>) -> (u16, Option<RejectionKind>, HeaderMap, usize) {
    let calls = Calls::default();
    let api = Api::always(said);
    let gate = layer(ToopherVerifier::new(api.client())).layer(Strict::new(&calls));
    let response = gate.oneshot(request(otp)).await.unwrap();
    (response.status().as_u16(), kind(&response), response.headers().clone(), calls.count())
}

fn retry_after(mut answer: Answer, seconds: &'static str) -> Answer {
    answer.headers_mut().insert("retry-after", seconds.parse().unwrap());
    answer
}

#[tokio::test]
async fn every_outcome_has_its_status() {
    use RejectionKind::*;
    let otp = Some("081804");
    for (said, otp, status, why, wait) in [
        (answer(200, GRANTED), otp, 200, None, None),
        (answer(200, GRANTED), None, 200, None, None),
        (answer(200, DENIED), otp, 401, Some(WrongOtp), None),
        (answer(200, DENIED), None, 401, Some(Refused), None),
        (answer(200, PENDING), None, 202, Some(Pending), Some("2")),
        (answer(200, PENDING), otp, 503, Some(Unavailable), None),
        (api_error(409, 704, ""), otp, 401, Some(UnknownUser), None),
        (api_error(409, 705, ""), None, 401, Some(UnknownUser), None),
        (api_error(409, 706, ""), None, 401, Some(OtpRequired), None),
        (api_error(409, 707, ""), otp, 401, Some(NotEnrolled), None),
        (api_error(429, 429, ""), otp, 429, Some(Throttled), Some("30")),
        (retry_after(answer(429, ""), "7"), None, 429, Some(Throttled), Some("7")),
        (api_error(401, 401, "Not a valid OAuth signed request"), otp, 503, Some(Unavailable), None),
        (api_error(403, 403, ""), None, 503, Some(Unavailable), None),
        (retry_after(answer(503, "down"), "9"), otp, 503, Some(Unavailable), Some("9")),
        (retry_after(api_error(500, 500, ""), "9"), None, 503, Some(Unavailable), Some("9")),
        (answer(200, "<html>"), otp, 503, Some(Unavailable), None),
        (answer(200, ""), None, 503, Some(Unavailable), None),
        (answer(302, GRANTED), None, 503, Some(Unavailable), None),
    ] {
        let shown = format!("{said:?} {otp:?}");
        let (code, reason, headers, inner) = outcome(said, otp).await;
        assert_eq!((code, reason), (status, why), "{shown}");
        assert_eq!(headers.get("retry-after").map(|wait| wait.to_str().unwrap()), wait, "{shown}");
        assert_eq!(inner, usize::from(status == 200), "{shown}");
    }
    let (code, reason, _, inner) = outcome(answer(200, GRANTED), Some("nonsense")).await;
    assert_eq!((code, reason, inner), (401, Some(MalformedOtp), 0));
}

/// F6: which of them it was, the outside cannot tell.
#[tokio::test]
async fn unknown_opted_out_unpaired_and_wrong_look_alike() {
    let mut looks = Vec::new();
    for said in [
        answer(200, DENIED),
        api_error(409, 704, "The specified user has disabled Toopher authentication."),
        api_error(409, 705, "No matching user exists."),
        api_error(409, 707, "Not allowed: This pairing has been deactivated."),
    ] {
        let (status, _, headers, _) = outcome(said, Some("081804")).await;
        looks.push((status, headers));
    }
    assert!(looks.windows(2).all(|two| two[0] == two[1]), "{looks:?}");
}

/// An opted-out user stays out although users who are not enrolled are let in, unless that was wished for too.
#[tokio::test]
async fn opting_out_opens_nothing_by_itself() {
    let api = Api::always(api_error(409, 704, ""));
    for (open, status) in [(false, StatusCode::UNAUTHORIZED), (true, StatusCode::OK)] {
        let verifier = ToopherVerifier::new(api.client());
        let verifier = if open { verifier.insecure_opted_out_is_not_enrolled() } else { verifier };
        let layer = layer(verifier).not_enrolled(NotEnrolledPolicy::PassUnprotected);
        let response = layer.layer(Strict::new(&Calls::default())).oneshot(request(None)).await.unwrap();
        assert_eq!(response.status(), status);
    }
}

/// Asked, polled, approved, let in once, from one browser and not from another.
#[tokio::test]
async fn a_login_by_phone() {
    let api = Api::script(vec![answer(200, PENDING), answer(200, PENDING), answer(200, GRANTED)]);
    let calls = Calls::default();
    let layer = layer(ToopherVerifier::new(api.client())).terminal(|parts| {
        let cookie = parts.headers.get("cookie")?.to_str().ok()?;
        Some(Terminal::new("browser").with_discriminator(cookie))
    });
    let gate = layer.layer(Strict::new(&calls));
    let from = async |cookie: &'static str, challenge: Option<&HeaderValue>| {
        let mut request = request(None);
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        if let Some(challenge) = challenge {
            request.headers_mut().insert("toopher-challenge", challenge.clone());
        }
        gate.clone().oneshot(request).await.unwrap()
    };
    let first = from("mine", None).await;
    assert_eq!((first.status(), &first.headers()["retry-after"]), (StatusCode::ACCEPTED, &"2".parse().unwrap()));
    let challenge = Some(&first.headers()["toopher-challenge"]);
    for (cookie, challenge, status) in [
        ("mine", challenge, 202),
        ("theirs", challenge, 401),
        ("theirs", None, 401),
        ("mine", challenge, 200),
        ("mine", challenge, 401),
    ] {
        assert_eq!(from(cookie, challenge).await.status(), status, "{cookie} {challenge:?}");
    }
    assert_eq!(calls.count(), 1);
    // Nobody else has rung or polled.
    assert_eq!(api.seen().len(), 3);
    assert_eq!(api.seen()[0].get("terminal_name_extra"), Some("mine"));
}

/// A proxy that takes every 2xx for a yes is not told 202.
#[tokio::test]
async fn a_proxy_is_told_no_while_the_phone_is_asked() {
    let layer = layer(ToopherVerifier::new(Api::always(answer(200, PENDING)).client()));
    let gate = layer
        .profile(Profile::ForwardAuth)
        .bind(|parts| Some(parts.uri.path().into()))
        .layer(Strict::new(&Calls::default()));
    let response = gate.oneshot(request(None)).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("toopher-challenge"));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_does_not_answer_is_a_503_in_time() {
    let silent = tower::service_fn(|_: http::Request<bytes::Bytes>| std::future::pending::<Result<Answer, &str>>());
    let client = at_now(ToopherClient::with_transport(client_common::base(), client_common::credentials(), silent));
    let gate = ToopherLayer::new(ToopherVerifier::new(client)).layer(Strict::new(&Calls::default()));
    let started = tokio::time::Instant::now();
    let response = gate.oneshot(request(Some("081804"))).await.unwrap();
    assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(RejectionKind::Unavailable)));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}
