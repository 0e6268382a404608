//! What other systems got wrong about used codes and failures, with the verifier and the gate of two machines over each
//! kind of store: what one of them has seen, both have. Approvals are in `approvals_machines.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use common::house::{self, OK};
use common::phones::look;
use common::stores::over_all_stores;
use common::*;
use tower::{Layer, ServiceExt};
use tower_toopher::store::Store;
use tower_toopher::totp::{Confirmation, Enrolment, MemoryPairings, Pairing, TotpVerifier};
use tower_toopher::{Attempt, DenyReason, Factor, RejectionKind, ToopherLayer, UserId, Verdict};

over_all_stores!(
    a_code_is_refused_after_its_use_for_as_long_as_it_could_be_accepted,
    a_used_code_stays_used_when_the_clock_is_set_back,
    an_older_code_is_refused_after_a_newer_one,
    every_spelling_of_a_used_code_is_used_and_each_is_an_attempt,
    enrolment_from_the_qr_code_to_the_first_login,
    wherever_a_right_code_is_dropped_it_passes_once_at_the_most,
    wherever_a_wrong_code_is_dropped_it_was_counted_if_it_was_looked_at,
    while_locked_a_right_code_is_refused_and_not_spent,
    after_a_hundred_failures_an_administrator_unlocks,
    who_is_unknown_or_not_enrolled_looks_like_anybody,
);

const TOTP: Verdict = Verdict::Granted(Factor::Totp);
const WRONG: Verdict = Verdict::Denied(DenyReason::WrongOtp);
const REPLAYED: Verdict = Verdict::Denied(DenyReason::ReplayedOtp);
const NOT_ENROLLED: Verdict = Verdict::Denied(DenyReason::NotEnrolled);

/// Two machines with the same users, the same time, and a store each.
struct Two<S: Store> {
    verifiers: [TotpVerifier<MemoryPairings, S>; 2],
    gates: [house::Gate<S>; 2],
    calls: Calls,
    clock: Clock,
    users: MemoryPairings,
}

impl<S: Store> Two<S> {
    fn over(stores: [S; 2]) -> Self {
        let (verifier, clock, users) = totp_verifier();
        let calls = Calls::default();
        let verifiers = stores.map(|store| verifier.clone().store(store));
        let gates = verifiers.clone().map(|verifier| ToopherLayer::new(verifier).layer(Strict::new(&calls)));
        Self { verifiers, gates, calls, clock, users }
    }

    async fn says_to(&self, at: usize, user: UserId, otp: &str) -> Verdict {
        self.verifiers[at % 2].clone().oneshot(attempt(user, otp)).await.unwrap()
    }

    async fn says(&self, at: usize, otp: &str) -> Verdict {
        self.says_to(at, alice(), otp).await
    }
}

fn attempt(user: UserId, otp: &str) -> Attempt {
    Attempt::new(user, "log in").with_otp(Some(otp.parse().unwrap()))
}

fn throttled(seconds: u64) -> Verdict {
    Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(seconds) })
}

/// D1: in each second in which it could be accepted, and after.
async fn a_code_is_refused_after_its_use_for_as_long_as_it_could_be_accepted<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    for first_use in [T - 59, T - 29, T, T + 30] {
        let name = user(&format!("user {first_use}"));
        two.users.insert(name.clone(), Pairing::confirmed(k20()));
        two.clock.set(first_use);
        assert_eq!(two.says_to(0, name.clone(), CODE).await, TOTP, "{first_use}");
        for later in first_use..first_use + 130 {
            two.clock.set(later);
            let said = two.says_to(later as usize, name.clone(), CODE).await;
            // Its step is T - 29 to T, and one to each side of it.
            assert_eq!(said, if later <= T + 30 { REPLAYED } else { WRONG }, "{later}");
            two.verifiers[0].unlock(&name).await.unwrap();
        }
    }
}

async fn a_used_code_stays_used_when_the_clock_is_set_back<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    assert_eq!(two.says(0, CODE).await, TOTP);
    two.clock.set(T - 40);
    assert_eq!(two.says(1, CODE).await, REPLAYED);
}

/// D2.
async fn an_older_code_is_refused_after_a_newer_one<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    two.clock.set(T + 2);
    assert_eq!(two.says(0, NEXT_CODE).await, TOTP);
    for at in [0, 1] {
        assert_eq!(two.says(at, CODE).await, REPLAYED);
    }
}

