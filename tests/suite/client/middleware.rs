//! The layer with the verifier and the client, over an API with scripted responses.

use std::time::Duration;

use super::support::{Api, ApiHttpResponse, DENIED, GRANTED, PENDING, api_error, response, with_fixed_clock};
use crate::support::{Body, Calls, OneShotService, kind, request};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_toopher::client::{ToopherClient, ToopherVerifier};
use tower_toopher::middleware::{NotEnrolledPolicy, Profile};
use tower_toopher::verify::{ErrorClass, ExtraBinding, SessionId};
use tower_toopher::{Approvals, DenyReason, RejectionKind, Terminal, ToopherLayer};

/// A layer that may request approvals.
fn layer<V>(verifier: V) -> ToopherLayer<Approvals<V>> {
    ToopherLayer::new(Approvals::new(verifier).unwrap()).approvals()
}

/// A request with a session.
fn session_request(otp: Option<&str>) -> Request<Body> {
    let mut request = request(otp);
    request.extensions_mut().insert(SessionId::new("session").unwrap());
    request
}

/// Sends a request to a new service over an API with one response. Returns the status, the kind of rejection, the
/// headers, and the number of calls of the inner service.
async fn outcome(api_response: ApiHttpResponse, otp: Option<&str>) -> (u16, Option<RejectionKind>, HeaderMap, usize) {
    let calls = Calls::default();
    let api = Api::always(api_response);
    let service = layer(ToopherVerifier::new(api.client())).layer(OneShotService::new(&calls));
    let response = service.oneshot(session_request(otp)).await.unwrap();
    (response.status().as_u16(), kind(&response), response.headers().clone(), calls.count())
}

fn retry_after(mut response: ApiHttpResponse, seconds: &'static str) -> ApiHttpResponse {
    response.headers_mut().insert("retry-after", seconds.parse().unwrap());
    response
}

#[tokio::test]
async fn every_outcome_has_its_status() {
    use DenyReason::*;
    use RejectionKind::{Denied, MalformedOtp, Pending, Unavailable};
    let otp = Some("081804");
    let throttled = |seconds| Some(Denied(Throttled { retry_after: Duration::from_secs(seconds) }));
    let server_error = Some(Unavailable(Some(ErrorClass::ServerError)));
    for (api_response, otp, status, rejection, wait) in [
        (response(200, GRANTED), otp, 200, None, None),
        (response(200, GRANTED), None, 200, None, None),
        (response(200, DENIED), otp, 401, Some(Denied(WrongOtp)), None),
        (response(200, DENIED), None, 401, Some(Denied(DeniedByUser)), None),
        (response(200, PENDING), None, 202, Some(Pending), Some("2")),
        (response(200, PENDING), otp, 503, Some(Unavailable(None)), None),
        (api_error(409, 704, ""), otp, 401, Some(Denied(UnknownUser)), None),
        (api_error(409, 705, ""), None, 401, Some(Denied(UnknownUser)), None),
        (api_error(409, 706, ""), None, 401, Some(Denied(OtpRequired)), None),
        (api_error(409, 707, ""), otp, 401, Some(Denied(NotEnrolled)), None),
        (api_error(429, 429, ""), otp, 429, throttled(30), Some("30")),
        (retry_after(response(429, ""), "7"), None, 429, throttled(7), Some("7")),
        (api_error(401, 401, "Not a valid OAuth signed request"), otp, 503, Some(Unavailable(None)), None),
        (api_error(403, 403, ""), None, 503, Some(Unavailable(None)), None),
        (retry_after(response(503, "down"), "9"), otp, 503, server_error, Some("9")),
        (retry_after(api_error(500, 500, ""), "9"), None, 503, server_error, Some("9")),
        (response(200, "<html>"), otp, 503, Some(Unavailable(None)), None),
        (response(200, ""), None, 503, Some(Unavailable(None)), None),
        (response(302, GRANTED), None, 503, Some(Unavailable(None)), None),
    ] {
        let shown = format!("{api_response:?} {otp:?}");
        let (code, kind, headers, inner) = outcome(api_response, otp).await;
        assert_eq!((code, kind), (status, rejection), "{shown}");
        assert_eq!(headers.get("retry-after").map(|wait| wait.to_str().unwrap()), wait, "{shown}");
        assert_eq!(inner, usize::from(status == 200), "{shown}");
    }
    let (code, kind, _, inner) = outcome(response(200, GRANTED), Some("nonsense")).await;
    assert_eq!((code, kind, inner), (401, Some(MalformedOtp), 0));
}

