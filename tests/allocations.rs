//! The middleware allocates nothing on the header path, except one box: the `SecondFactor` in `http::Extensions`, as
//! with any middleware that inserts an extension.
#![allow(clippy::unwrap_used, reason = "a failure is the result of a test")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::MemoryStore;
use tower_toopher::test_util::{Decision, FakePhones, ManualClock};
use tower_toopher::verify::SessionId;
use tower_toopher::{
    Action, Approvals, Attempt, DenyReason, Factor, Header, HeaderOrForm, SecondFactor, Terminal, ToopherLayer,
    ToopherService, UserId, Verdict,
};

type Body = Full<Bytes>;

const CODE: &str = "081804";

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

fn request(otp: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().uri("/account").extension(alice());
    if let Some(otp) = otp {
        request = request.header("Toopher-OTP", otp);
    }
    request.body(Body::default()).unwrap()
}

/// An inner service that allocates nothing but a header of its response, as every response of a server has one.
#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::default());
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain"));
        ready(Ok(response))
    }
}

/// A verifier that allocates nothing.
#[derive(Clone)]
struct Fixed(fn() -> Verdict);

impl Service<Attempt> for Fixed {
    type Response = Verdict;
    type Error = Infallible;
    type Future = Ready<Result<Verdict, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Attempt) -> Self::Future {
        ready(Ok((self.0)()))
    }
}

/// The number of allocations of one call, from the request to the dropped response. The request is built before.
fn allocations<S>(service: &mut S, request: Request<Body>) -> u64
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (mut cx, mut request) = (Context::from_waker(Waker::noop()), Some(request));
    let counted = measure(|| {
        let mut future = std::pin::pin!(service.call(request.take().unwrap()));
        assert!(future.as_mut().poll(&mut cx).is_ready());
    });
    counted.count_total
}

fn service(verdict: fn() -> Verdict) -> ToopherService<Bare, Fixed, Header> {
    warm_up(ToopherLayer::new(Fixed(verdict)).layer(Bare))
}

/// Sends one request. The first one builds the headers that all responses of a layer share.
fn warm_up<S>(mut service: S) -> S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    allocations(&mut service, request(Some(CODE)));
    service
}

#[test]
fn header_path() {
    let bare = allocations(&mut Bare, request(Some(CODE)));
    let mut request_alone = Some(request(Some(CODE)));
    let extension = measure(|| {
        let mut request = request_alone.take().unwrap();
        request.extensions_mut().insert(SecondFactor::new(alice(), Action::from("x"), Factor::Totp));
    });
    // The user and the action of that factor are allocated here. The layer shares those of the request.
    let slot = extension.count_total - 2;
    assert_eq!((bare, slot), (2, 1));

    let mut granted = service(|| Verdict::Granted(Factor::Totp));
    assert_eq!(allocations(&mut granted, request(Some(CODE))), bare + slot);
    assert_eq!(allocations(&mut granted, request(None)), bare + slot);

    // The same with approvals, because a request with an OTP is not bound, and with each extension that is read. With
    // more extensions, `http::Extensions` itself would grow.
    let approving = ToopherLayer::new(Fixed(|| Verdict::Granted(Factor::Totp))).approvals().layer(Bare);
    let mut approving = warm_up(approving);
    let mut with_session = request(Some(CODE));
    with_session.extensions_mut().insert(SessionId::new("session").unwrap());
    let mut with_terminal = request(Some(CODE));
    with_terminal.extensions_mut().insert(Terminal::new("laptop").with_discriminator("random"));
    for request in [with_session, with_terminal] {
        assert_eq!(allocations(&mut approving, request), bare + slot);
    }

    let mut skipped = warm_up(ToopherLayer::new(Fixed(|| unreachable!())).insecure_skip(|_| true).layer(Bare));
    assert_eq!(allocations(&mut skipped, request(Some(CODE))), bare);

    let mut passed = request(None);
    passed.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    assert_eq!(allocations(&mut granted, passed), bare);
}

/// The two parts of the header map, and the extension with the reason.
#[test]
fn rejected() {
    let mut wrong = service(|| Verdict::Denied(DenyReason::WrongOtp));
    assert_eq!(allocations(&mut wrong, request(Some(CODE))), 3);
    assert_eq!(allocations(&mut wrong, request(Some("junk"))), 3);
}

#[test]
fn a_form_in_one_frame_is_not_copied() {
    let form = |body: &str| {
        let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let service =
        ToopherLayer::new(Fixed(|| Verdict::Granted(Factor::Totp))).extractor(HeaderOrForm::default()).layer(Bare);
    let mut service = warm_up(service);
    let header = allocations(&mut service, request(Some(CODE)));
    for body in ["otp=081804", "to=bob&amount=10000&otp=081804&memo=with+spaces+and+%25"] {
        assert_eq!(allocations(&mut service, form(body)), header, "{body}");
    }
    // Without an OTP an approval may be bound to the body, so the body has two owners. That allocates their count, and
    // copies nothing.
    assert_eq!(allocations(&mut service, form(&"field=value&".repeat(5000))), header + 1);
    // Each of these names could be that of the field after decoding.
    for lookalike in ["%6f&", "otp%78=1&", "toopher_approva%6d=1&"] {
        assert_eq!(
            allocations(&mut service, form(&lookalike.repeat(60_000 / lookalike.len()))),
            header + 1,
            "{lookalike}"
        );
    }
}

/// Ten thousand requests wait for an approval concurrently, on one thread.
#[test]
fn ten_thousand_pending_approvals() {
    const MANY: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let (phones, clock) = (FakePhones::new(), ManualClock::from_secs(1_111_111_109));
    let approvals = Approvals::new(phones.clone()).unwrap().store(MemoryStore::new()).clock(&clock);
    let service = ToopherLayer::new(approvals)
        .extractor(HeaderOrForm::default().buffer_all_bodies())
        .approvals()
        .action("pay")
        .layer(Bare);
    let session = SessionId::new("session=1").unwrap();
    let request = |at: usize| {
        Request::post("/pay?to=bob")
            .extension(UserId::new(format!("user {at}")).unwrap())
            .extension(session.clone())
            .header("cookie", "session=1")
            .header("content-type", "application/json")
            .header("host", "shop.test")
            .header("prefer", "wait=30")
            .body(Body::from(r#"{"amount":1}"#))
            .unwrap()
    };
    let requests: Vec<_> = (0..MANY).map(request).collect();
    let mut pending = Vec::with_capacity(MANY);
    let taken = measure(|| {
        for request in requests {
            let mut future = Box::pin(service.clone().oneshot(request));
            assert!(future.as_mut().now_or_never().is_none());
            pending.push(future);
        }
    });
    assert_eq!(phones.push_count(), MANY);
    // The request was allocated before. The record in the store and the future are counted.
    let each = taken.bytes_current as usize / MANY;
    println!("each pending request uses {each} bytes");
    assert!(each < 3 * 1024, "{each} bytes each");
    phones.decide(Decision::Allowed);
    runtime.block_on(async {
        for response in futures_util::future::join_all(pending).await {
            assert_eq!(response.unwrap().status(), 200);
        }
    });
}
