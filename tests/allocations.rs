//! The gate allocates nothing of its own on the header path. What holds the `SecondFactor` for the inner service is a
//! slot in `http::Extensions`, which is one box, as for any middleware that hands something on.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../benches/support/services.rs"]
mod services;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use common::*;
use http::{Request, Response};
use http_body_util::Full;
use services::Bare;
use tower::{Layer, Service};
use tower_toopher::{
    Attempt, DenyReason, Factor, Header, HeaderOrForm, Rejection, SecondFactor, ToopherLayer, ToopherService, Verdict,
};

#[derive(Clone)]
struct Ask(fn() -> Verdict);

impl Service<Attempt> for Ask {
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

/// How often one call allocates, from the request to the dropped response. The request is made outside.
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

fn gate(answer: fn() -> Verdict) -> ToopherService<Bare, Ask, Header> {
    ToopherLayer::new(Ask(answer)).layer(Bare)
}

/// What the response itself takes: its headers, and the extension that keeps the reason.
fn refusal_alone() -> u64 {
    let template = {
        let mut gate = gate(|| Verdict::Denied(DenyReason::WrongOtp));
        let mut future = std::pin::pin!(gate.call(request(Some(CODE))));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response,
            _ => unreachable!(),
        }
    };
    let rejection = template.extensions().get::<Rejection>().unwrap();
    measure(|| {
        let mut response = rejection.response(Full::<bytes::Bytes>::default());
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/problem+json"));
        response.headers_mut().insert("content-length", 173.into());
        response.extensions_mut().insert(rejection.clone());
    })
    .count_total
}

#[test]
fn header_path() {
    let bare = allocations(&mut Bare, request(Some(CODE)));
    let mut request_alone = Some(request(Some(CODE)));
    let extension = measure(|| {
        let mut request = request_alone.take().unwrap();
        request.extensions_mut().insert(SecondFactor::new(alice(), tower_toopher::Action::from("x"), Factor::Totp));
    });
    // The two names in that factor are made here; the gate shares the ones it has.
    let slot = extension.count_total - 2;
    assert_eq!((bare, slot), (0, 1));

    let mut granted = gate(|| Verdict::Granted(Factor::Totp));
    assert_eq!(allocations(&mut granted, request(Some(CODE))), bare + slot);
    assert_eq!(allocations(&mut granted, request(None)), bare + slot);

    let mut skipped = ToopherLayer::new(Ask(|| unreachable!())).insecure_skip(|_| true).layer(Bare);
    assert_eq!(allocations(&mut skipped, request(Some(CODE))), bare);

    let mut passed = request(None);
    passed.extensions_mut().insert(SecondFactor::new(alice(), "log in", Factor::Totp));
    assert_eq!(allocations(&mut granted, passed), bare);
}

#[test]
fn refused() {
    let mut wrong = gate(|| Verdict::Denied(DenyReason::WrongOtp));
    assert_eq!(allocations(&mut wrong, request(Some(CODE))), refusal_alone());
    assert_eq!(allocations(&mut wrong, request(Some("junk"))), refusal_alone());
}

#[test]
fn a_form_in_one_frame_is_not_copied() {
    let form = |body: &str| {
        let request = Request::post("/").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let mut gate =
        ToopherLayer::new(Ask(|| Verdict::Granted(Factor::Totp))).extractor(HeaderOrForm::default()).layer(Bare);
    let header = allocations(&mut gate, request(Some(CODE)));
    for body in ["otp=081804", "to=bob&amount=10000&otp=081804&memo=with+spaces+and+%25"] {
        assert_eq!(allocations(&mut gate, form(body)), header, "{body}");
    }
    // Without an OTP an approval may be bound to it, so it is held twice: that counts its owners, and copies nothing.
    assert_eq!(allocations(&mut gate, form(&"field=value&".repeat(5000))), header + 1);
    // Names that might each be the field once they are decoded.
    for lookalike in ["%6f&", "otp%78=1&", "toopher_challeng%66=1&"] {
        assert_eq!(
            allocations(&mut gate, form(&lookalike.repeat(60_000 / lookalike.len()))),
            header + 1,
            "{lookalike}"
        );
    }
}
