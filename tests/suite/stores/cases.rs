//! Known defects of other systems with used codes and failures, tested with the verifier and the layer of two machines
//! over each kind of store: the machines share their records. Approvals are in `approvals/machines.rs`.
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::support::harness::{self, OK};
use crate::support::phones::look;
use crate::support::stores::over_all_stores;
use crate::support::*;
use tower::{Layer, ServiceExt};
use tower_toopher::store::{Admission, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{Confirmation, Enrollment, MemoryPairings, Pairing};
use tower_toopher::{
    Attempt, BoxError, DenyReason, Factor, RejectionKind, ToopherLayer, TotpVerifier, UserId, Verdict,
};

over_all_stores!(
    a_code_is_refused_after_its_use_for_as_long_as_it_could_be_accepted,
    a_used_code_stays_used_when_the_clock_is_set_back,
    an_older_code_is_refused_after_a_newer_one,
    every_spelling_of_a_used_code_is_used_and_each_is_an_attempt,
    enrollment_from_the_qr_code_to_the_first_login,
    wherever_a_right_code_is_dropped_it_passes_at_most_once,
    wherever_a_wrong_code_is_dropped_it_was_counted_if_it_was_compared,
    while_locked_a_right_code_is_refused_and_not_recorded_as_used,
    after_a_hundred_failures_an_administrator_unlocks,
    unknown_and_unenrolled_users_look_like_others,
    a_year_of_guesses_beside_a_user_who_logs_in_daily,
);

const TOTP: Verdict = Verdict::Granted(Factor::Totp);
const WRONG: Verdict = Verdict::Denied(DenyReason::WrongOtp);
const REPLAYED: Verdict = Verdict::Denied(DenyReason::ReplayedOtp);
const NOT_ENROLLED: Verdict = Verdict::Denied(DenyReason::NotEnrolled);

/// Two machines with the same users, the same time, and a store each.
struct Two<S: Store> {
    verifiers: [TotpVerifier<MemoryPairings, S>; 2],
    services: [harness::TestService<S>; 2],
    calls: Calls,
    clock: Clock,
    users: MemoryPairings,
}

impl<S: Store> Two<S> {
    fn new(stores: [S; 2]) -> Self {
        let (verifier, clock, users) = totp_verifier();
        let calls = Calls::default();
        let verifiers = stores.map(|store| verifier.clone().store(store));
        let services = verifiers.clone().map(|verifier| ToopherLayer::new(verifier).layer(OneShotService::new(&calls)));
        Self { verifiers, services, calls, clock, users }
    }

    async fn verdict_for(&self, at: usize, user: UserId, otp: &str) -> Verdict {
        self.verifiers[at % 2].clone().oneshot(attempt(user, otp)).await.unwrap()
    }

    async fn verdict_at(&self, at: usize, otp: &str) -> Verdict {
        self.verdict_for(at, alice(), otp).await
    }
}

fn attempt(user: UserId, otp: &str) -> Attempt {
    Attempt::new(user, "log in").with_otp(Some(otp.parse().unwrap()))
}

fn throttled(seconds: u64) -> Verdict {
    Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(seconds) })
}

/// D1: in each second in which the code could be accepted, and after.
async fn a_code_is_refused_after_its_use_for_as_long_as_it_could_be_accepted<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    for first_use in [T - 59, T - 29, T, T + 30] {
        let name = user(&format!("user {first_use}"));
        two.users.insert(name.clone(), Pairing::confirmed(rfc_totp()));
        two.clock.set(first_use);
        assert_eq!(two.verdict_for(0, name.clone(), CODE).await, TOTP, "{first_use}");
        for later in first_use..first_use + 130 {
            two.clock.set(later);
            let verdict = two.verdict_for(later as usize, name.clone(), CODE).await;
            // The window is its step, T - 29 to T, and one step to either side.
            assert_eq!(verdict, if later <= T + 30 { REPLAYED } else { WRONG }, "{later}");
            two.verifiers[0].unlock(&name).await.unwrap();
        }
    }
}

