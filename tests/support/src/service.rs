//! An inner service that checks its caller.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_service::Service;

pub type Body = Full<Bytes>;

/// Counts calls.
#[derive(Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An inner service that panics unless `poll_ready` was called on the same instance before each call.
pub struct OneShotService {
    pub calls: Calls,
    ready: bool,
}

impl OneShotService {
    pub fn new(calls: &Calls) -> Self {
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
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        self.calls.add();
        std::future::ready(Ok(Response::new(Body::from("inner"))))
    }
}
