use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use super::decide;
use super::extract::Extract;
use super::freshness;
use super::grants::{Issued, Issuing};
use super::observe::{AuditOutcome, Watch};
use super::policy::{Asking, Denial, Policy, Profile};
use super::reject::{Reject, Rejection};
use super::service::ToopherService;
use crate::{Action, Attempt, BoxError, SecondFactor, UserId, Verdict};

pin_project! {
    /// The future of [`ToopherService`].
    pub struct ResponseFuture<S, V, X, R, B>
    where
        S: Service<Request<X::Body>>,
        V: Service<Attempt>,
        X: Extract<B>,
    {
        #[pin]
        state: State<S, V, X::Future, X::Body, S::Response>,
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
            match this.state.project() {
                StateProj::Extracting { parts, asking, .. } => {
                    this.policy.abandoned(&this.policy.watch(parts, asking), &parts.method, &parts.uri, None);
                }
                StateProj::Verifying { watch, request, user, identified, .. } => {
                    let asked = identified.then_some(&*user);
                    this.policy.abandoned(watch, request.method(), request.uri(), asked);
                }
                _ => {}
            }
        }
    }
}

pin_project! {
    /// Extracting, then Verifying, then Forwarding; any of the first two may end in Refused.
    ///
    /// `B` is the body for the inner service.
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<S, V, F, B, Res>
    where
        S: Service<Request<B>>,
        V: Service<Attempt>,
    {
        Extracting {
            #[pin]
            extract: F,
            parts: Parts,
            asking: Asking,
            verifier: V,
            inner: S,
        },
        Verifying {
            #[pin]
            verdict: Oneshot<V, Attempt>,
            request: Request<B>,
            inner: S,
            user: UserId,
            action: Action,
            otp_given: bool,
            issuing: Option<Issuing>,
            // Not only named in a form.
            identified: bool,
            may_open: bool,
            watch: Watch,
        },
        Forwarding {
            #[pin]
            response: Oneshot<S, Request<B>>,
            issued: Option<Issued>,
        },
        Refused {
            response: Res,
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
    pub(super) fn asking(extract: X::Future, parts: Parts, asking: Asking, gate: &ToopherService<S, V, X, R>) -> Self
    where
        S: Clone,
        V: Clone,
        R: Clone,
    {
        let (verifier, inner) = (gate.verifier.clone(), gate.inner.clone());
        Self::in_state(State::Extracting { extract, parts, asking, verifier, inner }, gate)
    }

    pub(super) fn forwarding(inner: S, request: Request<X::Body>, gate: &ToopherService<S, V, X, R>) -> Self
    where
        R: Clone,
    {
        Self::in_state(State::Forwarding { response: Oneshot::new(inner, request), issued: None }, gate)
    }

    pub(super) fn refusing<ResBody>(rejection: &Rejection, parts: &Parts, gate: &ToopherService<S, V, X, R>) -> Self
    where
        S: Service<Request<X::Body>, Response = Response<ResBody>>,
        R: Reject<ResBody> + Clone,
    {
        let response = refusal(rejection, parts, &gate.reject, &gate.policy);
        Self::in_state(State::Refused { response }, gate)
    }

    fn in_state(state: State<S, V, X::Future, X::Body, S::Response>, gate: &ToopherService<S, V, X, R>) -> Self
    where
        R: Clone,
    {
        Self { state, reject: gate.reject.clone(), policy: Arc::clone(&gate.policy) }
    }
}

/// Makes the response to a refused request, whose true reason goes into its extensions.
fn refusal<R, ResBody>(rejection: &Rejection, parts: &Parts, reject: &R, policy: &Policy) -> Response<ResBody>
where
    R: Reject<ResBody>,
{
    let mut response = reject.reject(rejection, parts);
    if policy.profile == Profile::ForwardAuth && response.status().is_success() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        // Every 401 has one (RFC 9110 section 15.5.2).
        if let Some(challenge) = policy.challenge_at_least(rejection) {
            response.headers_mut().entry(header::WWW_AUTHENTICATE).or_insert(challenge);
        }
    }
    response.extensions_mut().insert(rejection.clone());
    response
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
                StateProj::Extracting { extract, .. } => {
                    let extracted = ready!(extract.poll(cx));
                    let StateOwned::Extracting { parts, asking, verifier, inner, .. } =
                        this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was Extracting");
                    };
                    let watch = policy.watch(&parts, &asking);
                    let identified = asking.user.is_some();
                    let asked = match extracted {
                        Ok(found) => policy.attempt(asking, found, &parts),
                        Err(error) => Err(policy.extract_error(error)),
                    };
                    match asked {
                        Ok((attempt, body)) => State::Verifying {
                            // What a grant is bound to is what was so before the factor was looked at. Who is only named
                            // in a form has shown no first factor, and gets none.
                            issuing: identified.then(|| policy.freshness.issuing(&parts, attempt.user())).flatten(),
                            user: attempt.user().clone(),
                            action: attempt.action().clone(),
                            otp_given: attempt.otp().is_some(),
                            identified,
                            may_open: identified && asks_nobody(&attempt),
                            watch: watch.asking(&attempt),
                            verdict: Oneshot::new(verifier, attempt),
                            request: Request::from_parts(parts, body),
                            inner,
                        },
                        Err(rejection) => {
                            policy.refused(&watch, &parts, &rejection);
                            return Poll::Ready(Ok(refusal(&rejection, &parts, reject, policy)));
                        }
                    }
                }
                StateProj::Verifying { verdict, watch, .. } => {
                    let verdict = ready!(watch.within(|| verdict.poll(cx)));
                    let StateOwned::Verifying {
                        mut request,
                        inner,
                        user,
                        action,
                        otp_given,
                        issuing,
                        identified,
                        may_open,
                        watch,
                        ..
                    } = this.state.as_mut().project_replace(State::Done)
                    else {
                        unreachable!("the state was Verifying");
                    };
                    let mut issued = None;
                    let denial = match verdict {
                        Ok(Verdict::Granted(factor)) => {
                            let shown = SecondFactor::new(user.clone(), action, factor);
                            issued = issuing
                                .and_then(|issuing| policy.freshness.issue(issuing, &shown, request.extensions_mut()));
                            freshness::mark(request.extensions_mut(), shown);
                            Ok(AuditOutcome::Granted(factor))
                        }
                        Ok(Verdict::Denied(reason)) => Err(policy.denied(reason, otp_given)),
                        Ok(Verdict::Pending(pending)) => Err(Denial::Refuse(policy.pending(pending))),
                        Err(error) => Err(policy.fault(error.into(), &user, may_open)),
                    };
                    let decision = match denial {
                        Ok(granted) => Ok(granted),
                        Err(Denial::PassWithout(reason)) => Ok(decide::mark(&mut request, reason)),
                        Err(Denial::Refuse(rejection)) => Err(rejection),
                    };
                    match policy.decided(identified.then_some(&user), &watch, &request, decision) {
                        None => State::Forwarding { response: Oneshot::new(inner, request), issued },
                        Some(rejection) => {
                            let (parts, _) = request.into_parts();
                            return Poll::Ready(Ok(refusal(&rejection, &parts, reject, policy)));
                        }
                    }
                }
                StateProj::Forwarding { response, issued } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(issued) = issued.take() {
                        issued.write(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProj::Refused { .. } => {
                    let StateOwned::Refused { response } = this.state.as_mut().project_replace(State::Done) else {
                        unreachable!("the state was Refused");
                    };
                    return Poll::Ready(Ok(response));
                }
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
