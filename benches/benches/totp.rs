//! The cost of verifying one-time passwords: through the layer, and alone.
//!
//! Run with `cargo bench -p tower-toopher-benches --bench totp`, and with `--features full` to measure tower-toopher
//! with all its features. The peer is `totp-rs`, which stores nothing: it counts no failures and accepts a code any
//! number of times. A second peer, "with a map", is what a careful team would write around it: failures are counted
//! before a code is checked and delay the next attempt, and a step is accepted once, in a `Mutex<HashMap>`. Each batch
//! has one request of each of 1,000 users. Between two batches the clock advances by more than a year, so that all
//! failures and used codes of the batch before have expired.
#![allow(clippy::result_large_err)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_toopher::store::{Admission, Records, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
use tower_toopher::{Action, Factor, Otp, SecondFactor, ToopherLayer, TotpVerifier, UserId};
use tower_toopher_benches::services::{InnerService, refusal};
use tower_toopher_benches::{Contender, compare, poll_once};

const USERS: usize = 1000;
const OVER_A_YEAR_SECONDS: u64 = 400 * 24 * 60 * 60;

type Body = Full<Bytes>;

fn main() {
    compare(
        "the whole local TOTP path",
        vec![
            whole("AsyncRequireAuthorization + totp-rs, right", totp_rs_service, Code::Right),
            whole("AsyncRequireAuthorization + totp-rs, wrong", totp_rs_service, Code::Wrong),
            whole("layer, right", service, Code::Right).relative_to("AsyncRequireAuthorization + totp-rs, right", 1.45),
            whole("layer, wrong", service, Code::Wrong).relative_to("AsyncRequireAuthorization + totp-rs, wrong", 0.95),
            whole("layer, used", service, Code::Used).relative_to("AsyncRequireAuthorization + totp-rs, right", None),
        ],
    );
    compare(
        "the whole local TOTP path, failures counted and codes used up by both",
        vec![
            whole("totp-rs with a map, right", map_service, Code::Right),
            whole("totp-rs with a map, wrong", map_service, Code::Wrong),
            whole("layer, right", service, Code::Right).relative_to("totp-rs with a map, right", 1.10),
            whole("layer, wrong", service, Code::Wrong).relative_to("totp-rs with a map, wrong", 0.80),
        ],
    );
    compare(
        "TOTP verification alone",
        vec![
            totp_rs_alone("totp-rs, right", Code::Right),
            totp_rs_alone("totp-rs, wrong", Code::Wrong),
            verifier_alone("TotpVerifier, right", Code::Right).relative_to("totp-rs, right", None),
            verifier_alone("TotpVerifier, wrong", Code::Wrong).relative_to("totp-rs, wrong", 0.70),
        ],
    );
}

/// The code in a request.
#[derive(Clone, Copy, PartialEq)]
enum Code {
    Right,
    Wrong,
    /// A right code that was accepted in an earlier request.
    Used,
}

/// Users with their secrets, and a clock.
#[derive(Clone)]
struct Users {
    secrets: Arc<Vec<(UserId, Vec<u8>)>>,
    seconds: Arc<AtomicU64>,
}

