//! User name, password and OTP in one form: only an OTP verifies, and whoever has shown no first factor rings nobody.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::phones::{Ask, Phones, approvals, session};
use common::{Body, Calls, Clock, Says, T, alice, kind};
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_toopher::store::MemoryStore;
use tower_toopher::{HeaderOrForm, RejectionKind, SecondFactor, ToopherLayer, UserId};

/// The application's users: one account has several spellings, and a name that is nobody's has an id of its own.
fn account(typed: &str) -> Option<UserId> {
    let name = typed.trim().to_lowercase();
    match name.as_str() {
        "alice" | "alice@example.com" => Some(alice()),
        _ => UserId::new(format!("nobody: {name}")).ok(),
    }
}

fn layer<V>(verifier: V) -> ToopherLayer<V, HeaderOrForm> {
    ToopherLayer::new(verifier)
        .extractor(HeaderOrForm::default().user_field("username"))
        .identify_by_form(account)
        .approvals(session)
}

/// Like [`Ask`], from somebody who is not logged in.
fn stranger(form: &'static str) -> Request<Body> {
    let mut request = Ask::default().form(form).request();
    request.extensions_mut().remove::<UserId>();
    request
}

#[tokio::test]
async fn the_user_of_the_form_shows_an_otp() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = service_fn({
        let seen = seen.clone();
        move |request: Request<Body>| {
            let factor = request.extensions().get::<SecondFactor>().unwrap().clone();
            let seen = seen.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                seen.lock().unwrap().push((factor.user().clone(), body));
                Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
            }
        }
    });
    let (verifier, clock, _) = common::totp_verifier();
    let gate = layer(verifier).layer(inner);
    let send = async |form: &'static str| {
        let response = gate.clone().oneshot(stranger(form)).await.unwrap();
        (response.status().as_u16(), kind(&response))
    };
    for (form, status, why) in [
        ("username=alice&password=x&otp=000000", 401, Some(RejectionKind::WrongOtp)),
        ("username=alice&password=x", 401, Some(RejectionKind::OtpRequired)),
        ("username=mallory&password=x&otp=081804", 401, Some(RejectionKind::UnknownUser)),
        ("username=&otp=081804", 401, Some(RejectionKind::Unidentified)),
        ("otp=081804", 401, Some(RejectionKind::Unidentified)),
        ("username=alice&username=bob&otp=081804", 400, Some(RejectionKind::AmbiguousOtp)),
        ("Username=alice&username=alice&otp=081804", 400, Some(RejectionKind::AmbiguousOtp)),
        ("username=alice%ff&otp=081804", 400, Some(RejectionKind::UnreadableBody)),
        ("username=+Alice%40Example.com&password=x%26y&otp=081+804", 200, None),
        ("username=alice&password=x&otp=081804", 401, Some(RejectionKind::ReplayedOtp)),
    ] {
        assert_eq!(send(form).await, (status, why), "{form}");
    }
    clock.advance(1);
    assert_eq!(send("username=ALICE&otp=050471").await, (200, None));
    let seen = seen.lock().unwrap();
    // The handler is told who it was, whatever was typed, and gets the form as it came.
    assert!(seen.iter().all(|(user, _)| *user == alice()));
    assert_eq!(seen[0].1, "username=+Alice%40Example.com&password=x%26y&otp=081+804");
}

/// Unknown names are answered, and throttled, like known ones.
#[tokio::test]
async fn strangers_learn_nothing_of_names() {
    let mut seen = Vec::new();
    for name in ["username=alice&otp=000000", "username=mallory&otp=000000"] {
        let (verifier, ..) = common::totp_verifier();
        let gate = layer(verifier).layer(common::Strict::new(&Calls::default()));
        for _ in 0..7 {
            let response = gate.clone().oneshot(stranger(name)).await.unwrap();
            let (head, body) = response.into_parts();
            seen.push((head.status, head.headers, body.collect().await.unwrap().to_bytes()));
        }
    }
    let (known, unknown) = seen.split_at(7);
    assert_eq!(known, unknown);
    assert_eq!(known[6].0, 429);
}

#[tokio::test]
async fn nobody_s_phone_rings_for_a_name_that_was_typed() {
    let (phones, calls, clock) = (Phones::default(), Calls::default(), Clock::at(T));
    let gate = layer(approvals(&phones, MemoryStore::new(), &clock)).layer(common::Strict::new(&calls));
    let send = async |request| kind(&gate.clone().oneshot(request).await.unwrap());
    assert_eq!(send(stranger("username=alice&password=x")).await, Some(RejectionKind::OtpRequired));
    assert_eq!(phones.rings(), 0);
    // Who has shown the first factor is who that says, whatever the form says, and may be asked.
    // Two names for whom it is about do not agree.
    assert_eq!(send(Ask::default().form("username=mallory").request()).await, Some(RejectionKind::AmbiguousOtp));
    let challenge = Ask::default().form("username=alice").begin(&gate).await;
    assert_eq!(phones.rings(), 1);
    phones.answer(common::phones::Says::Yes);
    // And an approval of theirs is of no use to who has only the name, with the challenge and all.
    let mut thief = stranger("username=alice");
    thief.headers_mut().insert("toopher-challenge", challenge.parse().unwrap());
    assert_eq!(send(thief).await, Some(RejectionKind::OtpRequired));
    assert_eq!(calls.count(), 0);
    let mut with_otp = stranger("username=alice&otp=081804");
    with_otp.headers_mut().insert("toopher-challenge", challenge.parse().unwrap());
    assert_eq!((send(with_otp).await, calls.count()), (None, 1));
}

/// A form names nobody unless the gate was told to listen to it.
#[tokio::test]
async fn by_default_forms_name_nobody() {
    let says = Says::always(tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp));
    let asked = says.clone();
    let deaf = ToopherLayer::new(says.clone()).extractor(HeaderOrForm::default().user_field("username"));
    let no_field = ToopherLayer::new(says).extractor(HeaderOrForm::default()).identify_by_form(account);
    for layer in [deaf, no_field] {
        let gate = layer.layer(common::Strict::new(&Calls::default()));
        let response = gate.oneshot(stranger("username=alice&otp=081804")).await.unwrap();
        assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(RejectionKind::Unidentified)));
    }
    assert_eq!(asked.calls(), 0);
}
