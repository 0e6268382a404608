//! A client may hang up at any moment: wherever the response future is dropped, no spent code is fresh again and no
//! failure goes uncounted.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use common::*;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{Admission, MemoryStore, Spend, Store, StoreFull, Throttle};
use tower_toopher::totp::{BackupCode, BackupCodeDigest, Lookup, MemoryPairings, Pairing, Pairings, TotpVerifier};
use tower_toopher::{HeaderOrForm, ToopherLayer, UserId};

/// Pends once.
async fn a_moment() {
    let mut waited = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Pends before and after each verb of the store, as one behind a network does.
#[derive(Clone)]
struct Slow<T>(T);

impl Store for Slow<MemoryStore> {
    type Error = StoreFull;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, StoreFull> {
        a_moment().await;
        let answer = self.0.count_attempt(user, throttle, now).await;
        a_moment().await;
        answer
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), StoreFull> {
        self.0.take_back_attempt(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, StoreFull> {
        a_moment().await;
        let answer = self.0.spend_step(user, device, step, keep_until, now).await;
        a_moment().await;
        answer
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), StoreFull> {
        a_moment().await;
        self.0.clear_failures(user).await
    }
}

impl Pairings for Slow<MemoryPairings> {
    type Error = Infallible;

    async fn find(&self, user: &UserId) -> Result<Lookup, Infallible> {
        a_moment().await;
        self.0.find(user).await
    }

    async fn redeem_backup_code(&self, user: &UserId, code: &BackupCodeDigest) -> Result<bool, Infallible> {
        a_moment().await;
        let answer = self.0.redeem_backup_code(user, code).await;
        a_moment().await;
        answer
    }
}

/// An inner service that takes a moment, and counts when it begins and when it is done.
#[derive(Clone, Default)]
struct SlowInner {
    begun: Calls,
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
        this.begun.add();
        Box::pin(async move {
            a_moment().await;
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

struct Gate {
    store: MemoryStore,
    verifier: TotpVerifier<Slow<MemoryPairings>, Slow<MemoryStore>>,
    inner: SlowInner,
}

impl Gate {
    fn new(backup_code: &BackupCode) -> Self {
        let (users, store) = (MemoryPairings::new(), MemoryStore::new());
        users.insert(alice(), Pairing::confirmed(k20()));
        users.set_backup_codes(alice(), [backup_code.digest(&alice())]);
        let verifier = TotpVerifier::new(Slow(users))
            .unwrap()
            .store(Slow(store.clone()))
            .clock(|| UNIX_EPOCH + Duration::from_secs(T));
        Self { store, verifier, inner: SlowInner::default() }
    }

    /// Polls a request `polls` times and drops it; says whether it was done by then.
    fn hang_up_after(&self, polls: usize, otp: &str) -> bool {
        let gate =
            ToopherLayer::new(self.verifier.clone()).extractor(HeaderOrForm::default()).layer(self.inner.clone());
        let mut response = Box::pin(gate.oneshot(form(otp)));
        let mut cx = Context::from_waker(Waker::noop());
        (0..polls).any(|_| response.as_mut().poll(&mut cx).is_ready())
    }
}

#[test]
fn wherever_a_right_code_is_dropped_it_passes_once_at_the_most() {
    let backup_code = BackupCode::generate_count(1).unwrap().remove(0);
    for otp in [CODE.to_owned(), backup_code.to_string()] {
        let mut passes_before_the_second = 0;
        let mut polls = 0;
        loop {
            let gate = Gate::new(&backup_code);
            let done = gate.hang_up_after(polls, &otp);
            let first = gate.inner.begun.count();
            assert!(gate.hang_up_after(100, &otp), "the second request ends");
            let passes = gate.inner.begun.count();
            assert!(passes <= 1, "{otp} passed twice when the first was dropped after {polls} polls");
            // The inner was called for the first, or the code is still good, or it is spent with no pass: never more.
            assert!(first <= passes);
            passes_before_the_second += first;
            if done {
                assert_eq!(gate.inner.done.count(), 1);
                break;
            }
            polls += 1;
        }
        assert!(polls >= 6, "every await point was tried: {polls}");
        assert!(passes_before_the_second >= 2);
    }
}

#[test]
fn wherever_a_wrong_code_is_dropped_what_was_verified_was_counted() {
    let backup_code = BackupCode::generate_count(1).unwrap().remove(0);
    for polls in 0..10 {
        let gate = Gate::new(&backup_code);
        // Each of these is dropped at the same point. Whatever that is, at most five were verified.
        for _ in 0..20 {
            gate.hang_up_after(polls, "000000");
        }
        let counted = gate.store.users_with_failures() == 1;
        // From the third poll on the store has been written to, and the sixth attempt is not let through.
        assert_eq!(counted, polls >= 3, "{polls}");
        assert_eq!(gate.hang_up_after(100, CODE) && gate.inner.done.count() == 1, !counted, "{polls}");
    }
}
