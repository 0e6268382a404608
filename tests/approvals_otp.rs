//! What an OTP in place of an approval forgets, in how many calls: with the spent code where the verifier's store is that
//! of the approvals, by a call of its own everywhere else, and never by an OTP that is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::phones::{self, Ask, Phones, Says};
use common::{CODE, Calls, Clock, NEXT_CODE, Strict, alice, totp_verifier};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_toopher::store::{
    Admission, AskedPush, BeginPush, FoundPush, MemoryStore, NewPush, PushEnd, PushStore, Spend, Store, StoreFull,
    StoreId, Throttle, Ticket,
};
use tower_toopher::totp::{BackupCode, MemoryPairings};
use tower_toopher::{
    ApprovalId, Approvals, Attempt, BoxError, EitherVerifier, Factor, HeaderOrForm, ProblemJson, ToopherService,
    TotpVerifier, UserId, Verdict,
};

/// A memory store that writes down which verbs were called, says which store it is or not, and may hang at a spend.
#[derive(Clone, Default)]
struct Watched {
    store: MemoryStore,
    says_which: bool,
    hangs_at_a_spend: Arc<AtomicBool>,
    said: Arc<Mutex<Vec<&'static str>>>,
}

impl Watched {
    fn new() -> Self {
        Self { says_which: true, ..Self::default() }
    }

    fn note(&self, verb: &'static str) {
        self.said.lock().unwrap().push(verb);
    }

    fn said(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

macro_rules! watched {
    ($trait:ident: $($verb:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $verb(&self, $($arg: $type),*) -> impl Future<Output = Result<$out, StoreFull>> + Send {
            self.note(stringify!($verb));
            $trait::$verb(&self.store, $($arg),*)
        })*
    };
}

impl Store for Watched {
    type Error = StoreFull;

    watched! {
        Store:
        count_attempt(user: &UserId, throttle: &Throttle, now: Duration) -> Admission;
        take_back_attempt(user: &UserId, throttle: &Throttle) -> ();
        clear_failures(user: &UserId) -> ();
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, StoreFull> {
        self.note("spend_step");
        let said = self.store.spend_step(user, device, step, keep_until, now).await;
        if self.hangs_at_a_spend.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        said
    }

    fn spends_in(&self) -> Option<&StoreId> {
        self.store.spends_in().filter(|_| self.says_which)
    }
}

impl PushStore for Watched {
    type Error = StoreFull;

    watched! {
        PushStore:
        begin_push(user: &UserId, push: &NewPush, throttle: &Throttle, now: Duration) -> BeginPush;
        keep_push(user: &UserId, ticket: Ticket, id: &ApprovalId, until: Duration) -> bool;
        find_push(user: &UserId, push: &AskedPush, throttle: &Throttle, now: Duration) -> FoundPush;
        redeem_push(user: &UserId, push: &AskedPush, throttle: &Throttle, now: Duration) -> FoundPush;
        end_push(user: &UserId, ticket: Ticket, end: PushEnd) -> ();
        clear_pushes(user: &UserId) -> ();
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        self.store.keeps_in().filter(|_| self.says_which)
    }
}

type Both = EitherVerifier<TotpVerifier<MemoryPairings, Watched>, Phones>;
type Verifier = BoxCloneSyncService<Attempt, Verdict, BoxError>;

struct World {
    gate: ToopherService<Strict, Approvals<Verifier, Watched>, HeaderOrForm, ProblemJson>,
    phones: Phones,
    clock: Clock,
    users: MemoryPairings,
}

impl World {
    /// OTPs are spent in `spends`, approvals kept in `keeps`, and `wrap` stands between the two.
    fn new(spends: Watched, keeps: Watched, wrap: impl FnOnce(Both) -> Verifier) -> Self {
        let (otps, clock, users) = totp_verifier();
        let phones = Phones::default();
        let verifier = wrap(EitherVerifier::new(otps.store(spends), phones.clone()));
        let approvals = Approvals::new(verifier).unwrap().store(keeps).clock(clock.reading());
        Self { gate: phones::layer(approvals).layer(Strict::new(&Calls::default())), phones, clock, users }
    }

    /// Of one store, with nothing in between.
    fn of(store: &Watched) -> Self {
        Self::new(store.clone(), store.clone(), Verifier::new)
    }

    async fn status(&self, ask: Ask) -> u16 {
        ask.send(&self.gate).await.status().as_u16()
    }

    /// Whether the approval that is waited for under this challenge passes, now that it is given.
    async fn passes(&self, challenge: &str) -> bool {
        self.phones.answer(Says::Yes);
        self.status(Ask::default().challenge(challenge)).await == 200
    }
}

const TWO: &[&str] = &["count_attempt", "spend_step"];
const THREE: &[&str] = &["count_attempt", "spend_step", "clear_pushes"];

#[tokio::test]
async fn a_right_otp_over_one_store_is_two_calls_and_forgets_the_pushes() {
    let store = Watched::new();
    let world = World::of(&store);
    let challenge = Ask::default().begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().challenge(&challenge).otp(CODE)).await, 200);
    assert_eq!(store.said(), TWO);
    assert!(!world.passes(&challenge).await);
    // The budget is whole again: five, and a sixth is refused.
    for _ in 0..5 {
        let challenge = Ask::default().begin(&world.gate).await;
        world.phones.answer(Says::No);
        assert_eq!(world.status(Ask::default().challenge(&challenge)).await, 401);
    }
    assert_eq!(world.status(Ask::default()).await, 401);
    world.clock.advance(30);
    assert_eq!(world.status(Ask::default().otp(NEXT_CODE)).await, 200);
    Ask::default().begin(&world.gate).await;
}

#[tokio::test]
async fn an_otp_that_is_refused_forgets_nothing() {
    let store = Watched::new();
    let world = World::of(&store);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    let challenge = Ask::default().begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().otp("000000")).await, 401);
    assert_eq!(store.said(), ["count_attempt"]);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 401);
    assert_eq!(store.said(), TWO);
    for _ in 0..3 {
        world.status(Ask::default().otp("000000")).await;
    }
    store.said();
    world.clock.advance(29);
    assert_eq!(world.status(Ask::default().otp(NEXT_CODE)).await, 429);
    assert_eq!(store.said(), ["count_attempt"]);
    world.clock.advance(1);
    assert!(world.passes(&challenge).await);
}