/// D3.
async fn every_spelling_of_a_used_code_is_used_and_each_is_an_attempt<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    let spellings = [" 081804", "081804\t", "081 804", "081-804", "081\u{3000}804", "\u{feff}081804", "0 8 1 8 0 4\n"];
    assert_eq!(two.says(0, CODE).await, TOTP);
    for (at, spelling) in spellings.into_iter().enumerate() {
        assert_eq!(two.says(at + 1, spelling).await, if at < 5 { REPLAYED } else { throttled(30) }, "{spelling:?}");
    }
    two.verifiers[1].unlock(&alice()).await.unwrap();
    for spelling in &spellings[5..] {
        assert_eq!(two.says(1, spelling).await, REPLAYED, "{spelling:?}");
    }
}

/// D5: what confirms at one machine logs in at neither.
async fn enrolment_from_the_qr_code_to_the_first_login<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    let bob = user("bob");
    let enrolment = Enrolment::with_totp("Example", "bob", k20()).unwrap();
    two.users.insert(bob.clone(), enrolment.pairing());
    let confirm = |at: usize, otp: &str| {
        let (verifier, bob, otp) = (two.verifiers[at].clone(), bob.clone(), otp.parse().unwrap());
        let pairing = enrolment.pairing();
        async move { verifier.confirm(&bob, &pairing, &otp).await.unwrap() }
    };
    assert!(matches!(confirm(0, "000000").await, Confirmation::Denied(DenyReason::WrongOtp)));
    assert!(matches!(confirm(1, "AAAABBBBCCCCDDDD").await, Confirmation::Denied(DenyReason::WrongOtp)));
    assert_eq!(two.says_to(0, bob.clone(), CODE).await, NOT_ENROLLED);
    let Confirmation::Confirmed(pairing) = confirm(0, "081 804").await else { panic!("not confirmed") };
    assert!(pairing.is_confirmed());
    two.users.insert(bob.clone(), pairing);
    // The code that confirmed does not log in; the next one does.
    for at in [0, 1] {
        assert_eq!(two.says_to(at, bob.clone(), CODE).await, REPLAYED);
    }
    two.clock.set(T + 2);
    assert_eq!(two.says_to(1, bob.clone(), NEXT_CODE).await, TOTP);
    // Nor does it confirm again.
    for at in [0, 1] {
        assert!(matches!(confirm(at, NEXT_CODE).await, Confirmation::Denied(DenyReason::ReplayedOtp)));
    }
}

/// Polls it as often as it asks for it, but so many times at the most, and drops it when it asks once more.
async fn hang_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// No attempt takes so many polls.
const MANY: usize = 500;

/// D4, H8.
async fn wherever_a_right_code_is_dropped_it_passes_once_at_the_most<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    for polls in 1.. {
        assert!(polls < MANY);
        let name = user(&format!("user {polls}"));
        two.users.insert(name.clone(), Pairing::confirmed(k20()));
        let send = |at: usize, code| two.gates[at].clone().oneshot(request_of(name.clone(), Some(code)));
        let before = two.calls.count();
        let first = hang_up_after(polls, send(0, CODE)).await.map(|response| response.unwrap().status());
        let passed = two.calls.count() - before;
        assert_eq!(passed, usize::from(first == Some(OK)), "{polls}");
        let second = send(1, CODE).await.unwrap().status();
        assert!(passed == 0 && second == OK || second == 401, "{polls}: {first:?}, {second}");
        // Nobody is kept out by a client that hangs up.
        two.clock.advance(1);
        assert_eq!(send(0, NEXT_CODE).await.unwrap().status(), OK, "{polls}");
        two.clock.set(T);
        if first.is_some() {
            break;
        }
    }
}

