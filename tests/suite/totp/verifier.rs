//! The verifier in the process: the clock, enrollment, recovery codes and faults, with known defects of other systems.
//! Replays and the throttle are in `stores/cases.rs`.
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::support::*;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{Admission, MemoryStore, Records, StepOutcome, Store, StoreFull, Throttle, UsedStep};
use tower_toopher::time::Clock as ClockSource;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{
    Confirmation, Digits, Enrollment, Lookup, MemoryPairings, Pairing, Pairings, RecoveryCode, RecoveryCodeDigest,
    Secret, Totp, TotpErrorKind, Window,
};
use tower_toopher::verify::{ErrorClass, VerifierError};
use tower_toopher::{
    Attempt, BoxError, DenyReason, Factor, Otp, RejectionKind, ToopherLayer, TotpVerifier, UserId, Verdict,
};

async fn send<P: Pairings, S: Store>(
    verifier: &TotpVerifier<P, S>,
    otp: &str,
) -> Result<Verdict, tower_toopher::totp::TotpError> {
    send_as(verifier, alice(), otp).await
}

async fn send_as<P: Pairings, S: Store>(
    verifier: &TotpVerifier<P, S>,
    user: UserId,
    otp: &str,
) -> Result<Verdict, tower_toopher::totp::TotpError> {
    verifier.clone().call(Attempt::new(user, "log in").with_otp(Some(otp.parse().unwrap()))).await
}

const TOTP: Verdict = Verdict::Granted(Factor::Totp);
const WRONG: Verdict = Verdict::Denied(DenyReason::WrongOtp);
const REPLAYED: Verdict = Verdict::Denied(DenyReason::ReplayedOtp);
const UNKNOWN: Verdict = Verdict::Denied(DenyReason::UnknownUser);
const NOT_ENROLLED: Verdict = Verdict::Denied(DenyReason::NotEnrolled);

#[tokio::test]
async fn a_code_is_used_up_for_every_pairing_with_its_secret() {
    let (verifier, clock, users) = totp_verifier();
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
    // The same secret, enrolled once more.
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    assert_eq!(send(&verifier, CODE).await.unwrap(), REPLAYED);
    let otp = CODE.parse().unwrap();
    let again = Pairing::unconfirmed(rfc_totp());
    let lax = verifier.clone().window(Window::new(10, 10).unwrap());
    for verifier in [&verifier, &lax] {
        let confirmation = verifier.confirm(&alice(), &again, &otp).await.unwrap();
        assert!(matches!(confirmation, Confirmation::Denied(DenyReason::ReplayedOtp)));
        // Shown with another number of digits, it is the same step of the same secret.
        let longer = Pairing::confirmed(rfc_totp().digits(Digits::Eight));
        let long = verifier.verify_otp(&alice(), &[longer], &"07081804".parse().unwrap()).await.unwrap();
        assert_eq!(long, REPLAYED);
    }
    // The first code of an enrollment is used up for the other pairing, too.
    clock.set(T + 30);
    let otp = NEXT_CODE.parse().unwrap();
    assert!(matches!(verifier.confirm(&alice(), &again, &otp).await.unwrap(), Confirmation::Confirmed(_)));
    assert_eq!(send(&verifier, NEXT_CODE).await.unwrap(), REPLAYED);
    // Another user with the same secret is not affected, and neither is another secret of the same user.
    let bob = user("bob");
    users.insert(bob.clone(), Pairing::confirmed(rfc_totp()));
    assert_eq!(send_as(&verifier, bob, NEXT_CODE).await.unwrap(), TOTP);
    let other = Pairing::confirmed(Totp::new(Secret::generate().unwrap()));
    let code = other.totp().code_at(clock.now());
    assert_eq!(verifier.verify_otp(&alice(), &[other], &code).await.unwrap(), TOTP);
}

