//! Users without a factor are like users with wrong codes, over each store and through the verifiers that wrap others.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{
    Admission, ApprovalKey, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome, NewApproval, Records,
    StepOutcome, Store, Throttle, UsedStep,
};
use tower_toopher::test_util::assert_unknown_is_like_wrong;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::verify::{ApprovalId, ErrorClass, FailOpenLayer, FallbackVerifier};
use tower_toopher::{Approvals, Attempt, BoxError, ToopherLayer, TotpVerifier, UserId, Verdict};

use crate::support::stores::over_all_stores;
use crate::support::{Calls, OneShotService, alice, request_of, rfc_totp, totp_verifier, user, with_session};

over_all_stores!(a_verifier_of_codes, with_approvals_around, with_fail_open_around, two_verifiers);

/// A store that counts its operations.
#[derive(Clone)]
struct Counting<S> {
    store: S,
    operations: Arc<AtomicU64>,
}

macro_rules! counting {
    ($trait:ident: $($operation:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $operation(&self, $($arg: $type),*) -> impl Future<Output = Result<$out, S::Error>> + Send {
            self.operations.fetch_add(1, Ordering::SeqCst);
            $trait::$operation(&self.store, $($arg),*)
        })*
    };
}

impl<S: Store> Store for Counting<S> {
    type Error = S::Error;

    counting! {
        Store:
        count_attempt(user: &UserId, throttle: &Throttle, now: UnixTime) -> Admission;
        release_attempt(user: &UserId, throttle: &Throttle) -> ();
        record_step(user: &UserId, used: &UsedStep, now: UnixTime) -> StepOutcome;
        clear(user: &UserId, records: Records) -> ();
    }
}

impl<S: ApprovalStore> ApprovalStore for Counting<S> {
    counting! {
        ApprovalStore:
        begin_approval(user: &UserId, approval: &NewApproval, throttle: &Throttle, now: UnixTime) -> BeginOutcome;
        set_approval_id(user: &UserId, key: ApprovalKey, id: &ApprovalId, until: UnixTime) -> bool;
        find_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
        redeem_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
        end_approval(user: &UserId, key: ApprovalKey, reason: EndReason) -> ();
    }
}

/// Alice has an authenticator, Bob has not confirmed his, and Carol has none.
fn verifier<S: Store + Clone>(store: &S) -> (TotpVerifier<MemoryPairings, Counting<S>>, Counting<S>) {
    let (verifier, _, users) = totp_verifier();
    users.insert(user("bob"), Pairing::unconfirmed(rfc_totp()));
    users.insert_user(user("carol"));
    let store = Counting { store: store.clone(), operations: Arc::default() };
    (verifier.store(store.clone()), store)
}

/// The last three of eight attempts are throttled.
async fn assert_alike<V, S>(verifier: V, stores: &[&Counting<S>])
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
{
    let service = ToopherLayer::new(verifier).approvals().layer(OneShotService::new(&Calls::default()));
    assert_unknown_is_like_wrong(
        &alice(),
        &["bob", "carol", "unknown"].map(user),
        8,
        async |user, otp| {
            let request = with_session(request_of(user, Some(otp.as_str())), "session");
            let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
            http::Response::from_parts(parts, body.collect().await.unwrap().to_bytes().to_vec())
        },
        || stores.iter().map(|store| store.operations.load(Ordering::SeqCst)).sum(),
        async || 0,
    )
    .await;
}

async fn a_verifier_of_codes<S: ApprovalStore + Clone>([store, _]: [S; 2]) {
    let (verifier, store) = verifier(&store);
    assert_alike(verifier, &[&store]).await;
}

async fn with_approvals_around<S: ApprovalStore + Clone>([store, _]: [S; 2]) {
    let (verifier, store) = verifier(&store);
    assert_alike(Approvals::new(verifier).unwrap().store(store.clone()), &[&store]).await;
}

async fn with_fail_open_around<S: ApprovalStore + Clone>([store, _]: [S; 2]) {
    let (verifier, store) = verifier(&store);
    let fail_open =
        FailOpenLayer::insecure(10, Duration::from_secs(600)).unwrap().insecure_also([ErrorClass::Store]).unwrap();
    assert_alike(fail_open.layer(verifier), &[&store]).await;
}

/// Alice has an authenticator at the second verifier, and Dave at the first. The second verifier counts for unknown
/// users.
async fn two_verifiers<S: ApprovalStore + Clone>([store, _]: [S; 2]) {
    let (second, store) = verifier(&store);
    let users = MemoryPairings::new();
    users.insert(user("dave"), Pairing::confirmed(rfc_totp()));
    let first = TotpVerifier::new(users).unwrap().store(store.clone());
    assert_alike(FallbackVerifier::new(first.clone(), second.clone()), &[&store]).await;
}