/// E3: of twenty that are dropped wherever it may be, five at the most were compared with what is right.
async fn wherever_a_wrong_code_is_dropped_it_was_counted_if_it_was_looked_at<S: Store>(stores: [S; 2]) {
    const TIMES: usize = 20;
    let mut two = Two::over(stores);
    // An attempt reads the clock once to be counted, and once more to be looked at.
    let (readings, clock) = (Arc::new(AtomicUsize::new(0)), two.clock.clone());
    let reading = {
        let readings = readings.clone();
        move || {
            readings.fetch_add(1, Ordering::SeqCst);
            UNIX_EPOCH + clock.now()
        }
    };
    two.verifiers = two.verifiers.map(|verifier| verifier.clock(reading.clone()));
    for polls in 1.. {
        assert!(polls < MANY);
        let name = user(&format!("user {polls}"));
        two.users.insert(name.clone(), Pairing::confirmed(k20()));
        readings.store(0, Ordering::SeqCst);
        let (mut done, mut told) = (0, 0);
        for at in 0..TIMES {
            let verifying = two.verifiers[at % 2].clone().oneshot(attempt(name.clone(), "000000"));
            let said = hang_up_after(polls, verifying).await.map(Result::unwrap);
            done += usize::from(said.is_some());
            told += usize::from(said == Some(WRONG));
        }
        let looked_at = readings.load(Ordering::SeqCst) - TIMES;
        assert!(told <= looked_at && looked_at <= 5, "{polls}: {told}, {looked_at}");
        // What is left of five, and no more.
        let mut left = 0;
        while two.says_to(left, name.clone(), "000000").await == WRONG {
            left += 1;
        }
        assert!(looked_at + left <= 5, "{polls}: {looked_at} and then {left}");
        // And nobody is locked out for longer than that.
        two.clock.advance(30);
        assert_eq!(two.says_to(1, name, CODE).await, TOTP, "{polls}");
        two.clock.set(T);
        if done == TIMES {
            assert_eq!((told, left), (5, 0));
            break;
        }
    }
}

async fn while_locked_a_right_code_is_refused_and_not_spent<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    for at in 0..5 {
        assert_eq!(two.says(at, "000000").await, WRONG);
    }
    two.clock.set(T + 2);
    for at in 0..3 {
        assert_eq!(two.says(at, NEXT_CODE).await, throttled(28));
    }
    two.clock.set(T + 30);
    assert_eq!(two.says(0, NEXT_CODE).await, TOTP);
    // All is forgiven.
    for at in 0..5 {
        assert_eq!(two.says(at, "000000").await, WRONG);
    }
    assert_eq!(two.says(1, "000000").await, throttled(30));
}

/// E3: none of a hundred is lost.
async fn after_a_hundred_failures_an_administrator_unlocks<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    for at in 0..100 {
        assert_eq!(two.says(at, "000000").await, WRONG);
        two.clock.advance(3600);
    }
    two.clock.set(T);
    for at in [0, 1] {
        assert_eq!(two.says(at, CODE).await, Verdict::Denied(DenyReason::LockedOut));
    }
    two.verifiers[0].unlock(&alice()).await.unwrap();
    assert_eq!(two.says(1, CODE).await, TOTP);
}

/// F6: from the first wrong code to the lock-out, all that the outside sees is the same for everybody.
async fn who_is_unknown_or_not_enrolled_looks_like_anybody<S: Store>(stores: [S; 2]) {
    let two = Two::over(stores);
    two.users.insert(user("pending"), Pairing::unconfirmed(k20()));
    two.users.insert_user(user("new"));
    let people = [
        ("alice", RejectionKind::WrongOtp),
        ("nobody", RejectionKind::UnknownUser),
        ("pending", RejectionKind::NotEnrolled),
        ("new", RejectionKind::NotEnrolled),
    ];
    let mut statuses = Vec::new();
    for at in 0..102 {
        let mut seen = Vec::new();
        for (name, why) in people {
            let response = two.gates[at % 2].clone().oneshot(request_of(user(name), Some("000000"))).await.unwrap();
            // What nobody else is to know is known within.
            let why = match at {
                ..5 => why,
                5 => RejectionKind::Throttled,
                6..101 => why,
                _ => RejectionKind::LockedOut,
            };
            assert_eq!(kind(&response), Some(why), "{name} {at}");
            seen.push(look(response).await);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{at}: {seen:?}");
        statuses.push(seen[0].0);
        // The sixth comes too soon.
        two.clock.advance(if at == 4 { 0 } else { 3600 });
    }
    assert_eq!((statuses[0], statuses[5], statuses[101]), (401, 429, 429));
    assert_eq!(two.calls.count(), 0);
}
