//! A hundred wrong codes of one user at once, half of them at each of two servers or verifiers with a shared store:
//! five are verified, and after them not even the right one is accepted.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::Barrier;
use tower::ServiceExt;
use tower_toopher::store::{Store, Throttle};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::{Attempt, DenyReason, TotpVerifier, Verdict};

use crate::cluster::{enrolled, now};
use crate::site::Site;
use crate::{rfc_totp, user};

const CODES: usize = 100;
/// The number of attempts before the first wait.
const FREE: usize = 5;

#[derive(Debug, PartialEq)]
enum Response {
    Wrong,
    Throttled,
}

/// Two servers. Their clock runs, and the wait after the fifth attempt ends soon.
pub async fn attack_servers(sites: &[Site; 2], name: &str) {
    assert_eq!(enrolled(&sites[0], name).await.0, 200);
    let try_at = |at: usize, code: String| {
        let (site, name) = (sites[at].clone(), name.to_owned());
        async move {
            match site.initiate(&name, &[("otp", &code)]).await {
                (200, answer) if answer["granted"] == false => Response::Wrong,
                (429, _) => Response::Throttled,
                (status, answer) => panic!("{status} {answer}"),
            }
        }
    };
    let begun = Instant::now();
    assert_five_attempts(try_at, now()).await;
    assert!(begun.elapsed() < Throttle::default().first_delay(), "too slow to tell: {:?}", begun.elapsed());
}

/// Two verifiers, each with a store of its own.
pub async fn attack_verifiers<S: Store + 'static>(stores: [S; 2]) {
    let (users, now) = (MemoryPairings::new(), now());
    users.insert(user("alice"), Pairing::confirmed(rfc_totp()));
    let verifiers = stores.map(|store| TotpVerifier::new(users.clone()).unwrap().store(store).clock(move || now));
    let try_at = |at: usize, code: String| {
        let attempt = Attempt::new(user("alice"), "log in").with_otp(Some(code.parse().unwrap()));
        let verifier = verifiers[at].clone();
        async move {
            match verifier.oneshot(attempt).await.unwrap() {
                Verdict::Denied(DenyReason::WrongOtp) => Response::Wrong,
                Verdict::Denied(DenyReason::Throttled { .. }) => Response::Throttled,
                verdict => panic!("{verdict:?}"),
            }
        }
    };
    assert_five_attempts(try_at, now).await;
}

async fn assert_five_attempts<F: Future<Output = Response> + Send + 'static>(
    try_at: impl Fn(usize, String) -> F,
    now: UnixTime,
) {
    let barrier = Arc::new(Barrier::new(CODES));
    let trying = wrong_codes(now).into_iter().enumerate().map(|(nth, code)| {
        let (trying, barrier) = (try_at(nth % 2, code), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            trying.await
        })
    });
    let responses: Vec<_> = join_all(trying).await.into_iter().map(Result::unwrap).collect();
    let wrong = responses.iter().filter(|response| **response == Response::Wrong).count();
    assert_eq!((wrong, responses.len()), (FREE, CODES));
    for at in 0..2 {
        assert_eq!(try_at(at, rfc_totp().code_at(now).as_str().to_owned()).await, Response::Throttled);
    }
}

/// None of them is valid within two minutes.
fn wrong_codes(now: UnixTime) -> Vec<String> {
    let right = [-4_i64, -3, -2, -1, 0, 1, 2, 3, 4]
        .map(|steps| rfc_totp().code_at(UnixTime::from_secs(now.as_secs().saturating_add_signed(30 * steps))));
    let digits = (100_000..).map(|digits: u32| digits.to_string());
    digits.filter(|digits| right.iter().all(|right| right.as_str() != digits)).take(CODES).collect()
}
