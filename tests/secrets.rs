//! No `Debug` and no error shows a secret or a one-time password, in any spelling.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use common::*;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::gate::{InPlace, Wrapped};
use tower_toopher::store::{MemoryStore, Throttle};
use tower_toopher::totp::{
    BackupCode, Confirmation, Enrolment, MemoryPairings, Pairing, Secret, Totp, TotpVerifier, Window,
};
use tower_toopher::*;

const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Both forms of `Debug`, searched for everything that is secret here.
fn shows_nothing(value: &dyn Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        let bytes = format!("{K20:?}");
        for secret in [CODE, "081 804", "12345678901234567890", BASE32, &bytes[1..20], "ABCDEFGHJKMNPQRS", "ABCD-EFGH"]
        {
            assert!(!shown.contains(secret), "{shown}");
        }
        // The numbers of the bytes, as a derived Debug would list them.
        assert!(!shown.contains("49, 50, 51") && !shown.contains("49,\n") && !shown.contains("48,\n"), "{shown}");
    }
}

#[tokio::test]
async fn debug_of_everything_that_touches_a_secret() {
    let secret = Secret::from_base32(BASE32).unwrap();
    let otp: Otp = CODE.parse().unwrap();
    let backup: Otp = "ABCD-EFGH-JKMN-PQRS".parse().unwrap();
    let enrolment = Enrolment::with_totp("issuer", "account", k20()).unwrap();
    let (verifier, _, users) = totp_verifier();
    let codes = BackupCode::generate().unwrap();
    users.set_backup_codes(alice(), codes.iter().map(|code| code.digest(&alice())));
    let confirmed = verifier.confirm(&alice(), &enrolment.pairing(), &otp).await.unwrap();
    assert!(matches!(confirmed, Confirmation::Confirmed(_)));
    let terminal = Terminal::new("laptop").with_discriminator(BASE32);
    let attempt = Attempt::new(alice(), "log in").with_otp(Some(otp.clone())).with_terminal(Some(terminal));
    let verifying = verifier.clone().call(attempt.clone());
    let verdict = verifying.await.unwrap();
    let layer = ToopherLayer::new(verifier.clone()).extractor(HeaderOrForm::default());
    let inner = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) });
    let mut service = layer.clone().layer(inner);
    let future = service.call(request(Some(CODE)));
    shows_nothing(&future);
    shows_nothing(&future.await.unwrap().extensions().get::<Rejection>());

    // A pending approval: whoever reads a log must not be able to come with somebody's challenge.
    let challenge = Challenge::new(BASE32.as_bytes());
    let (parts, ()) = Request::get("/pay?code=081804").body(()).unwrap().into_parts();
    let binding = RequestBinding::new(&parts, Some(BASE32.into()), Some(BASE32.into()));
    let waiting = attempt.clone().with_challenge(Some(challenge)).with_request(Some(binding));
    let approvals = Approvals::new(verifier.clone()).unwrap();
    let key = approvals::SealingKey::parse(&"3132".repeat(16)).unwrap();
    shows_nothing(&(waiting, approvals.status(), approvals.key(key)));
    shows_nothing(&store::Ticket::from_bytes(*b"1234567890123456"));
    shows_nothing(&(&secret, &otp, &backup, otp.kind(), &enrolment, enrolment.pairing(), k20()));
    shows_nothing(&(&verifier, &users, &attempt, &verdict, &layer, &confirmed));
    shows_nothing(&(Header::default(), HeaderOrForm::<InPlace>::default(), HeaderOrForm::default().wrapping()));
    shows_nothing(&(MemoryStore::new(), Throttle::default(), Window::default(), MemoryPairings::new()));
    shows_nothing(&Pairing::confirmed(Totp::new(secret)));
    for code in &codes {
        let shown = format!("{code:?} {:?}", code.digest(&alice()));
        assert!(!shown.contains(&code.to_string()) && !shown.contains("["), "{shown}");
    }

    let wrapped: Arc<Mutex<Option<ReplayBody<Full<bytes::Bytes>>>>> = Arc::default();
    let keep = wrapped.clone();
    let gate = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp)))
        .extractor(HeaderOrForm::<InPlace>::default().wrapping())
        .layer(service_fn(move |request: Request<ReplayBody<Full<bytes::Bytes>>>| {
            *keep.lock().unwrap() = Some(request.into_body());
            async { Ok::<_, Infallible>(Response::new(Body::default())) }
        }));
    let form = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
    let response = gate.oneshot(form.body(Full::from("otp=081804")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    shows_nothing(&wrapped.lock().unwrap().take().unwrap());
    let _: HeaderOrForm<Wrapped>;
}

#[test]
fn errors_do_not_repeat_what_they_were_given() {
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
fn a_verifier_with_a_secret_user_table_can_be_printed() {
    let (verifier, ..) = totp_verifier();
    let printed: TotpVerifier<_> = verifier;
    shows_nothing(&printed);
}
