//! What the tests of the gate share. Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

pub mod browser;
pub mod burst;
pub mod cluster;
pub mod example;
pub mod heard;
pub mod house;
pub mod phones;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod resp;
pub mod stores;
pub mod toopher;
pub mod trouble;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;
pub use tower_toopher::test_util::{ManualClock as Clock, ScriptedVerifier as Says};
use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp, TotpVerifier};
use tower_toopher::{Rejection, RejectionKind, UserId};

/// The seed of RFC 6238's SHA-1 vectors.
pub const K20: &[u8; 20] = b"12345678901234567890";
/// A moment at which K20's code is 081804, the last second of its step.
pub const T: u64 = 1_111_111_109;
pub const CODE: &str = "081804";
/// K20's code of the step after.
pub const NEXT_CODE: &str = "050471";

pub type Body = Full<Bytes>;

pub fn alice() -> UserId {
    user("alice")
}

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn k20() -> Totp {
    Totp::new(Secret::from_bytes(*K20).unwrap())
}

/// A verifier that knows alice with K20, and a clock that stands at [`T`].
pub fn totp_verifier() -> (TotpVerifier<MemoryPairings>, Clock, MemoryPairings) {
    let (clock, users) = (Clock::at(T), MemoryPairings::new());
    users.insert(alice(), Pairing::confirmed(k20()));
    let verifier = TotpVerifier::new(users.clone()).unwrap().clock(clock.reading());
    (verifier, clock, users)
}

/// A request of alice's with this OTP header.
pub fn request(otp: Option<&str>) -> Request<Body> {
    request_of(alice(), otp)
}

pub fn request_of(user: UserId, otp: Option<&str>) -> Request<Body> {
    let builder = Request::builder().uri("/account").extension(user);
    let builder = match otp {
        Some(otp) => builder.header("Toopher-OTP", otp),
        None => builder,
    };
    builder.body(Body::default()).unwrap()
}

pub fn kind<B>(response: &Response<B>) -> Option<RejectionKind> {
    response.extensions().get::<Rejection>().map(Rejection::kind)
}

/// Counts the calls that reach it.
#[derive(Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An inner service that panics unless the very instance that is called was made ready, once for each call.
pub struct Strict {
    pub calls: Calls,
    ready: bool,
}

impl Strict {
    pub fn new(calls: &Calls) -> Self {
        Self { calls: calls.clone(), ready: false }
    }
}

impl Clone for Strict {
    /// A clone is never ready.
    fn clone(&self) -> Self {
        Self::new(&self.calls)
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been made ready");
        self.calls.add();
        std::future::ready(Ok(Response::new(Body::from("inner"))))
    }
}

/// Whether these programs can be run. Where one is missing the test that wants them says so and is over, unless
/// `REQUIRE_TOOLS` is set, as it is in `tests/all.sh`.
pub fn have(programs: &[&str]) -> bool {
    let found = |program: &&&str| {
        std::process::Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status()
    };
    let missing: Vec<_> =
        programs.iter().filter(|program| !found(program).is_ok_and(|status| status.success())).collect();
    assert!(missing.is_empty() || std::env::var_os("REQUIRE_TOOLS").is_none(), "not installed: {missing:?}");
    if !missing.is_empty() {
        skipped(&format!("these programs are not installed: {missing:?}"));
    }
    missing.is_empty()
}

/// Says that a test is over before it has begun. Past the one who runs it, who shows nothing of what passes.
pub fn skipped(why: &str) {
    use std::io::Write;
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    // In one piece, since others write as well.
    let line = format!("{name}: skipped, since {why} (tests/all.sh installs what is missing)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// What a program prints.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
