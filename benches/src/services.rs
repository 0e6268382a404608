//! An inner service and a verifier that cost next to nothing, so that only the layer between them is measured, and the
//! response of a peer that rejects a request.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use tower::Service;
use tower_toopher::{Attempt, DenyReason, Factor, Verdict};

/// An inner service that responds at once with one header, as every response of a server has one, and an empty body.
#[derive(Clone, Copy, Debug)]
pub struct InnerService;

impl Service<Request<Full<Bytes>>> for InnerService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        black_box(&request);
        let mut response = Response::new(Full::default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        ready(Ok(response))
    }
}

/// A verifier that accepts the code `081804` and returns its verdict at once.
#[derive(Clone, Copy, Debug)]
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

/// Returns a response with the headers and the body of the layer's response to a wrong code.
#[must_use]
pub fn refusal() -> Response<Full<Bytes>> {
    let json =
        r#"{"type":"urn:tower-toopher:otp_invalid","title":"The one-time password was not accepted","status":401}"#;
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("cache-control", "no-store")
        .header("www-authenticate", "Toopher realm=\"second factor\", error=\"otp_invalid\"")
        .header("content-type", "application/problem+json")
        .header("content-length", json.len())
        .body(Full::from(json))
        .expect("the headers are valid")
}
