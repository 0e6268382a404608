//! The steps from a request to a decision.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::decision::{Forward, UndecidedRequest};
use super::extract::{Credentials, ExtractError, ReadCredentials};
use super::response::{Rejection, extract_error};
use crate::verify::{Attempt, BoxError, Verdict};

pin_project! {
    /// The steps to a decision. A field that is needed after its step is an `Option`, which is taken once.
    #[project = StepProj]
    pub(super) enum Step<V, X>
    where
        V: Service<Attempt>,
    {
        Extracting {
            #[pin]
            credentials: ReadCredentials<X>,
            verifier: Option<V>,
        },
        // The verifier was not ready.
        Waiting {
            verifier: V,
            attempt: Option<Attempt>,
        },
        Verifying {
            #[pin]
            verdict: V::Future,
        },
    }
}

/// Reads the credentials, then calls the verifier. After the decision, it is not called again: the request is taken.
pub(super) fn poll_step<S, V, X, B, R>(
    mut step: Pin<&mut Step<V, X>>,
    request: &mut UndecidedRequest<S, R, B>,
    cx: &mut Context<'_>,
) -> Poll<Result<Forward, Rejection>>
where
    V: Service<Attempt, Response = Verdict>,
    V::Error: Into<BoxError>,
    X: Future<Output = Result<Credentials<B>, ExtractError>>,
{
    loop {
        match step.as_mut().project() {
            StepProj::Extracting { credentials, verifier } => {
                let credentials = ready!(credentials.poll(cx));
                // It is taken only once: the next lines leave the step.
                let Some(mut verifier) = verifier.take() else { return Poll::Pending };
                let mut attempt = match credentials {
                    Ok(credentials) => Some(request.start(credentials)),
                    Err(error) => return Poll::Ready(Err(extract_error(&request.in_flight.config, error))),
                };
                match request.in_flight.poll_in_scope(|| poll_call(&mut verifier, &mut attempt, cx)) {
                    Poll::Ready(Ok(verdict)) => step.set(Step::Verifying { verdict }),
                    Poll::Ready(Err(error)) => return Poll::Ready(request.in_flight.decide(Err(error.into()))),
                    Poll::Pending => {
                        step.set(Step::Waiting { verifier, attempt });
                        return Poll::Pending;
                    }
                }
            }
            StepProj::Waiting { verifier, attempt } => {
                match ready!(request.in_flight.poll_in_scope(|| poll_call(verifier, attempt, cx))) {
                    Ok(verdict) => step.set(Step::Verifying { verdict }),
                    Err(error) => return Poll::Ready(request.in_flight.decide(Err(error.into()))),
                }
            }
            StepProj::Verifying { verdict } => {
                let verdict = ready!(request.in_flight.poll_in_scope(|| verdict.poll(cx)));
                return Poll::Ready(request.in_flight.decide(verdict.map_err(Into::into)));
            }
        }
    }
}

/// Calls the verifier once it is ready.
fn poll_call<V: Service<Attempt>>(
    verifier: &mut V,
    attempt: &mut Option<Attempt>,
    cx: &mut Context<'_>,
) -> Poll<Result<V::Future, V::Error>> {
    ready!(verifier.poll_ready(cx))?;
    // It is taken only once: the caller leaves the step.
    let Some(attempt) = attempt.take() else { return Poll::Pending };
    Poll::Ready(Ok(verifier.call(attempt)))
}