#[tokio::test]
async fn the_edges_of_time() {
    let (verifier, clock, _) = totp_verifier();
    for (now, code, verdict) in [
        (0, "094451", WRONG),
        (29, "094451", WRONG),
        (0, "755224", TOTP),
        (20_000_000_000, "353130", TOTP),
        (u32::MAX.into(), "000000", WRONG),
        (1 << 62, "000000", WRONG),
    ] {
        clock.set(now);
        assert_eq!(send(&verifier, code).await.unwrap(), verdict, "{now}");
    }
    let too_early = verifier.clock(ClockSource::from_system_time(|| UNIX_EPOCH - Duration::from_secs(1)));
    let error = send(&too_early, "755224").await.unwrap_err();
    assert_eq!(error.kind(), TotpErrorKind::Clock);
}

#[tokio::test]
async fn windows_decide_which_neighbors_pass() {
    for (window, early, late) in
        [(Window::CURRENT, WRONG, WRONG), (Window::ONE_BEHIND, WRONG, TOTP), (Window::ONE_AROUND, TOTP, TOTP)]
    {
        for (now, verdict) in [(T - 30, early), (T + 30, late)] {
            let (verifier, clock, _) = totp_verifier();
            clock.set(now);
            assert_eq!(send(&verifier.window(window), CODE).await.unwrap(), verdict, "{window:?} at {now}");
        }
    }
}

#[tokio::test]
async fn unenrolled_users_are_refused_and_throttled_like_others() {
    let (verifier, _, users) = totp_verifier();
    users.insert(user("pending"), Pairing::unconfirmed(rfc_totp()));
    users.insert_user(user("new"));
    for (id, verdict) in [("unknown", UNKNOWN), ("pending", NOT_ENROLLED), ("new", NOT_ENROLLED)] {
        for _ in 0..5 {
            assert_eq!(send_as(&verifier, user(id), CODE).await.unwrap(), verdict);
        }
        let sixth = send_as(&verifier, user(id), CODE).await.unwrap();
        assert_eq!(sixth, Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(30) }));
    }
    let without = |id| verifier.clone().call(Attempt::new(user(id), "log in"));
    assert_eq!(without("unknown").await.unwrap(), UNKNOWN);
    assert_eq!(without("new").await.unwrap(), NOT_ENROLLED);
    assert_eq!(without("alice").await.unwrap(), Verdict::Denied(DenyReason::OtpRequired));
}

#[tokio::test]
async fn recovery_codes_pass_once_and_clear_failures_and_guessing_them_is_throttled() {
    let (verifier, _, users) = totp_verifier();
    let codes = RecoveryCode::generate().unwrap();
    users.set_recovery_codes(alice(), codes.iter().map(|code| code.digest(&alice())));
    users.set_recovery_codes(user("unknown"), codes.iter().map(|code| code.digest(&user("unknown"))));
    let first = codes[0].to_string();
    for _ in 0..4 {
        assert_eq!(send(&verifier, "0000-0000-0000-0000").await.unwrap(), WRONG);
    }
    assert_eq!(send(&verifier, &first.to_lowercase()).await.unwrap(), Verdict::Granted(Factor::RecoveryCode));
    for _ in 0..5 {
        assert_eq!(send(&verifier, &first).await.unwrap(), WRONG);
    }
    let sixth = send(&verifier, &codes[1].to_string()).await.unwrap();
    assert!(matches!(sixth, Verdict::Denied(DenyReason::Throttled { .. })));
    verifier.unlock(&alice()).await.unwrap();
    assert_eq!(send(&verifier, &codes[1].to_string()).await.unwrap(), Verdict::Granted(Factor::RecoveryCode));
    // A user without a confirmed pairing cannot use them, and loses none by trying.
    assert_eq!(send_as(&verifier, user("unknown"), &codes[2].to_string()).await.unwrap(), NOT_ENROLLED);
    users.insert(user("unknown"), Pairing::confirmed(rfc_totp()));
    assert_eq!(
        send_as(&verifier, user("unknown"), &codes[2].to_string()).await.unwrap(),
        Verdict::Granted(Factor::RecoveryCode)
    );
}

