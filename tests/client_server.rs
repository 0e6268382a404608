//! The two ends of the pipe together: gate, verifier and client before the crate's own server.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response};
use bytes::Bytes;
use common::toopher::{HOST, Phone, Site, server};
use common::{Calls, Clock, Strict, T, kind, request};
use futures_util::future::join_all;
use serde_json::json;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::oauth1::Credentials;
use tower_toopher::toopher::{ApiErrorKind, Initiate, ToopherClient, ToopherVerifier};
use tower_toopher::{Approvals, RejectionKind, Terminal, ToopherLayer};

/// A site, its server, and a clock that both go by.
async fn site() -> (Site, Clock) {
    let clock = Clock::at(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

/// A transport that ends in the server's router.
fn client_with(
    site: &Site,
    credentials: Credentials,
) -> ToopherClient<
    impl Service<Request<Bytes>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + use<>,
> {
    let (app, clock) = (site.app.clone(), site.clock.clone());
    let transport = tower::service_fn(move |request: Request<Bytes>| {
        let app = app.clone();
        async move { app.oneshot(request.map(Body::from)).await }
    });
    let base = format!("https://{HOST}/v1").parse().unwrap();
    ToopherClient::with_transport(base, credentials, transport).clock(move || UNIX_EPOCH + clock.now())
}

macro_rules! client {
    ($site:expr) => {
        client_with(&$site, $site.credentials.clone())
    };
}

#[tokio::test]
async fn every_call_is_answered() {
    let (site, clock) = site().await;
    let client = client!(site);
    let mut phone = Phone::register(&site.app).await;
    let (_, phrase) = phone.post("phrases", json!({})).await;

    let pairing = client.pair(phrase["phrase"].as_str().unwrap(), "Zo\u{eb} + %20").await.unwrap();
    assert!(pairing.is_pending() && !pairing.is_active());
    let (_, allowed) = phone.post(&format!("pairings/{}/allow", pairing.id()), json!({})).await;
    phone.secret = allowed["secret"].as_str().map(str::to_owned);
    assert!(client.pairing_status(pairing.id()).await.unwrap().is_active());
    let user = client.find_user("Zo\u{eb} + %20").await.unwrap().unwrap();
    let user_id = user.id().unwrap();
    assert_eq!(client.user(user_id).await.unwrap(), user);
    assert_eq!(client.pairings_of_user(user_id).await.unwrap()[0].id(), pairing.id());

    let waiting = client.authenticate(Initiate::by_pairing_id(pairing.id()).action("log in")).await.unwrap();
    assert!(waiting.is_pending() && waiting.action() == Some("log in"));
    let otp = phone.code(clock.now()).parse().unwrap();
    let decided = client.otp_auth(waiting.id(), &otp).await.unwrap();
    assert!(decided.is_granted() && decided.is_totp_valid() == Some(true));
    assert_eq!(client.authentication_status(waiting.id()).await.unwrap().is_granted(), decided.is_granted());
    let taken_back = client.authenticate(Initiate::by_pairing_id(pairing.id())).await.unwrap();
    client.cancel_authentication(taken_back.id()).await.unwrap();
    assert!(!client.authentication_status(taken_back.id()).await.unwrap().is_granted());

    let terminal = Terminal::new("laptop").with_discriminator("a");
    let created = client.create_terminal("Zo\u{eb} + %20", &terminal).await.unwrap();
    assert_eq!(client.terminal(created.id().unwrap()).await.unwrap().name(), Some("laptop"));

    assert_eq!(client.disable_user(user_id).await.unwrap().is_enabled(), Some(false));
    let error = client.authenticate(Initiate::by_user_name("Zo\u{eb} + %20")).await.unwrap_err();
    assert_eq!(error.kind(), Some(ApiErrorKind::UserOptedOut));
    assert_eq!(client.enable_user(user_id).await.unwrap().is_enabled(), Some(true));

    let link = client.generate_reset_link(pairing.id()).await.unwrap();
    assert!(link.url().contains("reset_authorization="));
    let by_qr = client.pair_with_qr("bob").await.unwrap();
    assert!(client.qr_image(by_qr.id()).await.unwrap().starts_with(b"<"));
    client.reset_user("Zo\u{eb} + %20").await.unwrap();
    assert!(!client.pairing_status(pairing.id()).await.unwrap().is_active());
    let error = client.authenticate(Initiate::by_pairing_id(pairing.id())).await.unwrap_err();
    assert_eq!(error.kind(), Some(ApiErrorKind::PairingDeactivated));
    assert!(!client.deactivate_pairing(by_qr.id()).await.unwrap().is_active());
    assert_eq!(client.find_user("nobody").await.unwrap(), None);
    assert_eq!(client.create_user("carol").await.unwrap().name(), Some("carol"));
    assert!(client.authentication_status("nothing").await.unwrap_err().is_api());

    let stranger = client_with(&site, Credentials::new(site.credentials.key(), "a guess").unwrap());
    assert!(stranger.create_user("dave").await.unwrap_err().is_credentials());
}

#[tokio::test]
async fn codes_at_the_gate() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("alice").await;
    let gate = ToopherLayer::new(ToopherVerifier::new(client!(site))).layer(Strict::new(&Calls::default()));
    let status = |otp: String| {
        let gate = gate.clone();
        async move { gate.oneshot(request(Some(&otp))).await.unwrap() }
    };
    let code = phone.code(clock.now());
    // One code passes once, whatever comes at the same time.
    let answers = join_all((0..4).map(|_| status(code.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
    assert_eq!(kind(&status("000000".into()).await), Some(RejectionKind::WrongOtp));
    // Guesses are throttled by the server, and so at the gate.
    let guesses = join_all((0..10).map(|_| status("000000".into()))).await;
    let throttled = guesses.iter().find(|answer| answer.status() == 429).unwrap();
    assert!(throttled.headers().contains_key("retry-after"));
    assert_eq!(phone.get("requests").await, json!([]));
}

#[tokio::test]
async fn the_phone_at_the_gate() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("alice").await;
    let calls = Calls::default();
    let verifier = ToopherVerifier::new(client!(site)).create_terminals();
    let gate = ToopherLayer::new(Approvals::new(verifier).unwrap())
        .approvals(|_| Some("session".into()))
        .terminal(|_| Some(Terminal::new("laptop").with_discriminator("a random cookie")))
        .layer(Strict::new(&calls));
    let send = async |challenge: Option<HeaderValue>| {
        let mut request = request(None);
        request
            .headers_mut()
            .extend(challenge.map(|challenge| (HeaderName::from_static("toopher-challenge"), challenge)));
        let response = gate.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), response.headers().get("toopher-challenge").cloned())
    };
    for (answer, expected) in [("allow", 200), ("deny", 401)] {
        let (status, challenge) = send(None).await;
        assert_eq!(status, 202);
        // Nineteen others join, each with a challenge of its own.
        let joined = join_all((0..19).map(|_| send(None))).await;
        assert!(joined.iter().all(|(status, other)| *status == 202 && *other != challenge));
        let waiting = phone.get("requests").await;
        assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
        assert_eq!((&waiting[0]["terminal"], &waiting[0]["action"]), (&json!("laptop"), &json!("log in")));
        let id = waiting[0]["id"].as_str().unwrap();
        assert_eq!(phone.post(&format!("requests/{id}/{answer}"), json!({})).await.0, 200);
        let told = join_all(joined.into_iter().map(|(_, challenge)| send(challenge))).await;
        assert_eq!(told.iter().filter(|(status, _)| *status == 200).count(), usize::from(expected == 200), "{told:?}");
        assert!(told.iter().all(|(status, _)| [401, expected].contains(status)));
        assert_eq!(send(challenge).await.0, 401);
    }
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn nobody_who_is_not_paired_passes() {
    let (site, _) = site().await;
    let gate = ToopherLayer::new(Approvals::new(ToopherVerifier::new(client!(site))).unwrap())
        .approvals(|_| Some("session".into()))
        .layer(Strict::new(&Calls::default()));
    for otp in [None, Some("081804")] {
        let response = gate.clone().oneshot(request(otp)).await.unwrap();
        assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(RejectionKind::UnknownUser)));
    }
}