async fn a_used_code_stays_used_when_the_clock_is_set_back<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    assert_eq!(two.verdict_at(0, CODE).await, TOTP);
    two.clock.set(T - 40);
    assert_eq!(two.verdict_at(1, CODE).await, REPLAYED);
}

/// D2.
async fn an_older_code_is_refused_after_a_newer_one<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    two.clock.set(T + 2);
    assert_eq!(two.verdict_at(0, NEXT_CODE).await, TOTP);
    for at in [0, 1] {
        assert_eq!(two.verdict_at(at, CODE).await, REPLAYED);
    }
}

/// D3.
async fn every_spelling_of_a_used_code_is_used_and_each_is_an_attempt<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    let spellings = [" 081804", "081804\t", "081 804", "081-804", "081\u{3000}804", "\u{feff}081804", "0 8 1 8 0 4\n"];
    assert_eq!(two.verdict_at(0, CODE).await, TOTP);
    for (at, spelling) in spellings.into_iter().enumerate() {
        assert_eq!(
            two.verdict_at(at + 1, spelling).await,
            if at < 5 { REPLAYED } else { throttled(30) },
            "{spelling:?}"
        );
    }
    two.verifiers[1].unlock(&alice()).await.unwrap();
    for spelling in &spellings[5..] {
        assert_eq!(two.verdict_at(1, spelling).await, REPLAYED, "{spelling:?}");
    }
}

/// D5: a code that confirmed an enrollment on one machine logs in on neither.
async fn enrollment_from_the_qr_code_to_the_first_login<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    let bob = user("bob");
    let enrollment = Enrollment::with_totp("Example", "bob", rfc_totp()).unwrap();
    two.users.insert(bob.clone(), enrollment.pairing());
    let confirm = |at: usize, otp: &str| {
        let (verifier, bob, otp) = (two.verifiers[at].clone(), bob.clone(), otp.parse().unwrap());
        let pairing = enrollment.pairing();
        async move { verifier.confirm(&bob, &pairing, &otp).await.unwrap() }
    };
    assert!(matches!(confirm(0, "000000").await, Confirmation::Denied(DenyReason::WrongOtp)));
    assert!(matches!(confirm(1, "AAAABBBBCCCCDDDD").await, Confirmation::Denied(DenyReason::WrongOtp)));
    assert_eq!(two.verdict_for(0, bob.clone(), CODE).await, NOT_ENROLLED);
    let Confirmation::Confirmed(pairing) = confirm(0, "081 804").await else { panic!("not confirmed") };
    assert!(pairing.is_confirmed());
    two.users.insert(bob.clone(), pairing);
    // The code that confirmed is rejected, and the next one is granted.
    for at in [0, 1] {
        assert_eq!(two.verdict_for(at, bob.clone(), CODE).await, REPLAYED);
    }
    two.clock.set(T + 2);
    assert_eq!(two.verdict_for(1, bob.clone(), NEXT_CODE).await, TOTP);
    // It does not confirm again either.
    for at in [0, 1] {
        assert!(matches!(confirm(at, NEXT_CODE).await, Confirmation::Denied(DenyReason::ReplayedOtp)));
    }
}

/// Polls the future whenever it is woken, at most `polls` times, and then drops it.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
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

/// More polls than any attempt takes.
const MANY: usize = 500;

