//! Properties that users rely on: auto traits, clones, and no unnecessary bounds.

use std::rc::Rc;

use tower_toopher::approvals::{ApprovalStatus, StatusBody, StatusFuture};
use tower_toopher::middleware::{AuditEvent, Outcome, ProblemJson, ReplayBody, ResponseFuture, StepUp};
use tower_toopher::store::MemoryStore;
use tower_toopher::time::{Clock, UnixTime};
use tower_toopher::totp::{Enrollment, MemoryPairings, Pairing, RecoveryCode, Secret, Totp};
use tower_toopher::verify::{
    ApprovalToken, AuditPath, ExtraBinding, FailOpen, FailOpenFuture, FailOpenLayer, FallbackVerifier, PendingApproval,
    RequestBinding, RequestId, SessionId,
};
use tower_toopher::{
    Action, Approvals, Attempt, BoxError, ConfigError, Factor, Header, HeaderOrForm, Otp, Rejection, SecondFactor,
    Terminal, ToopherLayer, ToopherService, TotpVerifier, UserId, Verdict,
};

fn shareable<T: Clone + Send + Sync + Unpin + 'static>() {}
fn sendable<T: Send + 'static>() {}

#[test]
fn types_that_threads_share_are_send_sync_and_clone() {
    shareable::<ToopherLayer<TotpVerifier<MemoryPairings>, HeaderOrForm>>();
    shareable::<ToopherService<crate::support::OneShotService, TotpVerifier<MemoryPairings>>>();
    shareable::<(Attempt, Verdict, UserId, Action, Terminal, Otp, SecondFactor, Rejection)>();
    shareable::<(Secret, Totp, Pairing, RecoveryCode, Enrollment, MemoryPairings, MemoryStore)>();
    sendable::<ReplayBody<crate::support::Body>>();
    sendable::<
        ResponseFuture<
            crate::support::OneShotService,
            TotpVerifier<MemoryPairings>,
            Header,
            ProblemJson,
            crate::support::Body,
        >,
    >();
    sendable::<BoxError>();
    shareable::<(Approvals<TotpVerifier<MemoryPairings>>, ApprovalStatus<TotpVerifier<MemoryPairings>, MemoryStore>)>();
    shareable::<(
        FallbackVerifier<TotpVerifier<MemoryPairings>, crate::support::ScriptedVerifier>,
        ApprovalToken,
        PendingApproval,
        RequestBinding,
    )>();
    sendable::<(StatusBody, StatusFuture)>();
    shareable::<StepUp>();
    shareable::<(SessionId, RequestId, ExtraBinding, AuditPath, UnixTime, Clock, ConfigError)>();
    shareable::<(AuditEvent, Outcome, FailOpenLayer, FailOpen<TotpVerifier<MemoryPairings>>)>();
    sendable::<FailOpenFuture<TotpVerifier<MemoryPairings>>>();
    #[cfg(feature = "grants")]
    {
        use tower_toopher::middleware::grants::{Epoch, Grant, Grants, SameSite};

        shareable::<(Grants, Grant, Epoch, SameSite)>();
    }
}

/// The layer requires no `Send`, `Sync` or `'static`, so a verifier and a service of one thread are sufficient.
#[tokio::test(flavor = "current_thread")]
async fn a_service_of_one_thread_works() {
    use tower::{Layer, ServiceExt, service_fn};

    let seen = Rc::new(std::cell::Cell::new(0));
    let (by_verifier, by_inner) = (&seen, seen.clone());
    let verifier = service_fn(move |_: Attempt| {
        by_verifier.set(by_verifier.get() + 1);
        async { Ok::<_, std::convert::Infallible>(Verdict::Granted(Factor::Push)) }
    });
    let inner = service_fn(move |_: http::Request<crate::support::Body>| {
        by_inner.set(by_inner.get() + 10);
        async { Ok::<_, Rc<str>>(http::Response::new(crate::support::Body::default())) }
    });
    let service = ToopherLayer::new(verifier).layer(inner);
    assert!(service.oneshot(crate::support::request(None)).await.is_ok());
    assert_eq!(seen.get(), 11);
}