/// The application decides which names are one account. The layer and the verifier use its id.
#[tokio::test]
async fn all_spellings_of_an_account_share_its_counter_and_its_codes() {
    let (verifier, ..) = totp_verifier();
    let service = ToopherLayer::new(verifier)
        .identify(|parts| {
            let typed = parts.headers.get("x-login")?.to_str().ok()?.trim().to_lowercase();
            UserId::new(typed.strip_suffix("@example.com").unwrap_or(&typed)).ok()
        })
        .layer(OneShotService::new(&Calls::default()));
    let send = |login: &str, otp: &str| {
        let request = http::Request::builder().header("x-login", login).header("toopher-otp", otp);
        service.clone().oneshot(request.body(Body::default()).unwrap())
    };
    assert_eq!(send("Alice", CODE).await.unwrap().status(), 200);
    for login in ["alice", "ALICE", " alice ", "alice@example.com", "Alice@Example.com"] {
        assert_eq!(
            kind(&send(login, CODE).await.unwrap()),
            Some(RejectionKind::Denied(DenyReason::ReplayedOtp)),
            "{login}"
        );
    }
    assert_eq!(send("aLiCe", "000000").await.unwrap().status(), 429);
    // An account with a similar name is another account.
    for login in ["\u{ff41}lice", "al\u{131}ce"] {
        assert!(matches!(kind(&send(login, CODE).await.unwrap()), Some(RejectionKind::Unidentified)), "{login}");
    }
}

/// Fails at the operations with these numbers.
#[derive(Clone)]
struct Failing {
    store: MemoryStore,
    at: Vec<usize>,
}

impl Failing {
    fn before(&self, operation: usize) -> Result<&MemoryStore, Down> {
        if self.at.contains(&operation) { Err(Down) } else { Ok(&self.store) }
    }
}

#[derive(Debug)]
struct Down;

impl From<Down> for BoxError {
    fn from(_: Down) -> Self {
        "the store is down".into()
    }
}

impl From<StoreFull> for Down {
    fn from(_: StoreFull) -> Self {
        Self
    }
}