/// D4, H8.
async fn wherever_a_right_code_is_dropped_it_passes_at_most_once<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    for polls in 1.. {
        assert!(polls < MANY);
        let name = user(&format!("user {polls}"));
        two.users.insert(name.clone(), Pairing::confirmed(rfc_totp()));
        let send = |at: usize, code| two.services[at].clone().oneshot(request_of(name.clone(), Some(code)));
        let before = two.calls.count();
        let first = drop_after(polls, send(0, CODE)).await.map(|response| response.unwrap().status());
        let passed = two.calls.count() - before;
        assert_eq!(passed, usize::from(first == Some(OK)), "{polls}");
        let second = send(1, CODE).await.unwrap().status();
        assert!(passed == 0 && second == OK || second == 401, "{polls}: {first:?}, {second}");
        // A client that disconnects locks no user out.
        two.clock.advance(1);
        assert_eq!(send(0, NEXT_CODE).await.unwrap().status(), OK, "{polls}");
        two.clock.set(T);
        if first.is_some() {
            break;
        }
    }
}

/// E3: of twenty attempts that are dropped at any point, at most five were compared with the right code.
async fn wherever_a_wrong_code_is_dropped_it_was_counted_if_it_was_compared<S: Store>(stores: [S; 2]) {
    const TIMES: usize = 20;
    let mut two = Two::new(stores);
    // An attempt reads the clock once to be counted, and once more to be verified.
    let (readings, clock) = (Arc::new(AtomicUsize::new(0)), two.clock.clone());
    let reading = {
        let readings = readings.clone();
        move || {
            readings.fetch_add(1, Ordering::SeqCst);
            clock.now()
        }
    };
    two.verifiers = two.verifiers.map(|verifier| verifier.clock(reading.clone()));
    for polls in 1.. {
        assert!(polls < MANY);
        let name = user(&format!("user {polls}"));
        two.users.insert(name.clone(), Pairing::confirmed(rfc_totp()));
        readings.store(0, Ordering::SeqCst);
        let (mut done, mut reported) = (0, 0);
        for at in 0..TIMES {
            let verifying = two.verifiers[at % 2].clone().oneshot(attempt(name.clone(), "000000"));
            let verdict = drop_after(polls, verifying).await.map(Result::unwrap);
            done += usize::from(verdict.is_some());
            reported += usize::from(verdict == Some(WRONG));
        }
        let compared = readings.load(Ordering::SeqCst) - TIMES;
        assert!(reported <= compared && compared <= 5, "{polls}: {reported}, {compared}");
        // The rest of five, and no more.
        let mut left = 0;
        while two.verdict_for(left, name.clone(), "000000").await == WRONG {
            left += 1;
        }
        assert!(compared + left <= 5, "{polls}: {compared} and then {left}");
        // The user is not throttled for longer than that.
        two.clock.advance(30);
        assert_eq!(two.verdict_for(1, name, CODE).await, TOTP, "{polls}");
        two.clock.set(T);
        if done == TIMES {
            assert_eq!((reported, left), (5, 0));
            break;
        }
    }
}

async fn while_locked_a_right_code_is_refused_and_not_recorded_as_used<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    for at in 0..5 {
        assert_eq!(two.verdict_at(at, "000000").await, WRONG);
    }
    two.clock.set(T + 2);
    for at in 0..3 {
        assert_eq!(two.verdict_at(at, NEXT_CODE).await, throttled(28));
    }
    two.clock.set(T + 30);
    assert_eq!(two.verdict_at(0, NEXT_CODE).await, TOTP);
    // The success cleared the failures.
    for at in 0..5 {
        assert_eq!(two.verdict_at(at, "000000").await, WRONG);
    }
    assert_eq!(two.verdict_at(1, "000000").await, throttled(30));
}

/// E3: each of a hundred failures is counted.
async fn after_a_hundred_failures_an_administrator_unlocks<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    for at in 0..100 {
        assert_eq!(two.verdict_at(at, "000000").await, WRONG);
        two.clock.advance(3600);
    }
    two.clock.set(T);
    for at in [0, 1] {
        assert_eq!(two.verdict_at(at, CODE).await, Verdict::Denied(DenyReason::LockedOut));
    }
    two.verifiers[0].unlock(&alice()).await.unwrap();
    assert_eq!(two.verdict_at(1, CODE).await, TOTP);
}

