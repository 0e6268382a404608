//! A protected service over a store, and a server that is killed under load.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use tower::{Layer, ServiceExt};
use tower_toopher::ToopherService;
use tower_toopher::middleware::ProblemJson;
use tower_toopher::store::{Store, Throttle};
use tower_toopher::test_util::block_on;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::{Header, ToopherLayer, TotpVerifier};

use super::{CODE, Calls, Clock, OneShotService, request_of, rfc_totp, totp_verifier, user};

pub const OK: StatusCode = StatusCode::OK;
pub const DENIED: StatusCode = StatusCode::UNAUTHORIZED;
pub const THROTTLED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
pub const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

pub type TestService<S> = ToopherService<OneShotService, TotpVerifier<MemoryPairings, S>, Header, ProblemJson>;

/// Alice has RFC_SECRET.
pub struct Harness<S> {
    pub service: TestService<S>,
    pub calls: Calls,
    pub clock: Clock,
    pub users: MemoryPairings,
}

impl<S: Store> Harness<S> {
    pub fn new(store: S) -> Self {
        Self::with_throttle(store, Throttle::default())
    }

    pub fn with_throttle(store: S, throttle: Throttle) -> Self {
        let (verifier, clock, users) = totp_verifier();
        let calls = Calls::default();
        let service = ToopherLayer::new(verifier.store(store).throttle(throttle)).layer(OneShotService::new(&calls));
        Self { service, calls, clock, users }
    }

    /// The status of a request with this code.
    pub fn status_of(&self, name: &str, code: &str) -> StatusCode {
        let before = self.calls.count();
        let response = block_on(self.service.clone().oneshot(request_of(user(name), Some(code)))).unwrap();
        if response.status() != OK {
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        let called = self.calls.count() > before;
        assert!(response.status() == OK || !called, "the service was called, and {}", response.status());
        response.status()
    }

    /// The right code at the current time.
    pub fn code(&self) -> String {
        rfc_totp().code_at(self.clock.now()).as_str().to_owned()
    }

    pub fn enroll(&self, name: &str) {
        self.users.insert(user(name), Pairing::confirmed(rfc_totp()));
    }
}

/// A server that a test can kill.
pub trait Mortal {
    fn kill(&mut self);
    fn start_again(&mut self);
}

impl Mortal for test_support::redis::Redis {
    fn kill(&mut self) {
        self.kill();
    }

    fn start_again(&mut self) {
        self.start_again();
    }
}

impl Mortal for test_support::postgres::Postgres {
    fn kill(&mut self) {
        self.kill();
    }

    fn start_again(&mut self) {
        self.start_again();
    }
}

/// The requests of each user, all with the same code.
pub type Races = HashMap<String, Race>;

#[derive(Debug)]
pub struct Race {
    pub passed: usize,
    /// The number of responses with 503.
    pub failed: usize,
    /// The life of the server in which the last response came. The first life is 0.
    pub last_life: usize,
}

/// Kills the server under load, `deaths` times, with `kill -9`. In each life of the server a code is granted once. In
/// between the status is 503, and after the restart the service recovers without a restart. `then` makes further
/// assertions.
pub fn killed_under_load<S: Store>(
    harness: Harness<S>,
    server: &mut impl Mortal,
    deaths: usize,
    then: impl FnOnce(&Harness<S>, Races),
) {
    let harness = Arc::new(harness);
    // The phase, modulo 4: 0 is a life of the server, 1 the time without one, 2 the start of the next.
    let life = Arc::new(AtomicUsize::new(0));
    let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let start = Arc::new(Barrier::new(4));
    let log = Arc::new(Mutex::new(Vec::new()));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (harness, life, stop, over, start, log) =
                (harness.clone(), life.clone(), stop.clone(), over.clone(), start.clone(), log.clone());
            std::thread::spawn(move || {
                for round in 0.. {
                    // All four threads race for each code, or all four stop: one of them decides for this round.
                    if start.wait().is_leader() {
                        harness.enroll(&format!("user {round}"));
                        over.store(stop.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                    start.wait();
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let before = life.load(Ordering::SeqCst);
                    let request = request_of(user(&format!("user {round}")), Some(CODE));
                    let response = block_on(harness.service.clone().oneshot(request)).unwrap().status();
                    let after = life.load(Ordering::SeqCst);
                    log.lock().unwrap().push((round, before, after, response));
                }
            })
        })
        .collect();
    let reached = |count: usize| {
        let end = Instant::now() + Duration::from_secs(60);
        let target = log.lock().unwrap().len() + count;
        while log.lock().unwrap().len() < target {
            assert!(Instant::now() < end, "no request is answered");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // Until it responds: the error of one failed connection is the outcome of many concurrent requests.
    let served = || {
        let end = Instant::now() + Duration::from_secs(60);
        while log.lock().unwrap().iter().rev().take(8).any(|(.., response)| *response == UNAVAILABLE) {
            assert!(Instant::now() < end, "the service does not recover");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..deaths {
        reached(200);
        server.kill();
        life.fetch_add(1, Ordering::SeqCst);
        // Requests in flight, and some that begin while there is no server.
        reached(12);
        life.fetch_add(1, Ordering::SeqCst);
        server.start_again();
        served();
        life.fetch_add(2, Ordering::SeqCst);
    }
    reached(400);
    stop.store(true, Ordering::SeqCst);
    load.into_iter().for_each(|thread| thread.join().unwrap());
    let log = log.lock().unwrap();
    let last = log.iter().map(|(round, ..)| *round).max().unwrap();
    let (mut passes, mut errors, mut meanwhile) = (0, 0, 0);
    let mut races = Races::new();
    for round in 0..=last {
        let race: Vec<_> = log.iter().filter(|(of, ..)| *of == round).collect();
        let count = |status| race.iter().filter(|(.., response)| *response == status).count();
        let (passed, failed) = (count(OK), count(UNAVAILABLE));
        assert_eq!(passed + failed + count(DENIED), 4, "{race:?}");
        let last_life = race.iter().map(|(_, _, after, _)| after.div_ceil(4)).max().unwrap();
        races.insert(format!("user {round}"), Race { passed, failed, last_life });
        (passes, errors) = (passes + passed, errors + failed);
        let lives: Vec<_> = race.iter().flat_map(|(_, before, after, _)| [*before, *after]).collect();
        if lives.iter().all(|life| life % 4 == 1) {
            assert_eq!(failed, 4, "there was no server: {race:?}");
            meanwhile += 1;
        }
        // A race within one life, from its first request to its last response.
        if lives.iter().all(|life| *life == lives[0] && life % 4 == 0) {
            assert!(passed <= 1, "user {round} passed {passed} times within one life");
            assert!(failed > 0 || passed == 1, "the code of user {round} was used up in vain");
        }
    }
    assert!(
        passes > 100 && errors >= deaths && meanwhile >= deaths,
        "{passes} passes, {errors} errors, {meanwhile} rounds without a server"
    );
    // The last hundred and more came after the last start, without an error.
    let tail = log.iter().filter(|(round, ..)| *round > last - 50);
    assert!(tail.clone().count() >= 150 && tail.clone().all(|(.., response)| *response != UNAVAILABLE));
    then(&harness, races);
}
