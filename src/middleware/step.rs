//! The steps from a request to a decision.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

use super::decision::{Forward, InFlight, UndecidedRequest};
use super::extract::{Credentials, ExtractError, ReadCredentials};
use super::response::{Rejection, extract_error};
use crate::verify::{Attempt, BoxError, Verdict};

pin_project! {
    /// The steps to a decision. A field that is needed after its step is an `Option`, which is taken once.
    #[project = StepProj]
    pub(super) enum Step<V, X, B>
    where
        V: Service<Attempt>,
    {
        Extracting {
            #[pin]
            credentials: ReadCredentials<X>,
            verifier: Option<V>,
        },
        Verifying {
            #[pin]
            verdict: Oneshot<V, Attempt>,
            body: Option<B>,
            in_flight: InFlight,
        },
    }
}

/// What forwards a request, or what rejects it.
pub(super) type Decision<B> = Result<(B, InFlight, Forward), (InFlight, Rejection)>;

/// Reads the credentials, then calls the verifier. After the decision, it is not called again: the request is taken.
pub(super) fn poll_step<S, V, X, B, R>(
    mut step: Pin<&mut Step<V, X, B>>,
    request: &UndecidedRequest<S, R>,
    cx: &mut Context<'_>,
) -> Poll<Decision<B>>
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
                let Some(verifier) = verifier.take() else { return Poll::Pending };
                match credentials {
                    Ok(credentials) => {
                        let (attempt, body) = request.build_attempt(credentials);
                        let in_flight = request.start(&attempt);
                        let verdict = Oneshot::new(verifier, attempt);
                        step.set(Step::Verifying { verdict, body: Some(body), in_flight });
                    }
                    Err(error) => {
                        let rejection = extract_error(&request.config, error);
                        return Poll::Ready(Err((InFlight::default(), rejection)));
                    }
                }
            }
            StepProj::Verifying { verdict, body, in_flight } => {
                let verdict = ready!(in_flight.poll_in_scope(|| verdict.poll(cx)));
                // The same.
                let Some(body) = body.take() else { return Poll::Pending };
                let in_flight = std::mem::take(in_flight);
                return Poll::Ready(match request.decide(&in_flight, verdict.map_err(Into::into)) {
                    Ok(forward) => Ok((body, in_flight, forward)),
                    Err(rejection) => Err((in_flight, rejection)),
                });
            }
        }
    }
}