/// F6: from the first wrong code to the lock-out, the responses to all users are equal.
async fn unknown_and_unenrolled_users_look_like_others<S: Store>(stores: [S; 2]) {
    let two = Two::new(stores);
    two.users.insert(user("pending"), Pairing::unconfirmed(rfc_totp()));
    two.users.insert_user(user("new"));
    let people = [
        ("alice", RejectionKind::Denied(DenyReason::WrongOtp)),
        ("unknown", RejectionKind::Denied(DenyReason::UnknownUser)),
        ("pending", RejectionKind::Denied(DenyReason::NotEnrolled)),
        ("new", RejectionKind::Denied(DenyReason::NotEnrolled)),
    ];
    let mut statuses = Vec::new();
    for at in 0..102 {
        let mut seen = Vec::new();
        for (name, why) in people {
            let response = two.services[at % 2].clone().oneshot(request_of(user(name), Some("000000"))).await.unwrap();
            // The rejection in the extensions has the true reason.
            let why = match at {
                ..5 => why,
                5 => RejectionKind::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(30) }),
                6..101 => why,
                _ => RejectionKind::Denied(DenyReason::LockedOut),
            };
            assert_eq!(kind(&response), Some(why), "{name} {at}");
            seen.push(look(response).await);
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{at}: {seen:?}");
        statuses.push(seen[0].0);
        // The sixth is throttled.
        two.clock.advance(if at == 4 { 0 } else { 3600 });
    }
    assert_eq!((statuses[0], statuses[5], statuses[101]), (401, 429, 429));
    assert_eq!(two.calls.count(), 0);
}

fn ok<T, E: Into<BoxError>>(result: Result<T, E>) -> T {
    result.map_err(Into::into).unwrap()
}

/// An attacker with the password tries at every moment at which an attempt is admitted, all year. The user logs in each
/// morning, mistypes every third time, and is throttled like the attacker.
async fn a_year_of_guesses_beside_a_user_who_logs_in_daily<S: Store>([store, other]: [S; 2]) {
    const DAY: u64 = 24 * 3600;
    let throttle = Throttle::default();
    let (mut guesses, mut longest) = (0_u32, [Duration::ZERO; 2]);
    let mut now = UnixTime::from_secs(T);
    for day in 0..365 {
        let morning = UnixTime::from_secs(T + (day + 1) * DAY);
        loop {
            match ok(store.count_attempt(&alice(), &throttle, now).await) {
                Admission::Admitted => guesses += 1,
                Admission::Throttled { retry_after } if now + retry_after < morning => now = now + retry_after,
                Admission::Throttled { .. } => break,
                other => panic!("{other:?} on day {day}"),
            }
        }
        now = now.max(morning);
        // The next attempt is the user's.
        for _ in 0..if day % 3 == 0 { 2 } else { 1 } {
            let begun = now;
            while let Admission::Throttled { retry_after } = ok(other.count_attempt(&alice(), &throttle, now).await) {
                now = now + retry_after;
            }
            let longest = &mut longest[usize::from(day >= 3)];
            *longest = (*longest).max(now.saturating_duration_since(begun));
        }
        let used = UsedStep::new("", day + 1, now + Duration::from_secs(1260));
        assert_eq!(ok(other.record_step(&alice(), &used, now).await), StepOutcome::Fresh);
    }
    assert!(guesses <= 100 + 365 * 5, "{guesses}");
    // The attacker does reach the limit, which the documentation states.
    assert!(guesses > 1500, "{guesses}");
    // With the default window, and with two steps to each side.
    for valid_codes in [3.0, 5.0] {
        let probability = 1.0 - (1.0_f64 - valid_codes / 1e6).powf(f64::from(guesses));
        assert!(probability < 0.01, "{probability}");
    }
    assert!(longest[0] <= Duration::from_secs(3600), "{longest:?}");
    assert!(longest[1] <= throttle.recent_interval(), "{longest:?}");
}
