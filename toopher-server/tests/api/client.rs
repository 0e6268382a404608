//! The layer, the verifier and the client of tower-toopher with this server.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response};
use bytes::Bytes;
use toopher_server_test_support::site::{HOST, Phone, Site, server};
use toopher_server_test_support::{Clock, T};

use crate::inner::{Calls, OneShotService, kind, request};
use futures_util::future::join_all;
use serde_json::json;
use toopher_oauth1::Credentials;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::client::{ApiErrorKind, AuthenticationRequest, ClientErrorKind, ToopherClient, ToopherVerifier};
use tower_toopher::{Approvals, DenyReason, RejectionKind, Terminal, ToopherLayer};

/// A site, its server, and the clock of both.
async fn site() -> (Site, Clock) {
    let clock = Clock::from_secs(T);
    (Site::new(&server(&clock).await, &clock).await, clock)
}

/// A transport that calls the server's router.
pub(crate) fn client_with(
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
    ToopherClient::with_transport(base, credentials, transport).clock(clock)
}

macro_rules! client {
    ($site:expr) => {
        client_with(&$site, $site.credentials.clone())
    };
}

#[tokio::test]
async fn all_calls_of_the_client() {
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

    let pending =
        client.authenticate(AuthenticationRequest::from_pairing_id(pairing.id()).action("log in")).await.unwrap();
    assert!(pending.is_pending() && pending.action() == Some("log in"));
    let otp = phone.code(clock.now()).parse().unwrap();
    let decided = client.otp_auth(pending.id(), &otp).await.unwrap();
    assert!(decided.is_granted() && decided.is_totp_valid() == Some(true));
    assert_eq!(client.authentication_status(pending.id()).await.unwrap().is_granted(), decided.is_granted());
    let cancelled = client.authenticate(AuthenticationRequest::from_pairing_id(pairing.id())).await.unwrap();
    client.cancel_authentication(cancelled.id()).await.unwrap();
    assert!(!client.authentication_status(cancelled.id()).await.unwrap().is_granted());

    let terminal = Terminal::new("laptop").with_discriminator("a");
    let created = client.create_terminal("Zo\u{eb} + %20", &terminal).await.unwrap();
    assert_eq!(client.terminal(created.id().unwrap()).await.unwrap().name(), Some("laptop"));

    assert_eq!(client.disable_user(user_id).await.unwrap().is_enabled(), Some(false));
    let error = client.authenticate(AuthenticationRequest::from_user_name("Zo\u{eb} + %20")).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Api(ApiErrorKind::UserOptedOut));
    assert_eq!(client.enable_user(user_id).await.unwrap().is_enabled(), Some(true));

    let link = client.generate_reset_link(pairing.id()).await.unwrap();
    assert!(link.url().contains("reset_authorization="));
    let by_qr = client.pair_with_qr("bob").await.unwrap();
    assert!(client.qr_image(by_qr.id()).await.unwrap().starts_with(b"<"));
    client.reset_user("Zo\u{eb} + %20").await.unwrap();
    assert!(!client.pairing_status(pairing.id()).await.unwrap().is_active());
    let error = client.authenticate(AuthenticationRequest::from_pairing_id(pairing.id())).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Api(ApiErrorKind::PairingDeactivated));
    assert!(!client.deactivate_pairing(by_qr.id()).await.unwrap().is_active());
    assert_eq!(client.find_user("unknown").await.unwrap(), None);
    assert_eq!(client.create_user("carol").await.unwrap().name(), Some("carol"));
    let error = client.authentication_status("nothing").await.unwrap_err();
    assert!(matches!(error.kind(), ClientErrorKind::Api(_)), "{error:?}");

    let stranger = client_with(&site, Credentials::new(site.credentials.key(), "a guess").unwrap());
    let error = stranger.create_user("dave").await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Api(ApiErrorKind::Credentials));
}

#[tokio::test]
async fn codes_through_the_layer() {
    let (site, clock) = site().await;
    let (phone, _) = site.paired("alice").await;
    let service = ToopherLayer::new(ToopherVerifier::new(client!(site))).layer(OneShotService::new(&Calls::default()));
    let status = |otp: String| {
        let service = service.clone();
        async move { service.oneshot(request(Some(&otp))).await.unwrap() }
    };
    let code = phone.code(clock.now());
    // One code is accepted once, even concurrently.
    let answers = join_all((0..4).map(|_| status(code.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
    assert_eq!(kind(&status("000000".into()).await), Some(RejectionKind::Denied(DenyReason::WrongOtp)));
    // The server throttles guesses, and so the layer does.
    let guesses = join_all((0..10).map(|_| status("000000".into()))).await;
    let throttled = guesses.iter().find(|answer| answer.status() == 429).unwrap();
    assert!(throttled.headers().contains_key("retry-after"));
    assert_eq!(phone.get("requests").await, json!([]));
}

#[tokio::test]
async fn approvals_through_the_layer() {
    let (site, _) = site().await;
    let (phone, _) = site.paired("alice").await;
    let calls = Calls::default();
    let verifier = ToopherVerifier::new(client!(site)).create_terminals();
    let service = ToopherLayer::new(Approvals::new(verifier).unwrap()).approvals().layer(OneShotService::new(&calls));
    let send = async |token: Option<HeaderValue>| {
        let mut request = request(None);
        request.extensions_mut().insert(Terminal::new("laptop").with_discriminator("a random cookie"));
        request.headers_mut().extend(token.map(|token| (HeaderName::from_static("toopher-approval"), token)));
        let response = service.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), response.headers().get("toopher-approval").cloned())
    };
    for (answer, expected) in [("allow", 200), ("deny", 401)] {
        let (status, token) = send(None).await;
        assert_eq!(status, 202);
        // Nineteen other requests join the pending approval, each with an approval token of its own.
        let joined = join_all((0..19).map(|_| send(None))).await;
        assert!(joined.iter().all(|(status, other)| *status == 202 && *other != token));
        let pending = phone.get("requests").await;
        assert_eq!(pending.as_array().unwrap().len(), 1, "{pending}");
        assert_eq!((&pending[0]["terminal"], &pending[0]["action"]), (&json!("laptop"), &json!("log in")));
        let id = pending[0]["id"].as_str().unwrap();
        assert_eq!(phone.post(&format!("requests/{id}/{answer}"), json!({})).await.0, 200);
        let responses = join_all(joined.into_iter().map(|(_, token)| send(token))).await;
        assert_eq!(
            responses.iter().filter(|(status, _)| *status == 200).count(),
            usize::from(expected == 200),
            "{responses:?}"
        );
        assert!(responses.iter().all(|(status, _)| [401, expected].contains(status)));
        assert_eq!(send(token).await.0, 401);
    }
    assert_eq!(calls.count(), 1);
}

#[tokio::test]
async fn users_without_a_pairing_are_denied() {
    let (site, _) = site().await;
    let service = ToopherLayer::new(Approvals::new(ToopherVerifier::new(client!(site))).unwrap())
        .approvals()
        .layer(OneShotService::new(&Calls::default()));
    for otp in [None, Some("081804")] {
        let response = service.clone().oneshot(request(otp)).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), kind(&response)),
            (401, Some(RejectionKind::Denied(DenyReason::UnknownUser)))
        );
    }
}
