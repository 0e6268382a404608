//! A gate before a service, both as in one process, over a store whose server comes to harm.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use tower::{Layer, ServiceExt};
use tower_toopher::gate::ToopherService;
use tower_toopher::store::{RedisStore, Store, Throttle};
use tower_toopher::test_util::block_on;
use tower_toopher::totp::{MemoryPairings, Pairing};
use tower_toopher::{Header, ProblemJson, ToopherLayer, TotpVerifier};

use super::{CODE, Calls, Clock, Strict, k20, request_of, totp_verifier, user};

pub const OK: StatusCode = StatusCode::OK;
pub const DENIED: StatusCode = StatusCode::UNAUTHORIZED;
pub const THROTTLED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
pub const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

pub type Gate<S> = ToopherService<Strict, TotpVerifier<MemoryPairings, S>, Header, ProblemJson>;

/// Alice has K20.
pub struct House<S = RedisStore> {
    pub gate: Gate<S>,
    pub calls: Calls,
    pub clock: Clock,
    pub users: MemoryPairings,
}

impl<S: Store> House<S> {
    pub fn of(store: S) -> Self {
        Self::with(store, Throttle::default())
    }

    pub fn with(store: S, throttle: Throttle) -> Self {
        let (verifier, clock, users) = totp_verifier();
        let calls = Calls::default();
        let gate = ToopherLayer::new(verifier.store(store).throttle(throttle)).layer(Strict::new(&calls));
        Self { gate, calls, clock, users }
    }

    /// What a request with this code is answered with.
    pub fn says(&self, name: &str, code: &str) -> StatusCode {
        let before = self.calls.count();
        let response = block_on(self.gate.clone().oneshot(request_of(user(name), Some(code)))).unwrap();
        if response.status() != OK {
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        let called = self.calls.count() > before;
        assert!(response.status() == OK || !called, "the service was called, and {}", response.status());
        response.status()
    }

    /// The right code of now.
    pub fn code(&self) -> String {
        k20().code_at(self.clock.now()).as_str().to_owned()
    }

    pub fn enrol(&self, name: &str) {
        self.users.insert(user(name), Pairing::confirmed(k20()));
    }
}

/// A server of a test's own.
pub trait Mortal {
    fn kill(&mut self);
    fn start_again(&mut self);
}

impl Mortal for super::redis::Redis {
    fn kill(&mut self) {
        self.kill();
    }

    fn start_again(&mut self) {
        self.start_again();
    }
}

impl Mortal for super::postgres::Postgres {
    fn kill(&mut self) {
        self.kill();
    }

    fn start_again(&mut self) {
        self.start_again();
    }
}

/// What came of each user's one code.
pub type Told = HashMap<String, Race>;

#[derive(Debug)]
pub struct Race {
    pub passed: usize,
    /// How often there was 503.
    pub failed: usize,
    /// In which life of the server the last of them was answered, the first being 0.
    pub last_life: usize,
}

/// `kill -9` of the server under load, so many times. In each life of it a code passes once; meanwhile there is 503, and
/// afterwards there is none, without anything done on this side. What else is to be said is said with the house as it is
/// then.
pub fn killed_under_load<S: Store>(
    house: House<S>,
    server: &mut impl Mortal,
    deaths: usize,
    then: impl FnOnce(&House<S>, Told),
) {
    let house = Arc::new(house);
    // What a moment belongs to: 0 a life of the server, 1 the time without one, 2 the beginning of the next; then 4, and so on.
    let life = Arc::new(AtomicUsize::new(0));
    let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let start = Arc::new(Barrier::new(4));
    let log = Arc::new(Mutex::new(Vec::new()));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (house, life, stop, over, start, log) =
                (house.clone(), life.clone(), stop.clone(), over.clone(), start.clone(), log.clone());
            std::thread::spawn(move || {
                for round in 0.. {
                    // All four race for each code, or all four stop: one of them decides for this round.
                    if start.wait().is_leader() {
                        house.enrol(&format!("user {round}"));
                        over.store(stop.load(Ordering::SeqCst), Ordering::SeqCst);
                    }
                    start.wait();
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let before = life.load(Ordering::SeqCst);
                    let request = request_of(user(&format!("user {round}")), Some(CODE));
                    let said = block_on(house.gate.clone().oneshot(request)).unwrap().status();
                    let after = life.load(Ordering::SeqCst);
                    log.lock().unwrap().push((round, before, after, said));
                }
            })
        })
        .collect();
    let reached = |count: usize| {
        let end = Instant::now() + Duration::from_secs(60);
        let target = log.lock().unwrap().len() + count;
        while log.lock().unwrap().len() < target {
            assert!(Instant::now() < end, "nothing happens any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // Until it serves: a connection that failed just now is the answer to many who come meanwhile.
    let served = || {
        let end = Instant::now() + Duration::from_secs(60);
        while log.lock().unwrap().iter().rev().take(8).any(|(.., said)| *said == UNAVAILABLE) {
            assert!(Instant::now() < end, "it does not serve any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for _ in 0..deaths {
        reached(200);
        server.kill();
        life.fetch_add(1, Ordering::SeqCst);
        // Those that were under way, and then some that begin while nobody is there.
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
    let mut told = Told::new();
    for round in 0..=last {
        let race: Vec<_> = log.iter().filter(|(of, ..)| *of == round).collect();
        let count = |status| race.iter().filter(|(.., said)| *said == status).count();
        let (passed, failed) = (count(OK), count(UNAVAILABLE));
        assert_eq!(passed + failed + count(DENIED), 4, "{race:?}");
        let last_life = race.iter().map(|(_, _, after, _)| after.div_ceil(4)).max().unwrap();
        told.insert(format!("user {round}"), Race { passed, failed, last_life });
        (passes, errors) = (passes + passed, errors + failed);
        let lives: Vec<_> = race.iter().flat_map(|(_, before, after, _)| [*before, *after]).collect();
        if lives.iter().all(|life| life % 4 == 1) {
            assert_eq!(failed, 4, "there was no server: {race:?}");
            meanwhile += 1;
        }
        // A race that is within one life, from its first start to its last end.
        if lives.iter().all(|life| *life == lives[0] && life % 4 == 0) {
            assert!(passed <= 1, "user {round} passed {passed} times within one life");
            assert!(failed > 0 || passed == 1, "the code of user {round} was burnt, and nobody was told");
        }
    }
    assert!(
        passes > 100 && errors >= deaths && meanwhile >= deaths,
        "{passes} passes, {errors} errors, {meanwhile} rounds without a server"
    );
    // The last hundred and more are after the last start: no trouble is left.
    let tail = log.iter().filter(|(round, ..)| *round > last - 50);
    assert!(tail.clone().count() >= 150 && tail.clone().all(|(.., said)| *said != UNAVAILABLE));
    then(&house, told);
}
