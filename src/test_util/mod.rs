//! Test utilities: a manual clock, a scripted verifier, simulated phones, the conformance suites of stores, and a suite
//! for the responses to unknown users.
//!
//! Use the feature `test-util` in `[dev-dependencies]`. These utilities panic where a test would, and do not belong in
//! a program that is not a test.
//!
//! ```
//! use tower::ServiceExt;
//! use tower_toopher::test_util::ManualClock;
//! use tower_toopher::totp::{MemoryPairings, Pairing, Secret, Totp};
//! use tower_toopher::{Attempt, DenyReason, Factor, TotpVerifier, UserId, Verdict};
//!
//! # tower_toopher::test_util::block_on(async {
//! let (alice, totp) = (UserId::new("alice")?, Totp::new(Secret::from_bytes(*b"12345678901234567890")?));
//! let users = MemoryPairings::new();
//! users.insert(alice.clone(), Pairing::confirmed(totp.clone()));
//!
//! let clock = ManualClock::from_secs(1_111_111_109);
//! let verifier = TotpVerifier::new(users)?.clock(&clock);
//!
//! let attempt = Attempt::new(alice, "test").with_otp(totp.code_at(clock.now()));
//! assert_eq!(verifier.clone().oneshot(attempt.clone()).await?, Verdict::Granted(Factor::Totp));
//! clock.advance(3600);
//! assert_eq!(verifier.oneshot(attempt).await?, Verdict::Denied(DenyReason::WrongOtp));
//! # Ok::<(), tower_toopher::BoxError>(())
//! # }).unwrap();
//! ```

#![allow(clippy::unwrap_used)]

#[doc(hidden)]
mod approval_operations;
#[doc(hidden)]
pub mod approvals;
#[doc(hidden)]
mod clearing;
mod clock;
#[doc(hidden)]
pub mod conformance;
#[doc(hidden)]
mod failures;
#[doc(hidden)]
mod operations;
mod phones;
#[doc(hidden)]
mod races;
mod runtime;
mod scripted;
mod unknown;

pub use self::clock::ManualClock;
pub use self::phones::{Decision, FakePhones};
pub use self::runtime::block_on;
#[doc(hidden)]
pub use self::runtime::{IntoStore, make_store};
pub use self::scripted::ScriptedVerifier;
pub use self::unknown::assert_unknown_is_like_wrong;
#[doc(inline)]
pub use crate::{__approval_store_conformance as approval_store_conformance, __store_conformance as store_conformance};
