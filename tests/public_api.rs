//! What users lean on without noticing: auto traits, clones, and that nothing is bounded where it need not be.

mod common;

use std::rc::Rc;

use tower_toopher::approvals::{ApprovalStatus, StatusBody, StatusFuture};
use tower_toopher::gate::ResponseFuture;
use tower_toopher::gate::grants::{Epoch, SameSite};
use tower_toopher::store::MemoryStore;
use tower_toopher::totp::{BackupCode, Enrolment, MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{
    Action, Approvals, Attempt, BoxError, Challenge, EitherVerifier, Grant, Grants, Header, HeaderOrForm, Otp, Pending,
    ProblemJson, Rejection, ReplayBody, RequestBinding, SecondFactor, StepUp, Terminal, ToopherLayer, ToopherService,
    TotpVerifier, UserId, Verdict,
};

fn shareable<T: Clone + Send + Sync + Unpin + 'static>() {}
fn sendable<T: Send + 'static>() {}

#[test]
fn what_is_shared_between_threads_can_be() {
    shareable::<ToopherLayer<TotpVerifier<MemoryPairings>, HeaderOrForm>>();
    shareable::<ToopherService<common::Strict, TotpVerifier<MemoryPairings>>>();
    shareable::<(Attempt, Verdict, UserId, Action, Terminal, Otp, SecondFactor, Rejection)>();
    shareable::<(Secret, Totp, Pairing, BackupCode, Enrolment, MemoryPairings, MemoryStore)>();
    sendable::<ReplayBody<common::Body>>();
    sendable::<ResponseFuture<common::Strict, TotpVerifier<MemoryPairings>, Header, ProblemJson, common::Body>>();
    sendable::<BoxError>();
    shareable::<(Approvals<TotpVerifier<MemoryPairings>>, ApprovalStatus<TotpVerifier<MemoryPairings>, MemoryStore>)>();
    shareable::<(EitherVerifier<TotpVerifier<MemoryPairings>, common::Says>, Challenge, Pending, RequestBinding)>();
    sendable::<(StatusBody, StatusFuture)>();
    shareable::<(Grants, Grant, Epoch, SameSite, StepUp)>();
}

/// The gate asks for no `Send`, `Sync` or `'static`: a verifier and a service of one thread will do.
#[tokio::test(flavor = "current_thread")]
async fn a_gate_of_one_thread_works() {
    use tower::{Layer, ServiceExt, service_fn};

    let seen = Rc::new(std::cell::Cell::new(0));
    let (by_verifier, by_inner) = (&seen, seen.clone());
    let verifier = service_fn(move |_: Attempt| {
        by_verifier.set(by_verifier.get() + 1);
        async { Ok::<_, std::convert::Infallible>(Verdict::Granted(tower_toopher::Factor::Push)) }
    });
    let inner = service_fn(move |_: http::Request<common::Body>| {
        by_inner.set(by_inner.get() + 10);
        async { Ok::<_, Rc<str>>(http::Response::new(common::Body::default())) }
    });
    let gate = ToopherLayer::new(verifier).layer(inner);
    assert!(gate.oneshot(common::request(None)).await.is_ok());
    assert_eq!(seen.get(), 11);
}