impl Users {
    fn new() -> Self {
        let secret = |i: usize| format!("{i:020}").into_bytes();
        let secrets = (0..USERS).map(|i| (UserId::new(format!("user-{i:04}")).unwrap(), secret(i))).collect();
        Self { secrets: Arc::new(secrets), seconds: Arc::new(AtomicU64::new(1_700_000_000)) }
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    /// Returns a clock that also reads the system clock, so that a reading takes a realistic time.
    fn clock(&self) -> impl Fn() -> UnixTime + Clone + Send + Sync + use<> {
        let users = self.clone();
        move || {
            black_box(SystemTime::now());
            users.now()
        }
    }

    fn codes(&self, code: Code) -> impl Iterator<Item = (UserId, Otp)> {
        // This code is right for a few users in a million. All contenders have the same share of them.
        let wrong: Otp = "000000".parse().unwrap();
        self.secrets.iter().map(move |(user, secret)| {
            let otp = if code == Code::Wrong { wrong.clone() } else { totp(secret).code_at(self.now()) };
            (user.clone(), otp)
        })
    }

    fn requests(&self, code: Code) -> Vec<Request<Body>> {
        let request = |(user, otp): (UserId, Otp)| {
            Request::get("/").header("toopher-otp", otp.as_str()).extension(user).body(Body::default()).unwrap()
        };
        self.codes(code).map(request).collect()
    }
}

fn totp(secret: &[u8]) -> Totp {
    Totp::new(Secret::from_bytes(secret).unwrap())
}

fn peer_totp(secret: &[u8]) -> totp_rs::Totp {
    totp_rs::Builder::new().with_secret(secret.to_vec()).build().unwrap()
}

// The whole path, from the request to the response.

fn whole<S>(name: &'static str, build: fn(&Users) -> S, code: Code) -> Contender
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + 'static,
{
    let users = Users::new();
    let mut service = build(&users);
    let mut first_use = service.clone();
    let make_requests = move || {
        users.seconds.fetch_add(OVER_A_YEAR_SECONDS, Ordering::Relaxed);
        if code == Code::Used {
            for request in users.requests(code) {
                assert_eq!(poll_once(first_use.call(request)).unwrap().status(), StatusCode::OK);
            }
        }
        users.requests(code)
    };
    let expected = if code == Code::Right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let (mut calls, mut as_expected) = (0_u32, 0_u32);
    Contender::new(name, make_requests, move |request| {
        let response = poll_once(service.call(request)).unwrap();
        calls += 1;
        as_expected += u32::from(response.status() == expected);
        // A guessed code is right three times in a million, once for each step of the window.
        assert!(calls - as_expected <= 1 + calls / 10_000, "{name}");
        response
    })
}

fn service(
    users: &Users,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let pairings = MemoryPairings::new();
    for (user, secret) in users.secrets.iter() {
        pairings.insert(user.clone(), Pairing::confirmed(totp(secret)));
    }
    ToopherLayer::new(TotpVerifier::new(pairings).unwrap().clock(users.clock())).layer(InnerService)
}

/// Does what an application would do without tower-toopher: finds the user, checks the code, and inserts the
/// `SecondFactor` for the inner service.
fn totp_rs_service(
    users: &Users,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let (secrets, clock, action) = (Arc::new(RwLock::new(peer_secrets(users))), users.clock(), Action::from("log in"));
    let authorize = move |mut request: Request<Body>| {
        let mut decide = || {
            let user = request.extensions().get::<UserId>().cloned()?;
            let otp = Otp::parse(request.headers_mut().remove("toopher-otp")?.as_bytes()).ok()?;
            secrets.read().ok()?.get(&user)?.check(otp.as_str(), clock().as_secs())?;
            request.extensions_mut().insert(SecondFactor::new(user, action.clone(), Factor::Totp));
            Some(())
        };
        ready(if decide().is_some() { Ok(request) } else { Err(refusal()) })
    };
    AsyncRequireAuthorizationLayer::new(authorize).layer(InnerService)
}

fn peer_secrets(users: &Users) -> HashMap<UserId, totp_rs::Totp> {
    users.secrets.iter().map(|(user, secret)| (user.clone(), peer_totp(secret))).collect()
}

/// What a careful team would keep of each user.
#[derive(Default)]
struct Account {
    failures: u32,
    last_attempt: u64,
    last_step: u64,
}

impl Account {
    const FREE_FAILURES: u32 = 5;
    const LOCKED_OUT: u32 = 100;
    const REMEMBERED_SECONDS: u64 = 24 * 60 * 60;

    /// Counts an attempt as a failure before it is checked, unless the user has to wait.
    fn begin(&mut self, now: u64) -> Option<()> {
        if now > self.last_attempt + Self::REMEMBERED_SECONDS {
            self.failures = 0;
        }
        let doublings = self.failures.saturating_sub(Self::FREE_FAILURES).min(12);
        let delay = if doublings == 0 { 0 } else { 1 << doublings };
        if self.failures >= Self::LOCKED_OUT || now < self.last_attempt + delay {
            return None;
        }
        self.failures += 1;
        self.last_attempt = now;
        Some(())
    }

    /// Deletes the failures, unless the step was used before.
    fn succeed(&mut self, step: u64) -> Option<()> {
        if step <= self.last_step {
            return None;
        }
        self.last_step = step;
        self.failures = 0;
        Some(())
    }
}

/// Does the same as [`totp_rs_service`], counts failures, and accepts each step once.
fn map_service(
    users: &Users,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let (secrets, clock, action) = (Arc::new(RwLock::new(peer_secrets(users))), users.clock(), Action::from("log in"));
    let accounts: Arc<Mutex<HashMap<UserId, Account>>> = Arc::default();
    let authorize = move |mut request: Request<Body>| {
        let mut decide = || {
            let user = request.extensions().get::<UserId>().cloned()?;
            let otp = Otp::parse(request.headers_mut().remove("toopher-otp")?.as_bytes()).ok()?;
            let now = clock().as_secs();
            accounts.lock().ok()?.entry(user.clone()).or_default().begin(now)?;
            let step = secrets.read().ok()?.get(&user)?.check(otp.as_str(), now)?;
            accounts.lock().ok()?.get_mut(&user)?.succeed(step)?;
            request.extensions_mut().insert(SecondFactor::new(user, action.clone(), Factor::Totp));
            Some(())
        };
        ready(if decide().is_some() { Ok(request) } else { Err(refusal()) })
    };
    AsyncRequireAuthorizationLayer::new(authorize).layer(InnerService)
}

// Verification alone: a code, a secret, and the time.

fn verifier_alone(name: &'static str, code: Code) -> Contender {
    let users = Users::new();
    let pairings: Vec<_> = users.secrets.iter().map(|(_, secret)| Pairing::confirmed(totp(secret))).collect();
    let verifier = TotpVerifier::new(MemoryPairings::new()).unwrap().store(NullStore).clock(users.clock());
    let make_codes = move || users.codes(code).enumerate().collect();
    Contender::new(name, make_codes, move |(i, (user, otp)): (usize, (UserId, Otp))| {
        poll_once(verifier.verify_otp(&user, std::slice::from_ref(&pairings[i]), &otp)).unwrap()
    })
}

fn totp_rs_alone(name: &'static str, code: Code) -> Contender {
    let users = Users::new();
    let secrets: Vec<_> = users.secrets.iter().map(|(_, secret)| peer_totp(secret)).collect();
    let clock = users.clock();
    let make_codes = move || users.codes(code).enumerate().collect();
    Contender::new(name, make_codes, move |(i, (_, otp)): (usize, (UserId, Otp))| {
        secrets[i].check(otp.as_str(), clock().as_secs())
    })
}

/// Stores nothing, as `totp-rs` does.
struct NullStore;

impl Store for NullStore {
    type Error = Infallible;

    async fn count_attempt(&self, _: &UserId, _: &Throttle, _: UnixTime) -> Result<Admission, Infallible> {
        Ok(Admission::Admitted)
    }

    async fn release_attempt(&self, _: &UserId, _: &Throttle) -> Result<(), Infallible> {
        Ok(())
    }

    async fn record_step(&self, _: &UserId, _: &UsedStep, _: UnixTime) -> Result<StepOutcome, Infallible> {
        Ok(StepOutcome::Fresh)
    }

    async fn clear(&self, _: &UserId, _: Records) -> Result<(), Infallible> {
        Ok(())
    }
}
