//! An OTP in place of an approval: a right one clears the user's approvals, in three store operations, and a wrong one
//! clears nothing.
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::phones::{self, Ask, Decision, Phones};
use crate::support::{CODE, Calls, Clock, NEXT_CODE, OneShotService, T, alice, totp_verifier};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_toopher::middleware::ProblemJson;
use tower_toopher::store::{
    Admission, ApprovalKey, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome, InspectStore,
    MemoryStore, NewApproval, Records, StepOutcome, Store, StoreFull, Throttle, UsedStep,
};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, RecoveryCode};
use tower_toopher::verify::{ApprovalId, FallbackVerifier};
use tower_toopher::{
    Approvals, Attempt, BoxError, Factor, HeaderOrForm, ToopherService, TotpVerifier, UserId, Verdict,
};

/// A memory store that records the called operations, and may hang after a recorded step.
#[derive(Clone, Default)]
struct Watched {
    store: MemoryStore,
    hangs: Arc<AtomicBool>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Watched {
    fn new() -> Self {
        Self::default()
    }

    fn note(&self, operation: &'static str) {
        self.calls.lock().unwrap().push(operation);
    }

    /// The operations since the last call.
    fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }
}

macro_rules! watched {
    ($trait:ident: $($operation:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $operation(&self, $($arg: $type),*) -> impl Future<Output = Result<$out, StoreFull>> + Send {
            self.note(stringify!($operation));
            $trait::$operation(&self.store, $($arg),*)
        })*
    };
}

impl Store for Watched {
    type Error = StoreFull;

    watched! {
        Store:
        count_attempt(user: &UserId, throttle: &Throttle, now: UnixTime) -> Admission;
        release_attempt(user: &UserId, throttle: &Throttle) -> ();
        clear(user: &UserId, records: Records) -> ();
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, StoreFull> {
        self.note("record_step");
        let outcome = self.store.record_step(user, used, now).await;
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        outcome
    }
}

impl ApprovalStore for Watched {
    watched! {
        ApprovalStore:
        begin_approval(user: &UserId, approval: &NewApproval, throttle: &Throttle, now: UnixTime) -> BeginOutcome;
        set_approval_id(user: &UserId, key: ApprovalKey, id: &ApprovalId, until: UnixTime) -> bool;
        find_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
        redeem_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
        end_approval(user: &UserId, key: ApprovalKey, reason: EndReason) -> ();
    }
}

type Both = FallbackVerifier<TotpVerifier<MemoryPairings, Watched>, Phones>;
type Verifier = BoxCloneSyncService<Attempt, Verdict, BoxError>;

struct World {
    service: ToopherService<OneShotService, Approvals<Verifier, Watched>, HeaderOrForm, ProblemJson>,
    phones: Phones,
    clock: Clock,
    users: MemoryPairings,
}

impl World {
    /// Used steps are recorded in `records`, approvals are kept in `keeps`, and `wrap` is between the two verifiers.
    fn new(records: Watched, keeps: Watched, wrap: impl FnOnce(Both) -> Verifier) -> Self {
        let (otps, clock, users) = totp_verifier();
        let phones = Phones::default();
        let verifier = wrap(FallbackVerifier::new(otps.store(records), phones.clone()));
        let approvals = Approvals::new(verifier).unwrap().store(keeps).clock(&clock);
        Self { service: phones::layer(approvals).layer(OneShotService::new(&Calls::default())), phones, clock, users }
    }

    /// With one store, and no layer between the verifiers.
    fn over_one_store(store: &Watched) -> Self {
        Self::new(store.clone(), store.clone(), Verifier::new)
    }

    async fn status(&self, ask: Ask) -> u16 {
        ask.send(&self.service).await.status().as_u16()
    }

    /// Whether the approved request with this token passes.
    async fn passes(&self, token: &str) -> bool {
        self.phones.decide(Decision::Allowed);
        self.status(Ask::default().token(token)).await == 200
    }
}

/// The operations of the verifier of OTPs, and those of an OTP in place of an approval.
const TWO: &[&str] = &["count_attempt", "record_step"];
const THREE: &[&str] = &["count_attempt", "record_step", "clear"];

#[tokio::test]
async fn a_right_otp_is_three_operations_and_clears_the_approvals() {
    let store = Watched::new();
    let world = World::over_one_store(&store);
    let token = Ask::default().begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().token(&token).otp(CODE)).await, 200);
    assert_eq!(store.take_calls(), THREE);
    assert!(!world.passes(&token).await);
    // The limit is reset: five, and a sixth is refused.
    for _ in 0..5 {
        let token = Ask::default().begin(&world.service).await;
        world.phones.decide(Decision::Denied);
        assert_eq!(world.status(Ask::default().token(&token)).await, 401);
    }
    assert_eq!(world.status(Ask::default()).await, 401);
    world.clock.advance(30);
    assert_eq!(world.status(Ask::default().otp(NEXT_CODE)).await, 200);
    Ask::default().begin(&world.service).await;
}

