//! A gate before a service, both as in one process, over a store whose server comes to harm.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use http::StatusCode;
use tower::{Layer, ServiceExt};
use tower_toopher::gate::ToopherService;
use tower_toopher::store::{RedisStore, Store, Throttle};
use tower_toopher::test_util::block_on;
use tower_toopher::totp::MemoryPairings;
use tower_toopher::{Header, ProblemJson, ToopherLayer, TotpVerifier};

use super::{Calls, Clock, Strict, k20, request_of, totp_verifier, user};

pub const OK: StatusCode = StatusCode::OK;
pub const DENIED: StatusCode = StatusCode::UNAUTHORIZED;
pub const THROTTLED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
pub const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

type Gate<S> = ToopherService<Strict, TotpVerifier<MemoryPairings, S>, Header, ProblemJson>;

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
}
