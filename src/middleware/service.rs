use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::config::Config;
use super::decision::InFlight;
use super::extract::{Extract, Header, read_credentials};
use super::future::ResponseFuture;
use super::head::{PreCheck, check_head};
use super::response::{ProblemJson, Reject, extract_error, unidentified};
use crate::verify::{Attempt, BoxError, Verdict};

/// A service that requires a second factor: see the [module docs](crate::middleware).
#[derive(Clone)]
#[must_use]
pub struct ToopherService<S, V, X = Header, R = ProblemJson> {
    inner: S,
    verifier: V,
    extractor: X,
    reject: R,
    config: Arc<Config>,
}

impl<S, V, X, R> ToopherService<S, V, X, R> {
    pub(super) fn new(inner: S, verifier: V, extractor: X, reject: R, config: Arc<Config>) -> Self {
        Self { inner, verifier, extractor, reject, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutable. Requests that are sent to it directly are not verified.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Consumes the layer and returns the inner service.
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

    /// Always ready. The layer waits for people and networks, and may never call the inner service. If it reserved the
    /// inner service's capacity here, a pending request would hold a permit. Both the inner service and the verifier
    /// are driven to readiness when they are called, on their own clones. Limit concurrent requests outside the layer.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.config.build_headers(|| self.extractor.vary());
        let (mut parts, body) = request.into_parts();
        let subject = match check_head(&self.config, &mut parts) {
            PreCheck::Verify(subject) => subject,
            PreCheck::Forward(outcome, subject) => {
                let (body, inner) = (self.extractor.pass(body), self.inner.clone());
                return ResponseFuture::forward(&self.config, parts, body, subject.as_ref(), outcome, inner);
            }
            PreCheck::Unidentified => {
                let rejection = unidentified(&self.config);
                return ResponseFuture::reject(&self.config, rejection, &mut parts, None, &self.reject);
            }
        };
        match read_credentials(&self.extractor, self.config.approvals, &mut parts, body) {
            Ok(credentials) => {
                let in_flight = InFlight::new(Arc::clone(&self.config), subject);
                let (inner, reject) = (self.inner.clone(), self.reject.clone());
                ResponseFuture::verify(credentials, parts, inner, reject, in_flight, self.verifier.clone())
            }
            Err(error) => {
                let rejection = extract_error(&self.config, error);
                ResponseFuture::reject(&self.config, rejection, &mut parts, Some(&subject), &self.reject)
            }
        }
    }
}

impl<S: fmt::Debug, V, X: fmt::Debug, R> fmt::Debug for ToopherService<S, V, X, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherService")
            .field("inner", &self.inner)
            .field("extractor", &self.extractor)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