impl Store for Failing {
    type Error = Down;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, Down> {
        Ok(self.before(0)?.count_attempt(user, throttle, now).await?)
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), Down> {
        Ok(self.before(3)?.release_attempt(user, throttle).await?)
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, Down> {
        Ok(self.before(1)?.record_step(user, used, now).await?)
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), Down> {
        Ok(self.before(2)?.clear(user, records).await?)
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_every_operation_and_uses_up_no_code() {
    let store = MemoryStore::new();
    let at = |at| {
        let (verifier, _, users) = totp_verifier();
        users.set_recovery_codes(alice(), []);
        verifier.store(Failing { store: store.clone(), at: vec![at] })
    };
    // More faults than an account has attempts: attempts that could not be verified are released.
    for operation in [0, 1].repeat(60) {
        let error = send(&at(operation), CODE).await.unwrap_err();
        assert!(error.kind() == TotpErrorKind::Store, "{operation}");
        // The kind, and below it the error of the store.
        let kind = std::error::Error::source(&error).unwrap();
        assert_eq!(kind.downcast_ref::<VerifierError>().unwrap().class(), Some(ErrorClass::Store));
        assert_eq!(kind.source().unwrap().to_string(), "the store is down");
    }
    assert!(at(2).unlock(&alice()).await.is_err());
    assert_eq!(send(&at(9), CODE).await.unwrap(), TOTP);
}

/// If the store cannot release an attempt, the attempt stays counted, as documented. A hundred of them in a row, each
/// after its delay, lock the user out until an administrator unlocks. `RedisStore` releases such attempts later.
#[tokio::test]
async fn an_attempt_that_cannot_be_released_is_a_failure() {
    let (verifier, clock, _) = totp_verifier();
    let store = MemoryStore::new();
    let broken = verifier.clone().store(Failing { store: store.clone(), at: vec![1, 3] });
    let sound = verifier.store(store);
    let code = || rfc_totp().code_at(clock.now()).as_str().to_owned();
    for _ in 0..99 {
        // The first error is returned.
        assert!(send(&broken, &code()).await.unwrap_err().kind() == TotpErrorKind::Store);
        clock.advance(3600);
    }
    // Until here a success clears all of them, and no code was used up by a fault.
    assert_eq!(send(&sound, &code()).await.unwrap(), TOTP);
    // More slowly than recent failures expire, which a success does not clear.
    for _ in 0..100 {
        clock.advance(5 * 3600);
        assert!(send(&broken, &code()).await.unwrap_err().kind() == TotpErrorKind::Store);
    }
    clock.advance(3600);
    assert_eq!(send(&sound, &code()).await.unwrap(), Verdict::Denied(DenyReason::LockedOut));
    sound.unlock(&alice()).await.unwrap();
    assert_eq!(send(&sound, &code()).await.unwrap(), TOTP);
}

#[tokio::test]
async fn when_the_failures_cannot_be_cleared_a_redeemed_recovery_code_still_counts() {
    let (verifier, _, users) = totp_verifier();
    let code = RecoveryCode::generate_count(1).unwrap().remove(0);
    users.set_recovery_codes(alice(), [code.digest(&alice())]);
    let verifier = verifier.store(Failing { store: MemoryStore::new(), at: vec![2] });
    assert_eq!(send(&verifier, &code.to_string()).await.unwrap(), Verdict::Granted(Factor::RecoveryCode));
    assert_eq!(send(&verifier, &code.to_string()).await.unwrap(), WRONG);
}

#[tokio::test]
async fn one_secret_of_two_devices_is_used_on_both() {
    let (verifier, ..) = totp_verifier();
    let pairings = [0; 2].map(|_| Pairing::confirmed(rfc_totp()));
    let other = Pairing::confirmed(Totp::new(Secret::generate().unwrap()));
    let reversed = [other, pairings[1].clone(), pairings[0].clone()];
    let otp = CODE.parse().unwrap();
    let verify = |pairings: Vec<Pairing>| {
        let (verifier, otp) = (&verifier, &otp);
        async move { verifier.verify_otp(&alice(), &pairings, otp).await.unwrap() }
    };
    assert_eq!(verify(pairings.to_vec()).await, TOTP);
    assert_eq!(verify(pairings.to_vec()).await, REPLAYED);
    assert_eq!(verify(reversed.to_vec()).await, REPLAYED);
    assert_eq!(verify(vec![pairings[1].clone()]).await, REPLAYED);
    let unconfirmed = vec![Pairing::unconfirmed(rfc_totp())];
    assert_eq!(verify(unconfirmed).await, NOT_ENROLLED);
}

/// Of a few thousand secrets, two have the same current code.
fn secrets_with_one_code(time: UnixTime) -> ([Pairing; 2], Otp) {
    let mut secrets = HashMap::new();
    loop {
        let pairing = Pairing::confirmed(Totp::new(Secret::generate().unwrap()));
        let otp = pairing.totp().code_at(time);
        if let Some(other) = secrets.insert(otp.as_str().to_owned(), pairing.clone()) {
            return ([other, pairing], otp);
        }
    }
}

#[tokio::test]
async fn a_code_of_two_secrets_is_used_up_for_both() {
    let (verifier, clock, _) = totp_verifier();
    let (pairings, otp) = secrets_with_one_code(clock.now());
    assert_eq!(verifier.verify_otp(&alice(), &pairings, &otp).await.unwrap(), TOTP);
    for pairing in pairings {
        assert_eq!(verifier.verify_otp(&alice(), &[pairing], &otp).await.unwrap(), REPLAYED);
    }
}

#[tokio::test]
async fn verifiers_with_other_windows_share_used_steps() {
    let (verifier, clock, _) = totp_verifier();
    let store = Arc::new(MemoryStore::with_capacity(2));
    let strict = verifier.clone().store(store.clone()).window(Window::CURRENT);
    let lax = verifier.store(store).window(Window::new(10, 10).unwrap());
    assert_eq!(send(&strict, CODE).await.unwrap(), TOTP);
    for _ in 0..11 {
        assert_eq!(send(&lax, CODE).await.unwrap(), REPLAYED);
        lax.unlock(&alice()).await.unwrap();
        clock.advance(30);
    }
}

/// Its clock advances during its operations, as with a slow database.
#[derive(Clone)]
struct Slow {
    store: MemoryStore,
    clock: Clock,
    counting: u64,
    recording: u64,
}

impl Store for Slow {
    type Error = StoreFull;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, StoreFull> {
        let admission = self.store.count_attempt(user, throttle, now).await;
        self.clock.advance(self.counting);
        admission
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), StoreFull> {
        self.store.release_attempt(user, throttle).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, StoreFull> {
        self.clock.advance(self.recording);
        self.store.record_step(user, used, now).await
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), StoreFull> {
        self.store.clear(user, records).await
    }
}

#[tokio::test]
async fn a_code_that_expires_during_a_slow_operation_is_refused() {
    for (counting, recording, verdict) in [(0, 0, TOTP), (30, 0, TOTP), (400, 0, WRONG), (0, 400, WRONG)] {
        let (verifier, clock, _) = totp_verifier();
        let verifier = verifier.store(Slow { store: MemoryStore::new(), clock, counting, recording });
        assert_eq!(send(&verifier, CODE).await.unwrap(), verdict, "{counting} {recording}");
    }
}

#[tokio::test]
async fn in_a_full_store_a_right_code_and_a_wrong_one_have_the_same_response() {
    let (verifier, _, users) = totp_verifier();
    users.insert(user("bob"), Pairing::confirmed(rfc_totp()));
    let verifier = verifier.store(MemoryStore::with_capacity(1));
    assert_eq!(send_as(&verifier, user("bob"), CODE).await.unwrap(), TOTP);
    assert!(send(&verifier, CODE).await.unwrap_err().kind() == TotpErrorKind::Store);
    assert!(send(&verifier, "000000").await.unwrap_err().kind() == TotpErrorKind::Store);
}

#[tokio::test]
async fn an_unconfirmed_enrollment_replaces_no_pairing() {
    let (verifier, clock, users) = totp_verifier();
    let enrollment = Enrollment::new("Example", "alice").unwrap();
    users.insert(alice(), enrollment.pairing());
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
    let new = users.unconfirmed(&alice()).unwrap();
    let confirmation = verifier.confirm(&alice(), &new, &new.totp().code_at(clock.now())).await.unwrap();
    let Confirmation::Confirmed(new) = confirmation else { panic!("not confirmed") };
    users.insert(alice(), new.clone());
    assert!(users.unconfirmed(&alice()).is_none());
    clock.set(T + 2);
    assert_eq!(send(&verifier, NEXT_CODE).await.unwrap(), WRONG);
    assert_eq!(send(&verifier, new.totp().code_at(clock.now()).as_str()).await.unwrap(), TOTP);
}

/// A user table that is down at first.
struct Flaky {
    users: MemoryPairings,
    failures_left: AtomicUsize,
}

impl Pairings for Flaky {
    type Error = &'static str;

    async fn find(&self, user: &UserId) -> Result<Lookup, &'static str> {
        if self.failures_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err("the database is down");
        }
        Ok(self.users.find(user).await.unwrap_or_else(|never: Infallible| match never {}))
    }

    async fn redeem_recovery_code(&self, _: &UserId, _: &RecoveryCodeDigest) -> Result<bool, &'static str> {
        Err("the table of recovery codes is down")
    }
}

#[tokio::test]
async fn a_user_table_that_is_down_locks_no_user_out() {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    let table = Arc::new(Flaky { users, failures_left: AtomicUsize::new(50) });
    let verifier = TotpVerifier::new(table).unwrap().clock(|| UnixTime::from_secs(T));
    for _ in 0..50 {
        assert!(send(&verifier, CODE).await.unwrap_err().kind() == TotpErrorKind::Users);
    }
    for _ in 0..150 {
        assert!(send(&verifier, "AAAA-BBBB-CCCC-DDDD").await.unwrap_err().kind() == TotpErrorKind::Users);
    }
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
}