/// Whoever cannot know that it has been done does it.
#[tokio::test]
async fn everywhere_else_pushes_are_forgotten_by_a_call_of_their_own() {
    // Another store, which forgets its own pushes.
    let (spends, keeps) = (Watched::new(), Watched::new());
    let world = World::new(spends.clone(), keeps.clone(), Verifier::new);
    let challenge = Ask::default().begin(&world.gate).await;
    keeps.said();
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    assert_eq!((&*spends.said(), &*keeps.said()), (TWO, &["clear_pushes"][..]));
    assert!(!world.passes(&challenge).await);

    // A store that does not say which one it is, on either side or on both.
    for (spends_says, keeps_says) in [(false, true), (true, false), (false, false)] {
        let store = Watched::new();
        let saying = |says_which| Watched { says_which, ..store.clone() };
        let world = World::new(saying(spends_says), saying(keeps_says), Verifier::new);
        let challenge = Ask::default().begin(&world.gate).await;
        store.said();
        assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
        assert_eq!(store.said(), THREE);
        assert!(!world.passes(&challenge).await);
    }

    // Something in between that makes an attempt of its own.
    let store = Watched::new();
    let anew = |attempt: Attempt| {
        let anew = Attempt::new(attempt.user().clone(), attempt.action().clone()).with_otp(attempt.otp().cloned());
        anew.with_approval(attempt.approval().clone())
    };
    let world = World::new(store.clone(), store.clone(), |both| Verifier::new(both.map_request(anew)));
    let challenge = Ask::default().begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 200);
    assert_eq!(store.said(), THREE);
    assert!(!world.passes(&challenge).await);
}

/// One store, and still nothing was spent there: a backup code, and an OTP that was verified elsewhere.
#[tokio::test]
async fn what_is_not_spent_in_the_store_is_forgotten_by_a_call_of_its_own() {
    let store = Watched::new();
    let world = World::of(&store);
    let code = BackupCode::generate().unwrap().remove(0);
    world.users.set_backup_codes(alice(), [code.digest(&alice())]);
    let challenge = Ask::default().begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().otp(&code.to_string())).await, 200);
    assert_eq!(store.said(), ["count_attempt", "clear_failures", "clear_pushes"]);
    assert!(!world.passes(&challenge).await);

    let challenge = Ask::default().user("bob").begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().user("bob").otp(Phones::OTP)).await, 200);
    assert_eq!(store.said(), ["clear_pushes"]);
    world.phones.answer(Says::Yes);
    assert_eq!(world.status(Ask::default().user("bob").challenge(&challenge)).await, 401);
}

/// The client hangs up when the store has done it and not answered yet: the code is spent, and the pushes are forgotten.
#[tokio::test]
async fn an_otp_whose_answer_nobody_hears_counts() {
    let store = Watched::new();
    let world = World::of(&store);
    let challenge = Ask::default().begin(&world.gate).await;
    store.hangs_at_a_spend.store(true, Ordering::SeqCst);
    let mut hasty = Box::pin(world.gate.clone().oneshot(Ask::default().otp(CODE).request()));
    assert!(futures_util::poll!(&mut hasty).is_pending());
    drop(hasty);
    store.hangs_at_a_spend.store(false, Ordering::SeqCst);
    assert_eq!(world.status(Ask::default().otp(CODE)).await, 401);
    assert!(!world.passes(&challenge).await);
    Ask::default().begin(&world.gate).await;
}

/// One code goes up with a note of its own: what another attempt has spent is not taken for what this one has.
#[tokio::test]
async fn an_attempt_is_not_taken_for_another() {
    let store = Watched::new();
    // It has a code of alice's spent beside each attempt, and then lets everybody pass without looking.
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
    let challenge = Ask::default().user("bob").begin(&world.gate).await;
    store.said();
    assert_eq!(world.status(Ask::default().user("bob").otp("123456")).await, 200);
    assert_eq!(store.said(), THREE);
    world.phones.answer(Says::Yes);
    assert_eq!(world.status(Ask::default().user("bob").challenge(&challenge)).await, 401);
}
