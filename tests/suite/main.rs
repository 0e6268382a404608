//! The tests of the package by area. Each area needs the features of what it tests.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(clippy::unwrap_used, reason = "a failure is the result of a test")]

mod approvals;
#[cfg(any(feature = "client", feature = "client-hyper"))]
mod client;
#[cfg(feature = "grants")]
mod grants;
mod middleware;
mod stores;
mod support;
mod totp;
