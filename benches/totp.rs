//! What verifying one-time passwords costs: behind the gate, and alone.
//!
//! Run with `cargo bench --bench totp`. The peer is `totp-rs`, which records nothing: it counts no failures, and lets a
//! code pass as often as it comes. Each batch has one request of each of a thousand users, and lies a year and more
//! after the one before, so that no failure and no spent code is left of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::result_large_err)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use support::services::Bare;
use support::{Contender, compare, now};
use tower::{Layer, Service};
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_toopher::store::{Admission, Spend, Store, Throttle};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
use tower_toopher::{Action, Factor, Otp, SecondFactor, ToopherLayer, UserId};

const USERS: usize = 1000;
const YEAR_AND_MORE: u64 = 400 * 24 * 60 * 60;

type Body = Full<Bytes>;

fn main() {
    let users = Users::new();
    compare(
        "the whole local TOTP gate",
        vec![
            behind_the_gate("AsyncRequireAuthorization + totp-rs, right", &users, by_hand, Code::Right),
            behind_the_gate("AsyncRequireAuthorization + totp-rs, wrong", &users, by_hand, Code::Wrong),
            behind_the_gate("gate, right", &users, gate, Code::Right)
                .against("AsyncRequireAuthorization + totp-rs, right", 1.00),
            behind_the_gate("gate, wrong", &users, gate, Code::Wrong)
                .against("AsyncRequireAuthorization + totp-rs, wrong", 0.80),
            behind_the_gate("gate, used", &users, gate, Code::Used)
                .against("AsyncRequireAuthorization + totp-rs, right", None),
        ],
    );
    compare(
        "TOTP verification alone",
        vec![
            alone_by_totp_rs("totp-rs, right", Code::Right),
            alone_by_totp_rs("totp-rs, wrong", Code::Wrong),
            alone("TotpVerifier, right", Code::Right).against("totp-rs, right", None),
            alone("TotpVerifier, wrong", Code::Wrong).against("totp-rs, wrong", 0.70),
        ],
    );
}

#[derive(Clone, Copy, PartialEq)]
enum Code {
    Right,
    Wrong,
    /// A right one that has let its user in.
    Used,
}

/// A thousand users, each with a secret, and the time that it is.
#[derive(Clone)]
struct Users {
    of: Arc<Vec<(UserId, Vec<u8>)>>,
    seconds: Arc<AtomicU64>,
}

impl Users {
    fn new() -> Self {
        let secret = |i: usize| format!("{i:020}").into_bytes();
        let of = (0..USERS).map(|i| (UserId::new(format!("user-{i:04}")).unwrap(), secret(i))).collect();
        Self { of: Arc::new(of), seconds: Arc::new(AtomicU64::new(1_700_000_000)) }
    }

