//! Grants that are not valid now: approvals of a user who is locked since, and grants of users and pairings that ended.
//! Codes of users without a phone.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use toopher_server_test_support::site::{Phone, Site, server};
use toopher_server_test_support::{Clock, RFC_SECRET, T, alice, rfc_totp};
use tower::{Layer, ServiceExt};
use tower_toopher::client::ToopherVerifier;
use tower_toopher::verify::ApprovalMode;
use tower_toopher::{Approvals, Attempt, DenyReason, RejectionKind, ToopherLayer, Verdict};

use crate::client::client_with;
use crate::inner::{Calls, OneShotService, kind, request};

async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

fn outcome(value: &Value) -> (bool, bool) {
    (value["pending"].as_bool().unwrap(), value["granted"].as_bool().unwrap())
}

const WAITING: (bool, bool) = (true, false);
const GRANTED: (bool, bool) = (false, true);
const DENIED: (bool, bool) = (false, false);

/// A request that the phone has allowed.
async fn allowed(site: &Site, phone: &Phone, more: &[(&str, &str)]) -> Value {
    let (_, asked) = site.initiate("jdoe", more).await;
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&asked)), json!({})).await.0, 200);
    asked
}

async fn lock(site: &Site, name: &str) {
    for _ in 0..5 {
        assert_eq!(site.initiate(name, &[("otp", "000000")]).await.0, 200);
    }
}

#[tokio::test]
async fn an_approval_is_not_redeemed_while_the_user_is_locked() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("jdoe").await;
    let asked = allowed(&site, &phone, &[]).await;
    let path = format!("authentication_requests/{}", id(&asked));
    lock(&site, "jdoe").await;
    let (status, error) = site.get(&path).await;
    assert_eq!((status, &error["error_code"]), (429, &json!(429)));
    // Neither through another call about the request.
    for call in ["otp_auth", "cancel"] {
        assert_eq!(site.post(&format!("{path}/{call}"), &[("otp", "000000")]).await.0, 429, "{call}");
    }
    // After the lock the approval is valid again.
    clock.advance(30);
    assert_eq!(outcome(&site.get(&path).await.1), GRANTED);

    // A grant by a code stays valid: the code was verified by the same count. Denials are always shown.
    let code = phone.code(clock.now());
    let (_, by_code) = site.initiate("jdoe", &[("otp", &code)]).await;
    let (_, denied) = site.initiate("jdoe", &[]).await;
    assert_eq!(phone.post(&format!("requests/{}/deny", id(&denied)), json!({})).await.0, 200);
    lock(&site, "jdoe").await;
    for (request, expected) in [(by_code, GRANTED), (denied, DENIED)] {
        let (status, shown) = site.get(&format!("authentication_requests/{}", id(&request))).await;
        assert_eq!((status, outcome(&shown)), (200, expected));
    }
}

#[tokio::test]
async fn the_layer_redeems_an_approval_after_the_lock_and_not_before() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("alice").await;
    let calls = Calls::default();
    let verifier = Approvals::new(ToopherVerifier::new(client_with(&site, site.credentials.clone()))).unwrap();
    let service = ToopherLayer::new(verifier.clock(&clock)).approvals().layer(OneShotService::new(&calls));
    let send = async |token: Option<HeaderValue>| {
        let mut request = request(None);
        request.headers_mut().extend(token.map(|token| (HeaderName::from_static("toopher-approval"), token)));
        service.clone().oneshot(request).await.unwrap()
    };
    let begun = send(None).await;
    let token = begun.headers().get("toopher-approval").cloned();
    let pending = phone.get("requests").await;
    assert_eq!(phone.post(&format!("requests/{}/allow", id(&pending[0])), json!({})).await.0, 200);
    lock(&site, "alice").await;
    let refused = send(token.clone()).await;
    let wait = Duration::from_secs(30);
    assert_eq!(kind(&refused), Some(RejectionKind::Denied(DenyReason::Throttled { retry_after: wait })));
    assert_eq!((refused.status().as_u16(), calls.count()), (429, 0));
    clock.advance(30);
    assert_eq!(send(token.clone()).await.status(), 200);
    assert_eq!(send(token).await.status(), 401);
}

#[tokio::test]
async fn a_grant_ends_with_its_user_and_its_pairing() {
    let (site, clock) = site().await;
    let (phone, first) = site.paired("jdoe").await;
    // Another pairing of the user does not keep the grants of the first one valid.
    let asked = allowed(&site, &phone, &[]).await;
    let by_pairing = [("pairing_id", first.as_str()), ("otp", &phone.code(clock.now()))];
    let (_, by_code) = site.post("authentication_requests/initiate", &by_pairing).await;
    site.paired("jdoe").await;
    let user = format!("users/{}", id(&asked["user"]));
    let shown = async |request: &Value| site.get(&format!("authentication_requests/{}", id(request))).await;
    for request in [&asked, &by_code] {
        assert_eq!(outcome(&shown(request).await.1), GRANTED);
        site.post(&user, &[("disable_toopher_auth", "true")]).await;
        let (status, error) = shown(request).await;
        assert_eq!((status, &error["error_code"]), (409, &json!(704)));
        site.post(&user, &[("disable_toopher_auth", "false")]).await;
    }
    site.post(&format!("pairings/{first}"), &[("deactivated", "true")]).await;
    for request in [&asked, &by_code] {
        let (status, error) = shown(request).await;
        assert_eq!((status, &error["error_code"]), (409, &json!(707)));
    }
}

