//! No `Debug` output and no error contains a secret or a one-time password, in any spelling.
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use crate::support::*;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::{InPlace, ReplayBody, Wrapped};
use tower_toopher::store::{ApprovalKey, MemoryStore, Throttle};
use tower_toopher::totp::{Confirmation, Enrollment, MemoryPairings, Pairing, RecoveryCode, Secret, Totp, Window};
use tower_toopher::verify::{ApprovalToken, ExtraBinding, RequestBinding, SessionId};
use tower_toopher::{
    Approvals, Attempt, Factor, Header, HeaderOrForm, Otp, Rejection, Terminal, ToopherLayer, TotpVerifier, Verdict,
};

const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Asserts that neither form of `Debug` output contains a secret of this test.
fn contains_no_secret(value: &dyn Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        let bytes = format!("{RFC_SECRET:?}");
        for secret in [CODE, "081 804", "12345678901234567890", BASE32, &bytes[1..20], "ABCDEFGHJKMNPQRS", "ABCD-EFGH"]
        {
            assert!(!shown.contains(secret), "{shown}");
        }
        // The bytes as numbers, as a derived Debug lists them.
        assert!(!shown.contains("49, 50, 51") && !shown.contains("49,\n") && !shown.contains("48,\n"), "{shown}");
    }
}

#[tokio::test]
async fn debug_of_every_type_that_contains_a_secret() {
    let secret = Secret::from_base32(BASE32).unwrap();
    let otp: Otp = CODE.parse().unwrap();
    let backup: Otp = "ABCD-EFGH-JKMN-PQRS".parse().unwrap();
    let enrollment = Enrollment::with_totp("issuer", "account", rfc_totp()).unwrap();
    let (verifier, _, users) = totp_verifier();
    let codes = RecoveryCode::generate().unwrap();
    users.set_recovery_codes(alice(), codes.iter().map(|code| code.digest(&alice())));
    let confirmed = verifier.confirm(&alice(), &enrollment.pairing(), &otp).await.unwrap();
    assert!(matches!(confirmed, Confirmation::Confirmed(_)));
    let terminal = Terminal::new("laptop").with_discriminator(BASE32);
    let attempt = Attempt::new(alice(), "log in").with_otp(otp.clone()).with_terminal(terminal);
    let verifying = verifier.clone().call(attempt.clone());
    let verdict = verifying.await.unwrap();
    let layer = ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default());
    let inner = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) });
    let mut service = layer.clone().layer(inner);
    let future = service.call(request(Some(CODE)));
    contains_no_secret(&future);
    contains_no_secret(&future.await.unwrap().extensions().get::<Rejection>());

    // A pending approval: a reader of a log must not learn its token.
    let token = ApprovalToken::new(BASE32).unwrap();
    let (parts, ()) = Request::get("/pay?code=081804").body(()).unwrap().into_parts();
    let binding = RequestBinding::new(&parts, SessionId::new(BASE32).unwrap(), Some(BASE32.into()))
        .with_extra(ExtraBinding::new(BASE32).unwrap());
    let pending = attempt.clone().with_approval_token(token).with_request(binding);
    let approvals = Approvals::new(verifier.clone()).unwrap();
    let key = SealingKey::parse(&"3132".repeat(16)).unwrap();
    contains_no_secret(&(pending, approvals.status(), approvals.key(key)));
    contains_no_secret(&ApprovalKey::from_bytes(*b"1234567890123456"));
    contains_no_secret(&(&secret, &otp, &backup, otp.kind(), &enrollment, enrollment.pairing(), rfc_totp()));
    contains_no_secret(&(&verifier, &users, &attempt, &verdict, &layer, &confirmed));
    contains_no_secret(&(Header::default(), HeaderOrForm::<InPlace>::default(), HeaderOrForm::default().wrapping()));
    contains_no_secret(&(MemoryStore::new(), Throttle::default(), Window::default(), MemoryPairings::new()));
    contains_no_secret(&Pairing::confirmed(Totp::new(secret)));
    for code in &codes {
        let shown = format!("{code:?} {:?}", code.digest(&alice()));
        assert!(!shown.contains(&code.to_string()) && !shown.contains("["), "{shown}");
    }

    let wrapped: Arc<Mutex<Option<ReplayBody<Full<bytes::Bytes>>>>> = Arc::default();
    let keep = wrapped.clone();
    let service = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp)))
        .extractor(HeaderOrForm::<InPlace>::default().wrapping())
        .layer(service_fn(move |request: Request<ReplayBody<Full<bytes::Bytes>>>| {
            *keep.lock().unwrap() = Some(request.into_body());
            async { Ok::<_, Infallible>(Response::new(Body::default())) }
        }));
    let form = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
    let response = service.oneshot(form.body(Full::from("otp=081804")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    contains_no_secret(&wrapped.lock().unwrap().take().unwrap());
    let _: HeaderOrForm<Wrapped>;
}

#[test]
fn errors_do_not_contain_the_input() {
    for text in ["081804x", "0818o4", "ABCDEFGHJKMNPQRSX"] {
        let error = text.parse::<Otp>().unwrap_err();
        assert!(!format!("{error:?} {error}").contains(&text[..5]));
    }
    for text in ["GEZDGNBVGY3TQOJQ", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1", "hush-hush!"] {
        let error = Secret::from_base32(text).unwrap_err();
        assert!(!format!("{error:?} {error}").contains(&text[..6]), "{error}");
    }
}

#[test]
fn debug_of_a_verifier_does_not_print_its_users() {
    let (verifier, ..) = totp_verifier();
    let printed: TotpVerifier<_> = verifier;
    contains_no_secret(&printed);
}
