use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use super::decide;
use super::extract::Extract;
use super::freshness;
use super::grants::{Issued, Issuing};
use super::observe::Watch;
use super::policy::{Asking, Policy};
use super::reject::{Reject, Rejection};
use super::service::ToopherService;
use crate::{Attempt, BoxError, SecondFactor, Verdict};

pin_project! {
    /// The future of [`ToopherService`].
    pub struct ResponseFuture<S, V, X, R, B>
    where
        S: Service<Request<X::Body>>,
        V: Service<Attempt>,
        X: Extract<B>,
    {
        #[pin]
        state: State<V, X::Future, S::Future, S::Response>,
        // Beside the states, not in them, since moving it from one to the next would cost more than all else.
        parts: Option<Parts>,
        asking: Option<Asking>,
        body: Option<X::Body>,
        inner: Option<S>,
        issued: Option<Issued>,
        reject: R,
        policy: Arc<Policy>,
    }

    impl<S, V, X, R, B> PinnedDrop for ResponseFuture<S, V, X, R, B>
    where
        S: Service<Request<X::Body>>,
        V: Service<Attempt>,
        X: Extract<B>,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let (Some(parts), Some(asking)) = (this.parts, this.asking) else { return };
            match this.state.project() {
                StateProj::Extracting { .. } => {
                    this.policy.abandoned(&this.policy.watch(parts, asking), parts, None);
                }
                StateProj::Verifying { asked: Some(asked), .. } => {
                    this.policy.abandoned(&asked.watch, parts, asking.identified());
                }
                _ => {}
            }
        }
    }
}

pin_project! {
    /// Extracting, Verifying, Passing, Forwarding. What passes by its head begins at Passing, and what is refused by it
    /// at Refused.
    #[project = StateProj]
    enum State<V, F, G, Res>
    where
        V: Service<Attempt>,
    {
        Extracting {
            #[pin]
            extract: F,
            verifier: Option<V>,
        },
        Verifying {
            #[pin]
            verdict: Oneshot<V, Attempt>,
            asked: Option<Asked>,
        },
        Passing,
        Forwarding {
            #[pin]
            response: G,
        },
        Refused {
            response: Option<Res>,
        },
        Done,
    }
}

/// What is known of a request whose verifier is asked.
struct Asked {
    otp_given: bool,
    issuing: Option<Issuing>,
    may_open: bool,
    watch: Watch,
}

impl<S, V, X, R, B> ResponseFuture<S, V, X, R, B>
where
    S: Service<Request<X::Body>>,
    V: Service<Attempt>,
    X: Extract<B>,
{
    pub(super) fn asking(extract: X::Future, parts: Parts, asking: Asking, gate: &ToopherService<S, V, X, R>) -> Self
    where
        S: Clone,
        V: Clone,
        R: Clone,
    {
        let mut future = Self::in_state(State::Extracting { extract, verifier: Some(gate.verifier.clone()) }, gate);
        future.parts = Some(parts);
        future.asking = Some(asking);
        future.inner = Some(gate.inner.clone());
        future
    }

    pub(super) fn forwarding(parts: Parts, body: X::Body, gate: &ToopherService<S, V, X, R>) -> Self
    where
        S: Clone,
        R: Clone,
    {
        let mut future = Self::in_state(State::Passing, gate);
        future.parts = Some(parts);
        future.body = Some(body);
        future.inner = Some(gate.inner.clone());
        future
    }

    pub(super) fn refusing<ResBody>(rejection: Rejection, parts: &Parts, gate: &ToopherService<S, V, X, R>) -> Self
    where
        S: Service<Request<X::Body>, Response = Response<ResBody>>,
        R: Reject<ResBody> + Clone,
    {
        let response = Some(gate.policy.refusal(rejection, parts, &gate.reject));
        Self::in_state(State::Refused { response }, gate)
    }

    fn in_state(state: State<V, X::Future, S::Future, S::Response>, gate: &ToopherService<S, V, X, R>) -> Self
    where
        R: Clone,
    {
        Self {
            state,
            parts: None,
            asking: None,
            body: None,
            inner: None,
            issued: None,
            reject: gate.reject.clone(),
            policy: Arc::clone(&gate.policy),
        }
    }
}

