use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::audit::Outcome;
use super::config::Config;
use super::decision::{InFlight, ResponseHeaders, UndecidedRequest, record};
use super::extract::{Extract, ReadCredentials};
use super::response::{Reject, Rejection, response};
use super::step::{Step, poll_step};
use crate::verify::{Attempt, BoxError, Subject, Verdict};

pin_project! {
    /// The future of [`ToopherService`](crate::ToopherService).
    pub struct ResponseFuture<S, V, X, R, B>
    where
        S: Service<Request<X::Body>>,
        V: Service<Attempt>,
        X: Extract<B>,
    {
        #[pin]
        state: State<S, V, R, X::Future, S::Future, S::Response, X::Body>,
    }

    impl<S, V, X, R, B> PinnedDrop for ResponseFuture<S, V, X, R, B>
    where
        S: Service<Request<X::Body>>,
        V: Service<Attempt>,
        X: Extract<B>,
    {
        /// A request that is dropped before the decision is recorded as cancelled.
        fn drop(this: Pin<&mut Self>) {
            if let StateProj::Deciding { request: Some(request), .. } = this.project().state.project() {
                request.record_cancelled();
            }
        }
    }
}

pin_project! {
    /// Deciding, Calling, Forwarding; or Rejected. Each state owns what it needs. A field that the next state needs is
    /// an `Option`, which is taken once.
    #[project = StateProj]
    enum State<S, V, R, X, F, Res, B>
    where
        V: Service<Attempt>,
    {
        Deciding {
            #[pin]
            step: Step<V, X>,
            // `None` after the decision.
            request: Option<UndecidedRequest<S, R, B>>,
        },
        Calling {
            inner: S,
            request: Option<Request<B>>,
            headers: ResponseHeaders,
        },
        Forwarding {
            #[pin]
            response: F,
            headers: ResponseHeaders,
        },
        Rejected {
            response: Option<Res>,
        },
        Done,
    }
}

impl<S, V, X, R, B> ResponseFuture<S, V, X, R, B>
where
    S: Service<Request<X::Body>>,
    V: Service<Attempt>,
    X: Extract<B>,
{
    /// Verifies a request after its credentials have been read.
    pub(super) fn verify(
        credentials: ReadCredentials<X::Future>,
        parts: Parts,
        inner: S,
        reject: R,
        in_flight: InFlight,
        verifier: V,
    ) -> Self {
        Self {
            state: State::Deciding {
                step: Step::Extracting { credentials, verifier: Some(verifier) },
                request: Some(UndecidedRequest { parts, body: None, inner, reject, in_flight }),
            },
        }
    }

    /// Records the outcome and forwards the request without verification.
    pub(super) fn forward(
        config: &Arc<Config>,
        parts: Parts,
        body: X::Body,
        subject: Option<&Subject>,
        outcome: Outcome,
        inner: S,
    ) -> Self {
        // The request would be forwarded without an audit sink too, so a panic of the sink changes nothing.
        record(config, &parts, subject, outcome).ok();
        // Whether a request is skipped does not depend on a factor.
        let headers = ResponseHeaders::new((outcome != Outcome::Skipped).then(|| Arc::clone(config)));
        Self { state: State::Calling { inner, request: Some(Request::from_parts(parts, body)), headers } }
    }

    /// Records a rejection and responds with it.
    pub(super) fn reject<ResBody>(
        config: &Config,
        rejection: Rejection,
        parts: &mut Parts,
        subject: Option<&Subject>,
        reject: &R,
    ) -> Self
    where
        S: Service<Request<X::Body>, Response = Response<ResBody>>,
        R: Reject<ResBody>,
    {
        record(config, parts, subject, Outcome::Rejected(rejection.kind())).ok();
        Self { state: State::Rejected { response: Some(response(config, rejection, parts, reject)) } }
    }
}

impl<S, V, X, R, B, ResBody> Future for ResponseFuture<S, V, X, R, B>
where
    S: Service<Request<X::Body>, Response = Response<ResBody>>,
    V: Service<Attempt, Response = Verdict>,
    V::Error: Into<BoxError>,
    X: Extract<B>,
    R: Reject<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Deciding { step, request } => {
                    let Some(undecided) = request else { polled_after_completion() };
                    let decision = ready!(poll_step(step, undecided, cx));
                    let Some(request) = request.take() else { polled_after_completion() };
                    let UndecidedRequest { mut parts, body, mut inner, reject, in_flight } = request;
                    let decision = match decision {
                        Ok(forward) => in_flight.forward(&mut parts, forward),
                        Err(rejection) => {
                            in_flight.record_rejected(&parts, &rejection);
                            Err((in_flight.config, rejection))
                        }
                    };
                    let headers = match decision {
                        Ok(headers) => headers,
                        Err((config, rejection)) => {
                            // This drops the verifier's future, and a permit that it may hold after an error.
                            state.set(State::Done);
                            return Poll::Ready(Ok(response(&config, rejection, &mut parts, &reject)));
                        }
                    };
                    let Some(body) = body else { polled_after_completion() };
                    let request = Request::from_parts(parts, body);
                    match inner.poll_ready(cx)? {
                        Poll::Ready(()) => state.set(State::Forwarding { response: inner.call(request), headers }),
                        Poll::Pending => {
                            state.set(State::Calling { inner, request: Some(request), headers });
                            return Poll::Pending;
                        }
                    }
                }
                StateProj::Calling { inner, request, headers } => {
                    ready!(inner.poll_ready(cx))?;
                    let Some(request) = request.take() else { polled_after_completion() };
                    let (response, headers) = (inner.call(request), std::mem::take(headers));
                    state.set(State::Forwarding { response, headers });
                }
                StateProj::Forwarding { response, headers } => {
                    let response = ready!(response.poll(cx));
                    let headers = std::mem::take(headers);
                    // This drops the inner future, and a permit that it may hold.
                    state.set(State::Done);
                    let mut response = response?;
                    headers.insert(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProj::Rejected { response } => {
                    let Some(response) = response.take() else { polled_after_completion() };
                    return Poll::Ready(Ok(response));
                }
                StateProj::Done => polled_after_completion(),
            }
        }
    }
}

/// A caller that polls a future after its completion has a bug.
#[cold]
fn polled_after_completion() -> ! {
    panic!("ResponseFuture polled after completion")
}

impl<S, V, X, R, B> fmt::Debug for ResponseFuture<S, V, X, R, B>
where
    S: Service<Request<X::Body>>,
    V: Service<Attempt>,
    X: Extract<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
