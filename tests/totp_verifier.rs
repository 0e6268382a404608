//! The embedded verifier: the clock, who is enrolled, backup codes and faults, each the way other systems got it wrong.
//! What it keeps in its store, replay and the throttle, is in `cases_over_stores.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use common::*;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{Admission, MemoryStore, Spend, Store, StoreFull, Throttle};
use tower_toopher::totp::{
    BackupCode, BackupCodeDigest, Confirmation, Enrolment, Lookup, MemoryPairings, Pairing, Pairings, TotpVerifier,
    Window,
};
use tower_toopher::{
    Attempt, BoxError, DenyReason, Factor, Fault, FaultKind, RejectionKind, ToopherLayer, UserId, Verdict,
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
async fn two_devices_of_a_user_do_not_spend_each_others_steps() {
    let (verifier, _, users) = totp_verifier();
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
    users.insert(alice(), Pairing::confirmed(k20()).device("a new phone"));
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
    assert_eq!(send(&verifier, CODE).await.unwrap(), REPLAYED);
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
    let too_early = verifier.clock(|| UNIX_EPOCH - Duration::from_secs(1));
    let error = send(&too_early, "755224").await.unwrap_err();
    assert!(error.is_clock() && !error.is_store() && !error.is_pairings());
}

#[tokio::test]
async fn windows_decide_which_neighbours_pass() {
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
async fn who_is_not_enrolled_is_refused_and_throttled_like_anybody() {
    let (verifier, _, users) = totp_verifier();
    users.insert(user("pending"), Pairing::unconfirmed(k20()));
    users.insert_user(user("new"));
    for (id, verdict) in [("nobody", UNKNOWN), ("pending", NOT_ENROLLED), ("new", NOT_ENROLLED)] {
        for _ in 0..5 {
            assert_eq!(send_as(&verifier, user(id), CODE).await.unwrap(), verdict);
        }
        let sixth = send_as(&verifier, user(id), CODE).await.unwrap();
        assert_eq!(sixth, Verdict::Denied(DenyReason::Throttled { retry_after: Duration::from_secs(30) }));
    }
    let without = |id| verifier.clone().call(Attempt::new(user(id), "log in"));
    assert_eq!(without("nobody").await.unwrap(), UNKNOWN);
    assert_eq!(without("new").await.unwrap(), NOT_ENROLLED);
    assert_eq!(without("alice").await.unwrap(), Verdict::Denied(DenyReason::OtpRequired));
}

#[tokio::test]
async fn backup_codes_pass_once_and_forgive_failures_and_guessing_them_is_throttled() {
    let (verifier, _, users) = totp_verifier();
    let codes = BackupCode::generate().unwrap();
    users.set_backup_codes(alice(), codes.iter().map(|code| code.digest(&alice())));
    users.set_backup_codes(user("nobody"), codes.iter().map(|code| code.digest(&user("nobody"))));
    let first = codes[0].to_string();
    for _ in 0..4 {
        assert_eq!(send(&verifier, "0000-0000-0000-0000").await.unwrap(), WRONG);
    }
    assert_eq!(send(&verifier, &first.to_lowercase()).await.unwrap(), Verdict::Granted(Factor::BackupCode));
    for _ in 0..5 {
        assert_eq!(send(&verifier, &first).await.unwrap(), WRONG);
    }
    let sixth = send(&verifier, &codes[1].to_string()).await.unwrap();
    assert!(matches!(sixth, Verdict::Denied(DenyReason::Throttled { .. })));
    verifier.unlock(&alice()).await.unwrap();
    assert_eq!(send(&verifier, &codes[1].to_string()).await.unwrap(), Verdict::Granted(Factor::BackupCode));
    // One without a confirmed pairing has no use of them, and loses none by trying.
    assert_eq!(send_as(&verifier, user("nobody"), &codes[2].to_string()).await.unwrap(), NOT_ENROLLED);
    users.insert(user("nobody"), Pairing::confirmed(k20()));
    assert_eq!(
        send_as(&verifier, user("nobody"), &codes[2].to_string()).await.unwrap(),
        Verdict::Granted(Factor::BackupCode)
    );
}

/// The application says which spellings are one account; the gate and the verifier keep to its word.
#[tokio::test]
async fn all_spellings_of_an_account_share_its_counter_and_its_codes() {
    let (verifier, ..) = totp_verifier();
    let gate = ToopherLayer::new(verifier)
        .identify(|parts| {
            let typed = parts.headers.get("x-login")?.to_str().ok()?.trim().to_lowercase();
            UserId::new(typed.strip_suffix("@example.com").unwrap_or(&typed)).ok()
        })
        .layer(Strict::new(&Calls::default()));
    let send = |login: &str, otp: &str| {
        let request = http::Request::builder().header("x-login", login).header("toopher-otp", otp);
        gate.clone().oneshot(request.body(Body::default()).unwrap())
    };
    assert_eq!(send("Alice", CODE).await.unwrap().status(), 200);
    for login in ["alice", "ALICE", " alice ", "alice@example.com", "Alice@Example.com"] {
        assert_eq!(kind(&send(login, CODE).await.unwrap()), Some(RejectionKind::ReplayedOtp), "{login}");
    }
    assert_eq!(send("aLiCe", "000000").await.unwrap().status(), 429);
    // Another account that merely looks like it is another account.
    for login in ["\u{ff41}lice", "al\u{131}ce"] {
        assert!(matches!(kind(&send(login, CODE).await.unwrap()), Some(RejectionKind::Unidentified)), "{login}");
    }
}

/// Fails at the verbs of the given numbers.
#[derive(Clone)]
struct Failing {
    store: MemoryStore,
    at: Vec<usize>,
}

impl Failing {
    fn at(&self, verb: usize) -> Result<&MemoryStore, Down> {
        if self.at.contains(&verb) { Err(Down) } else { Ok(&self.store) }
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
        Down
    }
}

impl Store for Failing {
    type Error = Down;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, Down> {
        Ok(self.at(0)?.count_attempt(user, throttle, now).await?)
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), Down> {
        Ok(self.at(3)?.take_back_attempt(user, throttle).await?)
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, Down> {
        Ok(self.at(1)?.spend_step(user, device, step, keep_until, now).await?)
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), Down> {
        Ok(self.at(2)?.clear_failures(user).await?)
    }
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_at_every_verb_and_burns_no_code() {
    let store = MemoryStore::new();
    let at = |at| {
        let (verifier, _, users) = totp_verifier();
        users.set_backup_codes(alice(), []);
        verifier.store(Failing { store: store.clone(), at: vec![at] })
    };
    // More often than an account has attempts: what could not be verified is taken back.
    for verb in [0, 1].repeat(60) {
        let error = send(&at(verb), CODE).await.unwrap_err();
        assert!(error.is_store(), "{verb}");
        // Its kind, and under that what the store said.
        let kind = std::error::Error::source(&error).unwrap();
        assert_eq!(kind.downcast_ref::<Fault>().unwrap().kind(), FaultKind::Store);
        assert_eq!(kind.source().unwrap().to_string(), "the store is down");
    }
    assert!(at(2).unlock(&alice()).await.is_err());
    assert_eq!(send(&at(9), CODE).await.unwrap(), TOTP);
}

/// A store that cannot even take back has the attempt counted, as its documentation says. It takes a hundred of them
/// without a success between, each after its wait; then it takes an administrator. `RedisStore` takes it back later.
#[tokio::test]
async fn an_attempt_that_cannot_be_taken_back_is_a_failure() {
    let (verifier, clock, _) = totp_verifier();
    let store = MemoryStore::new();
    let broken = verifier.clone().store(Failing { store: store.clone(), at: vec![1, 3] });
    let sound = verifier.store(store);
    let code = || k20().code_at(clock.now()).as_str().to_owned();
    for _ in 0..99 {
        // The first error is told.
        assert!(send(&broken, &code()).await.unwrap_err().is_store());
        clock.advance(3600);
    }
    // Up to here a success forgets them all, and the code of each fault was not burnt.
    assert_eq!(send(&sound, &code()).await.unwrap(), TOTP);
    for _ in 0..100 {
        clock.advance(3600);
        assert!(send(&broken, &code()).await.unwrap_err().is_store());
    }
    clock.advance(3600);
    assert_eq!(send(&sound, &code()).await.unwrap(), Verdict::Denied(DenyReason::LockedOut));
    sound.unlock(&alice()).await.unwrap();
    assert_eq!(send(&sound, &code()).await.unwrap(), TOTP);
}

#[tokio::test]
async fn when_the_failures_cannot_be_forgotten_a_redeemed_backup_code_still_counts() {
    let (verifier, _, users) = totp_verifier();
    let code = BackupCode::generate_count(1).unwrap().remove(0);
    users.set_backup_codes(alice(), [code.digest(&alice())]);
    let verifier = verifier.store(Failing { store: MemoryStore::new(), at: vec![2] });
    assert_eq!(send(&verifier, &code.to_string()).await.unwrap(), Verdict::Granted(Factor::BackupCode));
    assert_eq!(send(&verifier, &code.to_string()).await.unwrap(), WRONG);
}

#[tokio::test]
async fn one_secret_under_two_names_is_spent_under_both() {
    let (verifier, ..) = totp_verifier();
    let pairings = ["a", "b"].map(|device| Pairing::confirmed(k20()).device(device));
    let reversed = [pairings[1].clone(), pairings[0].clone()];
    let otp = CODE.parse().unwrap();
    let verify = |pairings: Vec<Pairing>| {
        let (verifier, otp) = (&verifier, &otp);
        async move { verifier.verify_otp(&alice(), &pairings, otp).await.unwrap() }
    };
    assert_eq!(verify(pairings.to_vec()).await, TOTP);
    assert_eq!(verify(pairings.to_vec()).await, REPLAYED);
    assert_eq!(verify(reversed.to_vec()).await, REPLAYED);
    assert_eq!(verify(vec![pairings[1].clone()]).await, REPLAYED);
    let unconfirmed = vec![Pairing::unconfirmed(k20()).device("c")];
    assert_eq!(verify(unconfirmed).await, NOT_ENROLLED);
}

#[tokio::test]
async fn verifiers_with_other_windows_share_what_is_spent() {
    let (verifier, clock, _) = totp_verifier();
    let store = Arc::new(MemoryStore::bounded(2));
    let strict = verifier.clone().store(store.clone()).window(Window::CURRENT);
    let lax = verifier.store(store).window(Window::new(10, 10).unwrap());
    assert_eq!(send(&strict, CODE).await.unwrap(), TOTP);
    for _ in 0..11 {
        assert_eq!(send(&lax, CODE).await.unwrap(), REPLAYED);
        lax.unlock(&alice()).await.unwrap();
        clock.advance(30);
    }
}

/// Its clock moves on while it counts, or while it spends, as it does for whoever waits for a slow database.
#[derive(Clone)]
struct Slow {
    store: MemoryStore,
    clock: Clock,
    counting: u64,
    spending: u64,
}

impl Store for Slow {
    type Error = StoreFull;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, StoreFull> {
        let admission = self.store.count_attempt(user, throttle, now).await;
        self.clock.advance(self.counting);
        admission
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), StoreFull> {
        self.store.take_back_attempt(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, StoreFull> {
        self.clock.advance(self.spending);
        self.store.spend_step(user, device, step, keep_until, now).await
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), StoreFull> {
        self.store.clear_failures(user).await
    }
}

#[tokio::test]
async fn a_code_that_ages_while_the_store_takes_its_time_is_refused() {
    for (counting, spending, verdict) in [(0, 0, TOTP), (30, 0, TOTP), (400, 0, WRONG), (0, 400, WRONG)] {
        let (verifier, clock, _) = totp_verifier();
        let verifier = verifier.store(Slow { store: MemoryStore::new(), clock, counting, spending });
        assert_eq!(send(&verifier, CODE).await.unwrap(), verdict, "{counting} {spending}");
    }
}

#[tokio::test]
async fn with_no_room_to_spend_a_right_code_and_a_wrong_one_look_alike() {
    let (verifier, _, users) = totp_verifier();
    users.insert(user("bob"), Pairing::confirmed(k20()));
    let verifier = verifier.store(MemoryStore::bounded(1));
    assert_eq!(send_as(&verifier, user("bob"), CODE).await.unwrap(), TOTP);
    assert!(send(&verifier, CODE).await.unwrap_err().is_store());
    assert!(send(&verifier, "000000").await.unwrap_err().is_store());
}

#[tokio::test]
async fn a_new_enrolment_takes_nobodys_place_before_it_is_confirmed() {
    let (verifier, clock, users) = totp_verifier();
    let enrolment = Enrolment::new("Example", "alice").unwrap();
    users.insert(alice(), enrolment.pairing().device("new"));
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

    async fn redeem_backup_code(&self, _: &UserId, _: &BackupCodeDigest) -> Result<bool, &'static str> {
        Err("the table of backup codes is down")
    }
}

#[tokio::test]
async fn a_user_table_that_is_down_locks_nobody_out() {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(k20()));
    let table = Arc::new(Flaky { users, failures_left: AtomicUsize::new(50) });
    let verifier = TotpVerifier::new(table).unwrap().clock(|| UNIX_EPOCH + Duration::from_secs(T));
    for _ in 0..50 {
        assert!(send(&verifier, CODE).await.unwrap_err().is_pairings());
    }
    for _ in 0..150 {
        assert!(send(&verifier, "AAAA-BBBB-CCCC-DDDD").await.unwrap_err().is_pairings());
    }
    assert_eq!(send(&verifier, CODE).await.unwrap(), TOTP);
}