/// Whether no person is waited for in the course of an attempt. Of one that may be, an error says nothing: the client
/// chooses how long it waits, so a deadline around it is the client's to meet, and the person may have said no.
fn asks_nobody(attempt: &Attempt) -> bool {
    attempt.challenge().is_none() && (attempt.otp().is_some() || attempt.request().is_none())
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
        let mut this = self.project();
        let (reject, policy) = (&*this.reject, &**this.policy);
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Extracting { extract, verifier } => {
                    let extracted = ready!(extract.poll(cx));
                    let verifier = verifier.take();
                    this.state.set(State::Done);
                    let (Some(asking), Some(verifier), Some(parts)) = (&mut *this.asking, verifier, &*this.parts)
                    else {
                        unreachable!("nobody was asked yet");
                    };
                    let watch = policy.watch(parts, asking);
                    let asked = match extracted {
                        Ok(found) => policy.attempt(asking, found, parts),
                        Err(error) => Err(policy.extract_error(error)),
                    };
                    match asked {
                        Ok((attempt, body)) => {
                            let identified = asking.identified();
                            let asked = Asked {
                                // What a grant is bound to is what was so before the factor was looked at. Who is only
                                // named in a form has shown no first factor, and gets none.
                                issuing: identified.and_then(|user| policy.freshness.issuing(parts, user)),
                                otp_given: attempt.otp().is_some(),
                                may_open: asks_nobody(&attempt),
                                watch: watch.asking(&attempt),
                            };
                            *this.body = Some(body);
                            State::Verifying { verdict: Oneshot::new(verifier, attempt), asked: Some(asked) }
                        }
                        Err(rejection) => {
                            policy.refused(&watch, parts, &rejection);
                            return Poll::Ready(Ok(policy.refusal(rejection, parts, reject)));
                        }
                    }
                }
                StateProj::Verifying { verdict, asked } => {
                    let Some(watch) = asked.as_ref().map(|asked| &asked.watch) else {
                        unreachable!("nothing was decided yet");
                    };
                    let verdict = ready!(watch.within(|| verdict.poll(cx)));
                    let asked = asked.take();
                    this.state.set(State::Done);
                    let (Some(asked), Some(asking), Some(parts)) = (asked, this.asking.take(), &mut *this.parts) else {
                        unreachable!("nothing was decided yet");
                    };
                    let identified = asking.identified();
                    let denied = match verdict {
                        Ok(Verdict::Granted(factor)) => {
                            let identified = identified.is_some();
                            let Some(user) = asking.user else { unreachable!("somebody was asked about") };
                            let shown = SecondFactor::new(user, asking.action, factor);
                            *this.issued = asked
                                .issuing
                                .and_then(|issuing| policy.freshness.issue(issuing, &shown, &mut parts.extensions));
                            policy.granted(identified.then_some(shown.user()), &asked.watch, parts, factor);
                            freshness::mark(&mut parts.extensions, shown);
                            this.state.set(State::Passing);
                            continue;
                        }
                        Ok(Verdict::Denied(reason)) => policy.denied(reason, asked.otp_given),
                        Ok(Verdict::Pending(pending)) => Err(policy.pending(pending)),
                        Err(error) => policy.fault(error.into(), identified.filter(|_| asked.may_open)),
                    };
                    match policy.not_granted(identified, &asked.watch, parts, denied) {
                        Ok(reason) => decide::mark(&mut parts.extensions, reason),
                        Err(rejection) => return Poll::Ready(Ok(policy.refusal(rejection, parts, reject))),
                    }
                    State::Passing
                }
                StateProj::Passing => {
                    let Some(inner) = this.inner else { unreachable!("the inner service was not called yet") };
                    let ready = ready!(inner.poll_ready(cx));
                    this.state.set(State::Done);
                    let (Some(mut inner), Some(parts), Some(body)) =
                        (this.inner.take(), this.parts.take(), this.body.take())
                    else {
                        unreachable!("the request was not forwarded yet");
                    };
                    ready?;
                    State::Forwarding { response: inner.call(Request::from_parts(parts, body)) }
                }
                StateProj::Forwarding { response } => {
                    let response = ready!(response.poll(cx));
                    // What the inner future holds, a permit perhaps, is not held any longer.
                    this.state.set(State::Done);
                    let mut response = response?;
                    if let Some(issued) = this.issued.take() {
                        issued.write(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Refused { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    None => panic!("ResponseFuture polled after completion"),
                },
                StateProj::Done => panic!("ResponseFuture polled after completion"),
            };
            this.state.set(next);
        }
    }
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