#[tokio::test]
async fn an_otp_that_is_refused_clears_nothing() {
    let store = Watched::new();
    let world = World::over_one_store(&store);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    let token = Ask::default().begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().otp("000000")).await, 401);
    assert_eq!(store.take_calls(), ["count_attempt"]);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 401);
    assert_eq!(store.take_calls(), TWO);
    for _ in 0..3 {
        world.status(Ask::default().otp("000000")).await;
    }
    store.take_calls();
    world.clock.advance(29);
    assert_eq!(world.status(Ask::default().otp(NEXT_CODE)).await, 429);
    assert_eq!(store.take_calls(), ["count_attempt"]);
    world.clock.advance(1);
    assert!(world.passes(&token).await);
}

/// The approvals are cleared in their own store, wherever the step was recorded.
#[tokio::test]
async fn with_another_store_approvals_are_cleared_by_another_call() {
    let (records, keeps) = (Watched::new(), Watched::new());
    let world = World::new(records.clone(), keeps.clone(), Verifier::new);
    let token = Ask::default().begin(&world.service).await;
    keeps.take_calls();
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    assert_eq!((&*records.take_calls(), &*keeps.take_calls()), (TWO, &["clear"][..]));
    assert!(!world.passes(&token).await);

    // A layer between the two that makes another attempt.
    let store = Watched::new();
    let copy = |attempt: Attempt| {
        let copy = Attempt::new(attempt.user().clone(), attempt.action().clone()).with_otp(attempt.otp().cloned());
        copy.with_approval_mode(attempt.approval_mode().clone())
    };
    let world = World::new(store.clone(), store.clone(), |both| Verifier::new(both.map_request(copy)));
    let token = Ask::default().begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    assert_eq!(store.take_calls(), THREE);
    assert!(!world.passes(&token).await);
}

/// No step is recorded for a recovery code, nor for an OTP that another verifier accepts.
#[tokio::test]
async fn a_factor_without_a_step_clears_the_approvals_by_another_call() {
    let store = Watched::new();
    let world = World::over_one_store(&store);
    let code = RecoveryCode::generate().unwrap().remove(0);
    world.users.set_recovery_codes(alice(), [code.digest(&alice())]);
    let token = Ask::default().begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().otp(&code.to_string())).await, 200);
    assert_eq!(store.take_calls(), ["count_attempt", "clear", "clear"]);
    assert!(!world.passes(&token).await);

    let token = Ask::default().user("bob").begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().user("bob").otp(Phones::OTP)).await, 200);
    assert_eq!(store.take_calls(), ["clear"]);
    world.phones.decide(Decision::Allowed);
    assert_eq!(world.status(Ask::default().user("bob").token(&token)).await, 401);
}

/// Another verifier has locked the account in the same store. One that counts nothing there, such as a remote one, does
/// not unlock it: only an administrator may.
#[tokio::test]
async fn an_otp_that_another_verifier_accepts_unlocks_no_account() {
    let (store, throttle, phones, calls) =
        (MemoryStore::new(), Throttle::default(), Phones::default(), Calls::default());
    let clock = Clock::from_secs(T);
    for failure in 0..100 {
        let later = UnixTime::from_secs(T + failure * 3600);
        assert_eq!(store.count_attempt(&alice(), &throttle, later).await.unwrap(), Admission::Admitted);
    }
    let service = phones::service(phones::approvals(&phones, store.clone(), &clock), &calls);
    assert_eq!(Ask::default().otp(Phones::OTP).send(&service).await.status(), 200);
    assert_eq!(store.peek(&alice(), &throttle, UnixTime::from_secs(T)).await.unwrap(), Admission::LockedOut);
}

/// The client disconnects after the store has recorded the step: the code is used, and the approvals are cleared.
#[tokio::test]
async fn an_otp_whose_answer_is_lost_counts() {
    let store = Watched::new();
    let world = World::over_one_store(&store);
    let token = Ask::default().begin(&world.service).await;
    store.hangs.store(true, Ordering::SeqCst);
    let mut hasty = Box::pin(world.service.clone().oneshot(Ask::default().otp(CODE).request()));
    assert!(futures_util::poll!(&mut hasty).is_pending());
    drop(hasty);
    store.hangs.store(false, Ordering::SeqCst);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 401);
    assert!(!world.passes(&token).await);
    Ask::default().begin(&world.service).await;
}

/// A step that another attempt recorded clears nothing of this user: the approvals are cleared by this attempt.
#[tokio::test]
async fn an_attempt_is_not_taken_for_another() {
    let store = Watched::new();
    // It uses a code of alice beside each attempt, and then grants every attempt.
    let beside = |both: Both| {
        Verifier::new(tower::service_fn(move |attempt: Attempt| {
            let both = both.clone();
            async move {
                if attempt.otp().is_none() {
                    return both.oneshot(attempt).await;
                }
                let other = Attempt::new(alice(), "other").with_otp(CODE.parse().ok());
                assert_eq!(both.oneshot(other).await?, Verdict::Granted(Factor::Totp));
                Ok(Verdict::Granted(Factor::Totp))
            }
        }))
    };
    let world = World::new(store.clone(), store.clone(), beside);
    let token = Ask::default().user("bob").begin(&world.service).await;
    store.take_calls();
    assert_eq!(world.status(Ask::default().user("bob").otp("123456")).await, 200);
    assert_eq!(store.take_calls(), THREE);
    world.phones.decide(Decision::Allowed);
    assert_eq!(world.status(Ask::default().user("bob").token(&token)).await, 401);
}
