//! What tests of your own may want: a clock that they set, verifiers that say what they are told, phones without
//! people, and the suites that every store must pass.
//!
//! Feature `test-util`, for `[dev-dependencies]`. Everything here reports by panicking, as tests do; nothing of it
//! belongs into a program that guards anything.
//!
//! ```
//! use std::time::Duration;
//! use tower_toopher::test_util::ManualClock;
//! use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
//! use tower_toopher::{Attempt, DenyReason, Factor, TotpVerifier, UserId, Verdict};
//! use tower::ServiceExt;
//!
//! # tower_toopher::test_util::block_on(async {
//! let (alice, totp) = (UserId::new("alice")?, Totp::new(Secret::from_bytes(*b"12345678901234567890")?));
//! let users = MemoryPairings::new();
//! users.insert(alice.clone(), Pairing::confirmed(totp.clone()));
//!
//! let clock = ManualClock::at(1_111_111_109);
//! let verifier = TotpVerifier::new(users)?.clock(clock.reading());
//!
//! let attempt = Attempt::new(alice, "test").with_otp(Some(totp.code_at(clock.now())));
//! assert_eq!(verifier.clone().oneshot(attempt.clone()).await?, Verdict::Granted(Factor::Totp));
//! clock.advance(3600);
//! assert_eq!(verifier.oneshot(attempt).await?, Verdict::Denied(DenyReason::WrongOtp));
//! # Ok::<(), tower_toopher::BoxError>(())
//! # }).unwrap();
//! ```

#![allow(clippy::unwrap_used)]

mod clock;
#[doc(hidden)]
pub mod conformance;
#[doc(hidden)]
pub mod failures;
mod phones;
#[doc(hidden)]
pub mod pushes;
#[doc(hidden)]
pub mod races;
mod scripted;

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

pub use self::clock::ManualClock;
pub use self::phones::{Answer, FakePhones};
pub use self::scripted::ScriptedVerifier;
use crate::store::Store;
#[doc(inline)]
pub use crate::{__push_store_conformance as push_store_conformance, __store_conformance as store_conformance};

/// One for all tests of a process, so that what a store keeps going in the background outlives the test that began it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().enable_all().build().unwrap());

/// Waits for a future, in a Tokio runtime that lasts as long as the process.
///
/// # Panics
///
/// Within another runtime, or when the system gives no threads.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// What `make` gives, made within that runtime.
#[doc(hidden)]
pub fn made<M: Made>(make: impl FnOnce() -> M) -> Option<M::Store> {
    let _entered = RUNTIME.enter();
    make().store()
}

/// A store, or none where there cannot be one.
#[doc(hidden)]
pub trait Made {
    type Store;
    fn store(self) -> Option<Self::Store>;
}

impl<S: Store> Made for S {
    type Store = S;

    fn store(self) -> Option<S> {
        Some(self)
    }
}

impl<S: Store> Made for Option<S> {
    type Store = S;

    fn store(self) -> Self {
        self
    }
}
