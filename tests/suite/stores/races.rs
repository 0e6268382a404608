//! Many concurrent requests, from several threads: one code is granted once, and a burst has no more guesses than a
//! sequence.
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::support::*;
use http::StatusCode;
use tower::{Layer, Service, ServiceExt};
use tower_toopher::store::{MemoryStore, Throttle};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing, RecoveryCode};
use tower_toopher::{Attempt, DenyReason, HeaderOrForm, ToopherLayer, TotpVerifier, Verdict};

/// Sends the requests from as many threads, started together, and returns the statuses.
fn burst(verifier: &TotpVerifier<MemoryPairings>, otps: &[String]) -> Vec<StatusCode> {
    let barrier = Arc::new(Barrier::new(otps.len()));
    let threads: Vec<_> = otps
        .iter()
        .map(|otp| {
            let (verifier, barrier, otp) = (verifier.clone(), barrier.clone(), otp.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let service = ToopherLayer::new(verifier)
                    .extractor(HeaderOrForm::default())
                    .layer(OneShotService::new(&Calls::default()));
                barrier.wait();
                runtime.block_on(service.oneshot(request(Some(&otp)))).unwrap().status()
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn count(statuses: &[StatusCode], status: u16) -> usize {
    statuses.iter().filter(|s| s.as_u16() == status).count()
}

/// Enough free failures that the throttle does not decide these races.
fn patient() -> Throttle {
    Throttle::new(100, Duration::from_secs(1), Duration::from_secs(1), 100).unwrap()
}

#[test]
fn fifty_sends_of_one_code_pass_once() {
    for _ in 0..20 {
        let (verifier, ..) = totp_verifier();
        let statuses = burst(&verifier.throttle(patient()), &vec![CODE.to_owned(); 50]);
        assert_eq!((count(&statuses, 200), count(&statuses, 401)), (1, 49));
    }
}

#[test]
fn fifty_sends_of_one_code_in_many_spellings_pass_once() {
    let spellings = ["081804", " 081804", "081 804", "081-804", "081\u{a0}804", "0 8 1 8 0 4", "\u{200b}081804"];
    let (verifier, ..) = totp_verifier();
    let otps: Vec<_> = spellings.iter().cycle().take(50).map(ToString::to_string).collect();
    let statuses = burst(&verifier.throttle(patient()), &otps);
    assert_eq!(count(&statuses, 200), 1);
}

#[test]
fn two_codes_of_neighboring_steps_pass_at_most_twice_and_the_later_step_is_kept() {
    for _ in 0..20 {
        let (verifier, clock, _) = totp_verifier();
        let otps: Vec<_> = [CODE, NEXT_CODE].iter().cycle().take(40).map(ToString::to_string).collect();
        let statuses = burst(&verifier.clone().throttle(patient()), &otps);
        assert!((1..=2).contains(&count(&statuses, 200)));
        clock.advance(1);
        assert_eq!(count(&burst(&verifier.throttle(patient()), &otps), 200), 0);
    }
}

#[test]
fn a_hundred_wrong_codes_are_no_more_than_five_tries() {
    for _ in 0..10 {
        let (verifier, ..) = totp_verifier();
        let mut otps: Vec<_> = (0..99).map(|i| format!("{:06}", 100_000 + i)).collect();
        otps.push(CODE.into());
        let statuses = burst(&verifier, &otps);
        let (passed, wrong, throttled) = (count(&statuses, 200), count(&statuses, 401), count(&statuses, 429));
        assert_eq!(passed + wrong + throttled, 100);
        // The right code may come in time and clear the failures before it. At most five more follow.
        assert!(if passed == 0 { wrong == 5 } else { wrong <= 9 && passed == 1 }, "{passed} {wrong} {throttled}");
    }
}

#[test]
fn a_recovery_code_passes_once() {
    for _ in 0..20 {
        let (verifier, _, users) = totp_verifier();
        let codes = RecoveryCode::generate().unwrap();
        users.set_recovery_codes(alice(), codes.iter().map(|code| code.digest(&alice())));
        let statuses = burst(&verifier.clone().throttle(patient()), &vec![codes[3].to_string(); 50]);
        assert_eq!(count(&statuses, 200), 1);
        // The other nine are still valid.
        assert_eq!(count(&burst(&verifier.throttle(patient()), &[codes[4].to_string()]), 200), 1);
    }
}

#[test]
fn verifiers_that_share_a_store_share_its_guarantees() {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    let store = MemoryStore::new();
    let mut verifiers = [0, 1].map(|_| {
        let now = || UnixTime::from_secs(T);
        TotpVerifier::new(users.clone()).unwrap().store(store.clone()).clock(now)
    });
    let attempt = || Attempt::new(alice(), "log in").with_otp(CODE.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let granted = runtime.block_on(verifiers[0].call(attempt())).unwrap();
    assert!(matches!(granted, Verdict::Granted(_)));
    let second = runtime.block_on(verifiers[1].call(attempt())).unwrap();
    assert_eq!(second, Verdict::Denied(DenyReason::ReplayedOtp));
}