/// F6: a client cannot distinguish these reasons.
#[tokio::test]
async fn unknown_opted_out_unpaired_and_wrong_look_alike() {
    let mut looks = Vec::new();
    for api_response in [
        response(200, DENIED),
        api_error(409, 704, "The specified user has disabled Toopher authentication."),
        api_error(409, 705, "No matching user exists."),
        api_error(409, 707, "Not allowed: This pairing has been deactivated."),
    ] {
        let (status, _, headers, _) = outcome(api_response, Some("081804")).await;
        looks.push((status, headers));
    }
    assert!(looks.windows(2).all(|two| two[0] == two[1]), "{looks:?}");
}

/// The policy for users who are not enrolled applies to a user who opted out only if the verifier is configured so.
#[tokio::test]
async fn a_user_who_opted_out_is_denied_by_default() {
    let api = Api::always(api_error(409, 704, ""));
    for (allowed, status) in [(false, StatusCode::UNAUTHORIZED), (true, StatusCode::OK)] {
        let verifier = ToopherVerifier::new(api.client());
        let verifier = if allowed { verifier.insecure_on_opted_out(DenyReason::NotEnrolled) } else { verifier };
        let layer = layer(verifier).not_enrolled(NotEnrolledPolicy::InsecureAllow);
        let service = layer.layer(OneShotService::new(&Calls::default()));
        assert_eq!(service.oneshot(session_request(None)).await.unwrap().status(), status);
    }
}

/// Requested, polled, approved, and redeemed once, from the same browser and from no other.
#[tokio::test]
async fn a_login_by_phone() {
    let api = Api::script(vec![response(200, PENDING), response(200, PENDING), response(200, GRANTED)]);
    let calls = Calls::default();
    let service = layer(ToopherVerifier::new(api.client())).layer(OneShotService::new(&calls));
    let send = async |browser: &'static str, token: Option<&HeaderValue>| {
        let mut request = session_request(None);
        request.extensions_mut().insert(Terminal::new("browser").with_discriminator(browser));
        if let Some(token) = token {
            request.headers_mut().insert("toopher-approval", token.clone());
        }
        service.clone().oneshot(request).await.unwrap()
    };
    let first = send("mine", None).await;
    assert_eq!((first.status(), &first.headers()["retry-after"]), (StatusCode::ACCEPTED, &"2".parse().unwrap()));
    let token = Some(&first.headers()["toopher-approval"]);
    for (browser, token, status) in [
        ("mine", token, 202),
        ("theirs", token, 401),
        ("theirs", None, 401),
        ("mine", token, 200),
        ("mine", token, 401),
    ] {
        assert_eq!(send(browser, token).await.status(), status, "{browser} {token:?}");
    }
    assert_eq!(calls.count(), 1);
    // No other request caused a push or a poll.
    assert_eq!(api.seen().len(), 3);
    assert_eq!(api.seen()[0].get("terminal_name_extra"), Some("mine"));
}

/// A forward-auth proxy treats every 2xx as a grant, so it receives no 202.
#[tokio::test]
async fn a_forward_auth_proxy_receives_401_while_an_approval_is_pending() {
    let layer = layer(ToopherVerifier::new(Api::always(response(200, PENDING)).client()));
    let service = layer.profile(Profile::ForwardAuth).layer(OneShotService::new(&Calls::default()));
    let mut request = session_request(None);
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(ExtraBinding::new(path).unwrap());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("toopher-approval"));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_does_not_respond_is_a_503_in_time() {
    type Never = std::future::Pending<Result<ApiHttpResponse, &'static str>>;
    let silent = tower::service_fn(|_: Request<bytes::Bytes>| -> Never { std::future::pending() });
    let client =
        with_fixed_clock(ToopherClient::with_transport(super::support::base(), super::support::credentials(), silent));
    let service = ToopherLayer::new(ToopherVerifier::new(client)).layer(OneShotService::new(&Calls::default()));
    let started = tokio::time::Instant::now();
    let response = service.oneshot(request(Some("081804"))).await.unwrap();
    let kind = kind(&response);
    assert_eq!((response.status().as_u16(), kind), (503, Some(RejectionKind::Unavailable(Some(ErrorClass::Timeout)))));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
}
