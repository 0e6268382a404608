use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::extract::{Extract, Header};
use super::future::ResponseFuture;
use super::layer::ToopherLayer;
use super::policy::{Admission, Policy};
use super::reject::{ProblemJson, Reject};
use crate::{Attempt, BoxError, Verdict};

/// A service behind a second factor: see the [module docs](crate::gate).
#[derive(Clone)]
#[must_use]
pub struct ToopherService<S, V, X = Header, R = ProblemJson> {
    pub(super) inner: S,
    pub(super) verifier: V,
    pub(super) extractor: X,
    pub(super) reject: R,
    pub(super) policy: Arc<Policy>,
}

impl<V> ToopherService<Infallible, V> {
    /// A layer with all defaults: a shortcut to [`ToopherLayer::new`].
    pub fn layer(verifier: V) -> ToopherLayer<V> {
        ToopherLayer::new(verifier)
    }
}

impl<S, V, X, R> ToopherService<S, V, X, R> {
    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to change it. Requests that are called on it do not pass the gate.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Takes the gate away.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, V, X, R, B, ResBody> Service<Request<B>> for ToopherService<S, V, X, R>
where
    S: Service<Request<X::Body>, Response = Response<ResBody>> + Clone,
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    X: Extract<B>,
    R: Reject<ResBody> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, V, X, R, B>;

    /// Always ready. The gate waits for people and networks, and may never call the inner service at all; were its
    /// readiness taken here, a pending request would hold a permit of it. Both inner service and verifier are made
    /// ready when it is their turn, on clones of their own. Bound the requests in flight outside the layer.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.policy.admit(&mut parts) {
            Admission::Pass => ResponseFuture::forwarding(parts, self.extractor.pass(body), self),
            Admission::Refuse(rejection) => ResponseFuture::refusing(rejection, &parts, self),
            Admission::Ask(asking) => {
                let extract = self.extractor.extract(&mut parts, body);
                ResponseFuture::asking(extract, parts, asking, self)
            }
        }
    }
}

impl<S: fmt::Debug, V, X: fmt::Debug, R> fmt::Debug for ToopherService<S, V, X, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherService")
            .field("inner", &self.inner)
            .field("extractor", &self.extractor)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
