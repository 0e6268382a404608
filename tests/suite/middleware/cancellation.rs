//! A client can disconnect at any time. Wherever the response future is dropped, a used code stays used, and every
//! verified attempt was counted.
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::support::*;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{Admission, MemoryStore, Records, StepOutcome, Store, StoreFull, Throttle, UsedStep};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{Lookup, MemoryPairings, Pairing, Pairings, RecoveryCode, RecoveryCodeDigest};
use tower_toopher::{HeaderOrForm, ToopherLayer, TotpVerifier, UserId};

/// Returns `Pending` once.
async fn pend_once() {
    let mut waited = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Pends before and after each operation, as a store behind a network does.
#[derive(Clone)]
struct Slow<T>(T);

impl Store for Slow<MemoryStore> {
    type Error = StoreFull;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, StoreFull> {
        pend_once().await;
        let result = self.0.count_attempt(user, throttle, now).await;
        pend_once().await;
        result
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), StoreFull> {
        self.0.release_attempt(user, throttle).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, StoreFull> {
        pend_once().await;
        let result = self.0.record_step(user, used, now).await;
        pend_once().await;
        result
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), StoreFull> {
        pend_once().await;
        self.0.clear(user, records).await
    }
}

impl Pairings for Slow<MemoryPairings> {
    type Error = Infallible;

    async fn find(&self, user: &UserId) -> Result<Lookup, Infallible> {
        pend_once().await;
        self.0.find(user).await
    }

    async fn redeem_recovery_code(&self, user: &UserId, code: &RecoveryCodeDigest) -> Result<bool, Infallible> {
        pend_once().await;
        let result = self.0.redeem_recovery_code(user, code).await;
        pend_once().await;
        result
    }
}

/// An inner service that pends once, and counts its calls and its responses.
#[derive(Clone, Default)]
struct SlowInner {
    called: Calls,
    done: Calls,
}

impl Service<Request<Body>> for SlowInner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let this = self.clone();
        this.called.add();
        Box::pin(async move {
            pend_once().await;
            this.done.add();
            Ok(Response::new(Body::default()))
        })
    }
}

fn form(otp: &str) -> Request<Body> {
    Request::post("/")
        .extension(alice())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("otp={otp}")))
        .unwrap()
}

struct Setup {
    store: MemoryStore,
    verifier: TotpVerifier<Slow<MemoryPairings>, Slow<MemoryStore>>,
    inner: SlowInner,
}

impl Setup {
    fn new(recovery_code: &RecoveryCode) -> Self {
        let (users, store) = (MemoryPairings::new(), MemoryStore::new());
        users.insert(alice(), Pairing::confirmed(rfc_totp()));
        users.set_recovery_codes(alice(), [recovery_code.digest(&alice())]);
        let verifier =
            TotpVerifier::new(Slow(users)).unwrap().store(Slow(store.clone())).clock(|| UnixTime::from_secs(T));
        Self { store, verifier, inner: SlowInner::default() }
    }

    /// Polls a request `polls` times, drops it, and returns whether it was complete by then.
    fn drop_after(&self, polls: usize, otp: &str) -> bool {
        let service =
            ToopherLayer::new(self.verifier.clone()).extractor(HeaderOrForm::default()).layer(self.inner.clone());
        let mut response = Box::pin(service.oneshot(form(otp)));
        let mut cx = Context::from_waker(Waker::noop());
        (0..polls).any(|_| response.as_mut().poll(&mut cx).is_ready())
    }
}

#[test]
fn a_right_code_is_accepted_at_most_once_wherever_the_request_is_dropped() {
    let recovery_code = RecoveryCode::generate_count(1).unwrap().remove(0);
    for otp in [CODE.to_owned(), recovery_code.to_string()] {
        let mut calls_before_the_second = 0;
        let mut polls = 0;
        loop {
            let setup = Setup::new(&recovery_code);
            let done = setup.drop_after(polls, &otp);
            let first = setup.inner.called.count();
            assert!(setup.drop_after(100, &otp), "the second request completes");
            let called = setup.inner.called.count();
            assert!(called <= 1, "{otp} was accepted twice, the first request was dropped after {polls} polls");
            // The inner service was called for the first request, or for the second one, or for neither of them.
            assert!(first <= called);
            calls_before_the_second += first;
            if done {
                assert_eq!(setup.inner.done.count(), 1);
                break;
            }
            polls += 1;
        }
        assert!(polls >= 6, "every await point was tested: {polls}");
        assert!(calls_before_the_second >= 2);
    }
}

#[test]
fn a_verified_wrong_code_was_counted_wherever_the_request_is_dropped() {
    let recovery_code = RecoveryCode::generate_count(1).unwrap().remove(0);
    for polls in 0..10 {
        let setup = Setup::new(&recovery_code);
        // Each of these requests is dropped at the same point, and at most five of them were verified.
        for _ in 0..20 {
            setup.drop_after(polls, "000000");
        }
        let counted = setup.store.failure_count() == 1;
        // From the third poll on the store counts the attempt, and does not admit the sixth one.
        assert_eq!(counted, polls >= 3, "{polls}");
        assert_eq!(setup.drop_after(100, CODE) && setup.inner.done.count() == 1, !counted, "{polls}");
    }
}
