//! A hundred wrong codes of one user at once, half of them at one verifier and half at another. The stores of the two
//! share their records: five codes are compared, and after that every code is throttled, the right one too.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_toopher::store::Store;
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::{Attempt, DenyReason, TotpVerifier, Verdict};

use super::{rfc_totp, user};

const CODES: usize = 100;
/// The failures before the first delay.
const FREE: usize = 5;

#[derive(Debug, PartialEq)]
enum Outcome {
    Wrong,
    Throttled,
}

/// Two verifiers, each with its own store.
pub async fn at_verifiers<S: Store>(stores: [S; 2]) {
    let (users, now) = (MemoryPairings::new(), UnixTime::try_from(SystemTime::now()).unwrap());
    users.insert(user("alice"), Pairing::confirmed(rfc_totp()));
    let verifiers = stores.map(|store| TotpVerifier::new(users.clone()).unwrap().store(store).clock(move || now));
    let try_at = |at: usize, code: String| {
        let attempt = Attempt::new(user("alice"), "log in").with_otp(Some(code.parse().unwrap()));
        let verifier = verifiers[at].clone();
        async move {
            match verifier.oneshot(attempt).await.unwrap() {
                Verdict::Denied(DenyReason::WrongOtp) => Outcome::Wrong,
                Verdict::Denied(DenyReason::Throttled { .. }) => Outcome::Throttled,
                verdict => panic!("{verdict:?}"),
            }
        }
    };
    let barrier = Arc::new(Barrier::new(CODES));
    let trying = wrong_codes(now).into_iter().enumerate().map(|(nth, code)| {
        let (trying, barrier) = (try_at(nth % 2, code), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            trying.await
        })
    });
    let outcomes: Vec<_> = join_all(trying).await.into_iter().map(Result::unwrap).collect();
    let wrong = outcomes.iter().filter(|outcome| **outcome == Outcome::Wrong).count();
    assert_eq!((wrong, outcomes.len()), (FREE, CODES));
    for at in 0..2 {
        assert_eq!(try_at(at, rfc_totp().code_at(now).as_str().to_owned()).await, Outcome::Throttled);
    }
}

/// Codes that are wrong for two minutes before and after `now`.
fn wrong_codes(now: UnixTime) -> Vec<String> {
    let right = [-4_i64, -3, -2, -1, 0, 1, 2, 3, 4]
        .map(|steps| rfc_totp().code_at(UnixTime::from_secs(now.as_secs().saturating_add_signed(30 * steps))));
    let digits = (100_000..).map(|digits: u32| digits.to_string());
    digits.filter(|digits| right.iter().all(|right| right.as_str() != digits)).take(CODES).collect()
}
