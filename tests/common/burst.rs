//! A hundred wrong codes of one user at once, half of them at one place and half at another, where the two share what
//! they remember: five are looked at, and after that not even the right one is.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_toopher::store::{Store, Throttle};
use tower_toopher::totp::{MemoryPairings, Pairing, TotpVerifier};
use tower_toopher::{Attempt, DenyReason, Verdict};

use super::cluster::{enrolled, now};
use super::toopher::Site;
use super::{k20, user};

const CODES: usize = 100;
/// How many there are before the first wait.
const FREE: usize = 5;

#[derive(Debug, PartialEq)]
enum Said {
    Wrong,
    Throttled,
}

/// Two servers. The clock of theirs goes, and so does the wait after the fifth.
pub async fn at_servers(sites: &[Site; 2], name: &str) {
    assert_eq!(enrolled(&sites[0], name).await.0, 200);
    let try_at = |at: usize, code: String| {
        let (site, name) = (sites[at].clone(), name.to_owned());
        async move {
            match site.initiate(&name, &[("otp", &code)]).await {
                (200, answer) if answer["granted"] == false => Said::Wrong,
                (429, _) => Said::Throttled,
                (status, answer) => panic!("{status} {answer}"),
            }
        }
    };
    let begun = Instant::now();
    no_more_than_five(try_at, now()).await;
    assert!(begun.elapsed() < Throttle::default().first_delay(), "too slow to tell: {:?}", begun.elapsed());
}

/// Two verifiers, each with a store of its own.
pub async fn at_verifiers<S: Store + 'static>(stores: [S; 2]) {
    let (users, now) = (MemoryPairings::new(), now());
    users.insert(user("alice"), Pairing::confirmed(k20()));
    let verifiers =
        stores.map(|store| TotpVerifier::new(users.clone()).unwrap().store(store).clock(move || UNIX_EPOCH + now));
    let try_at = |at: usize, code: String| {
        let attempt = Attempt::new(user("alice"), "log in").with_otp(Some(code.parse().unwrap()));
        let verifier = verifiers[at].clone();
        async move {
            match verifier.oneshot(attempt).await.unwrap() {
                Verdict::Denied(DenyReason::WrongOtp) => Said::Wrong,
                Verdict::Denied(DenyReason::Throttled { .. }) => Said::Throttled,
                verdict => panic!("{verdict:?}"),
            }
        }
    };
    no_more_than_five(try_at, now).await;
}

async fn no_more_than_five<F: Future<Output = Said> + Send + 'static>(
    try_at: impl Fn(usize, String) -> F,
    now: Duration,
) {
    let barrier = Arc::new(Barrier::new(CODES));
    let trying = wrong_codes(now).into_iter().enumerate().map(|(nth, code)| {
        let (trying, barrier) = (try_at(nth % 2, code), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            trying.await
        })
    });
    let said: Vec<_> = join_all(trying).await.into_iter().map(Result::unwrap).collect();
    let wrong = said.iter().filter(|said| **said == Said::Wrong).count();
    assert_eq!((wrong, said.len()), (FREE, CODES));
    for at in 0..2 {
        assert_eq!(try_at(at, k20().code_at(now).as_str().to_owned()).await, Said::Throttled);
    }
}

/// None of them is right within two minutes.
fn wrong_codes(now: Duration) -> Vec<String> {
    let right = [-4_i64, -3, -2, -1, 0, 1, 2, 3, 4]
        .map(|steps| k20().code_at(Duration::from_secs(now.as_secs().saturating_add_signed(30 * steps))));
    let digits = (100_000..).map(|digits: u32| digits.to_string());
    digits.filter(|digits| right.iter().all(|right| right.as_str() != digits)).take(CODES).collect()
}
