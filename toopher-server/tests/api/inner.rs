//! The service behind a layer, and requests to it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use toopher_server_test_support::alice;
use tower::Service;
use tower_toopher::verify::SessionId;
use tower_toopher::{Rejection, RejectionKind};

pub(crate) type Body = Full<Bytes>;

/// A request of alice with this OTP header.
pub(crate) fn request(otp: Option<&str>) -> Request<Body> {
    let builder = Request::builder().uri("/account").extension(alice()).extension(SessionId::new("session").unwrap());
    let builder = match otp {
        Some(otp) => builder.header("Toopher-OTP", otp),
        None => builder,
    };
    builder.body(Body::default()).unwrap()
}

pub(crate) fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get::<Rejection>().map(Rejection::kind)
}

/// Counts the calls of a service.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// An inner service that panics unless the called instance was made ready, once for each call.
pub(crate) struct OneShotService {
    calls: Calls,
    ready: bool,
}

impl OneShotService {
    pub(crate) fn new(calls: &Calls) -> Self {
        Self { calls: calls.clone(), ready: false }
    }
}

impl Clone for OneShotService {
    /// A clone is never ready.
    fn clone(&self) -> Self {
        Self::new(&self.calls)
    }
}

impl<B> Service<Request<B>> for OneShotService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been made ready");
        self.calls.0.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new(Body::from("inner"))))
    }
}