#[tokio::test]
async fn printed_codes_need_no_phone() {
    let (site, clock) = site().await;
    let list = [("user_name", "paper"), ("create_user_if_needed", "True")];
    let codes = async || {
        let (status, answer) = site.post("users/activate_next_otp_list", &list).await;
        assert_eq!(status, 200);
        let codes = answer["otp_list"].as_array().unwrap().clone();
        codes.into_iter().map(|code| code.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let printed = codes().await;
    let with = async |otp: &str| site.initiate("paper", &[("otp", otp)]).await;
    let (status, granted) = with(&printed[0]).await;
    assert_eq!((status, outcome(&granted), &granted["totp_valid"]), (200, GRANTED, &json!(true)));
    assert_eq!(granted["user"]["number_of_pregenerated_otps_remaining"], 9);
    let (_, shown) = site.get(&format!("authentication_requests/{}", id(&granted))).await;
    assert_eq!(outcome(&shown), GRANTED);
    for wrong in [printed[0].as_str(), "0000-0000-0000-0000", "000000", ""] {
        let (status, denied) = with(wrong).await;
        assert_eq!((status, outcome(&denied)), (200, DENIED), "{wrong}");
    }
    // Without an OTP the request says that one is required, and a code answers it.
    let (status, asked) = site.initiate("paper", &[]).await;
    assert_eq!((status, outcome(&asked), &asked["reason_code"]), (200, WAITING, &json!(708)));
    assert_eq!(asked["reason"], "User requires OTP authentication");
    let path = format!("authentication_requests/{}/otp_auth", id(&asked));
    let (_, answered) = site.post(&path, &[("otp", &printed[1])]).await;
    assert_eq!((outcome(&answered), &answered["reason_code"]), (GRANTED, &json!(0)));

    // A disabled user has no codes, and the codes are not used up.
    let path = format!("users/{}", id(&granted["user"]));
    site.post(&path, &[("disable_toopher_auth", "true")]).await;
    assert_eq!(with(&printed[2]).await.1["error_code"], 704);
    site.post(&path, &[("disable_toopher_auth", "false")]).await;
    assert_eq!(outcome(&with(&printed[2]).await.1), GRANTED);
    // A new list replaces the old one. After the last code the user has no factor.
    for code in codes().await {
        assert_eq!(outcome(&with(&code).await.1), GRANTED);
    }
    assert_eq!(with(&printed[3]).await.1["error_code"], 705);

    // Codes remain when the user loses the phone. A call that names the pairing accepts no others.
    let printed = codes().await;
    let (_, pairing) = site.paired("paper").await;
    site.post(&format!("pairings/{pairing}"), &[("deactivated", "true")]).await;
    let named = [("pairing_id", pairing.as_str()), ("otp", printed[0].as_str())];
    assert_eq!(site.post("authentication_requests/initiate", &named).await.1["error_code"], 707);
    assert_eq!(outcome(&with(&printed[0]).await.1), GRANTED);
    // A lock applies to them, too.
    for _ in 0..5 {
        with("0000-0000-0000-0000").await;
    }
    assert_eq!(with(&printed[1]).await.0, 429);
    clock.advance(30);
    assert_eq!(outcome(&with(&printed[1]).await.1), GRANTED);
}

#[tokio::test]
async fn an_authenticator_without_a_phone_requires_an_otp() {
    let (site, clock) = site().await;
    let secret: String = RFC_SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let (_, pairing) = site.post("pairings/upgrade", &[("user_name", "alice"), ("secret", &secret)]).await;
    for subject in [("user_name", "alice"), ("pairing_id", id(&pairing))] {
        let (_, asked) = site.post("authentication_requests/initiate", &[subject]).await;
        assert_eq!((outcome(&asked), &asked["reason_code"]), (WAITING, &json!(708)));
    }
    let verifier = ToopherVerifier::new(client_with(&site, site.credentials.clone()));
    let attempt = Attempt::new(alice(), "log in");
    let verdict = verifier.clone().oneshot(attempt.clone().with_approval_mode(ApprovalMode::Request)).await.unwrap();
    assert_eq!(verdict, Verdict::Denied(DenyReason::OtpRequired));
    let otp = rfc_totp().code_at(clock.now());
    assert!(matches!(verifier.oneshot(attempt.with_otp(Some(otp))).await.unwrap(), Verdict::Granted(_)));
    // The phone is asked, although the authenticator is newer.
    clock.advance(1);
    let (phone, _) = site.paired("jdoe").await;
    clock.advance(1);
    site.post("pairings/upgrade", &[("user_name", "jdoe"), ("secret", &secret)]).await;
    let (_, asked) = site.initiate("jdoe", &[]).await;
    assert_eq!((outcome(&asked), &asked["reason_code"]), (WAITING, &json!(0)));
    assert_eq!(id(&phone.get("requests").await[0]), id(&asked));
}
