//! What stands behind a gate, and before it, where only the gate is to cost anything.
#![allow(dead_code, unreachable_pub, reason = "whoever measures uses a part")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;
use tower_toopher::{Attempt, DenyReason, Factor, Verdict};

/// Answers every request at once, with nothing.
#[derive(Clone)]
pub struct Bare;

impl Service<Request<Full<Bytes>>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Full::default())))
    }
}

/// Knows one code, and whether an attempt has it at once.
#[derive(Clone)]
pub struct ReadyVerifier;

impl Service<Attempt> for ReadyVerifier {
    type Response = Verdict;
    type Error = Infallible;
    type Future = Ready<Result<Verdict, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        ready(Ok(match attempt.otp() {
            Some(otp) if otp.as_str() == "081804" => Verdict::Granted(Factor::Totp),
            _ => Verdict::Denied(DenyReason::WrongOtp),
        }))
    }
}