    /// The same with a time of its own.
    fn apart(&self) -> Self {
        Self { of: Arc::clone(&self.of), seconds: Arc::new(AtomicU64::new(1_700_000_000)) }
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.seconds.load(Ordering::Relaxed))
    }

    /// A clock that takes as long to read as the system's.
    fn clock(&self) -> impl Fn() -> SystemTime + Clone + Send + Sync + use<> {
        let users = self.clone();
        move || {
            black_box(SystemTime::now());
            UNIX_EPOCH + users.now()
        }
    }

    fn codes(&self, code: Code) -> impl Iterator<Item = (UserId, Otp)> {
        // Now and then it is right, of which each contender has its share.
        let wrong: Otp = "000000".parse().unwrap();
        self.of.iter().map(move |(user, secret)| {
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

// The whole way.

fn behind_the_gate<S>(name: &'static str, users: &Users, build: fn(&Users) -> S, code: Code) -> Contender
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + 'static,
{
    let users = users.apart();
    let mut service = build(&users);
    let mut before = service.clone();
    let make = move || {
        users.seconds.fetch_add(YEAR_AND_MORE, Ordering::Relaxed);
        if code == Code::Used {
            for request in users.requests(code) {
                assert_eq!(now(before.call(request)).unwrap().status(), StatusCode::OK);
            }
        }
        users.requests(code)
    };
    let expected = if code == Code::Right { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    let (mut calls, mut as_expected) = (0_u32, 0_u32);
    Contender::each(name, make, move |request| {
        let response = now(service.call(request)).unwrap();
        calls += 1;
        as_expected += u32::from(response.status() == expected);
        // A wrong code is right three times in a million.
        assert!(calls - as_expected <= 1 + calls / 10_000, "{name}");
        response
    })
}

fn gate(users: &Users) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let pairings = MemoryPairings::new();
    for (user, secret) in users.of.iter() {
        pairings.insert(user.clone(), Pairing::confirmed(totp(secret)));
    }
    ToopherLayer::new(TotpVerifier::new(pairings).unwrap().clock(users.clock())).layer(Bare)
}

/// What one would write: who, which code, is it right, and the proof for the inner service.
fn by_hand(
    users: &Users,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    let secrets: HashMap<_, _> = users.of.iter().map(|(user, secret)| (user.clone(), peer_totp(secret))).collect();
    let (secrets, clock, action) = (Arc::new(RwLock::new(secrets)), users.clock(), Action::from("log in"));
    let authorize = move |mut request: Request<Body>| {
        let mut decide = || {
            let user = request.extensions().get::<UserId>().cloned()?;
            let otp = Otp::parse(request.headers_mut().remove("toopher-otp")?.as_bytes()).ok()?;
            let now = clock().duration_since(UNIX_EPOCH).ok()?.as_secs();
            secrets.read().ok()?.get(&user)?.check(otp.as_str(), now)?;
            request.extensions_mut().insert(SecondFactor::new(user, action.clone(), Factor::Totp));
            Some(())
        };
        ready(if decide().is_some() { Ok(request) } else { Err(refusal()) })
    };
    AsyncRequireAuthorizationLayer::new(authorize).layer(Bare)
}

/// With the headers and the body that the gate gives its own.
fn refusal() -> Response<Body> {
    let json =
        r#"{"type":"urn:tower-toopher:otp_invalid","title":"The one-time password was not accepted","status":401}"#;
    Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .header("cache-control", "no-store")
        .header("www-authenticate", "Toopher realm=\"second factor\", error=\"otp_invalid\"")
        .header("content-type", "application/problem+json")
        .header("content-length", json.len())
        .body(Body::from(json))
        .unwrap()
}

// Verification alone: a code, a secret, and the time.

/// Remembers nothing, as the peer.
struct Forgetful;

impl Store for Forgetful {
    type Error = Infallible;

    fn count_attempt(
        &self,
        _: &UserId,
        _: &Throttle,
        _: Duration,
    ) -> impl Future<Output = Result<Admission, Infallible>> + Send {
        ready(Ok(Admission::Admitted))
    }

    fn take_back_attempt(&self, _: &UserId, _: &Throttle) -> impl Future<Output = Result<(), Infallible>> + Send {
        ready(Ok(()))
    }

    fn spend_step(
        &self,
        _: &UserId,
        _: &str,
        _: u64,
        _: Duration,
        _: Duration,
    ) -> impl Future<Output = Result<Spend, Infallible>> + Send {
        ready(Ok(Spend::Fresh))
    }

    fn clear_failures(&self, _: &UserId) -> impl Future<Output = Result<(), Infallible>> + Send {
        ready(Ok(()))
    }
}

fn alone(name: &'static str, code: Code) -> Contender {
    let users = Users::new();
    let pairings: Vec<_> = users.of.iter().map(|(_, secret)| Pairing::confirmed(totp(secret))).collect();
    let verifier = TotpVerifier::new(MemoryPairings::new()).unwrap().store(Forgetful).clock(users.clock());
    let make = move || users.codes(code).enumerate().collect();
    Contender::each(name, make, move |(i, (user, otp)): (usize, (UserId, Otp))| {
        now(verifier.verify_otp(&user, std::slice::from_ref(&pairings[i]), &otp)).unwrap()
    })
}

fn alone_by_totp_rs(name: &'static str, code: Code) -> Contender {
    let users = Users::new();
    let secrets: Vec<_> = users.of.iter().map(|(_, secret)| peer_totp(secret)).collect();
    let clock = users.clock();
    let make = move || users.codes(code).enumerate().collect();
    Contender::each(name, make, move |(i, (_, otp)): (usize, (UserId, Otp))| {
        let now = clock().duration_since(UNIX_EPOCH).unwrap().as_secs();
        secrets[i].check(otp.as_str(), now)
    })
}
