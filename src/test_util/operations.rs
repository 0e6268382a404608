//! The operations of a store, as the suites call them: they wait for the result, and panic after an error.

use std::time::Duration;

use super::runtime::block_on;
use crate::store::{Admission, Records, StepOutcome, Store, Throttle, UsedStep};
use crate::time::UnixTime;
use crate::verify::{BoxError, UserId};

/// The start of every test, in seconds: more than 32 bits.
pub const NOW: u64 = 20_000_000_000;
/// How long steps are kept, in seconds: longer than every test.
pub(super) const KEEP: u64 = 1000;
pub(super) const ADMITTED: Admission = Admission::Admitted;

/// The user with this id.
#[must_use]
pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// A duration in seconds.
#[must_use]
pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The time at this number of seconds since 1970.
#[must_use]
pub fn time(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds)
}

pub(super) fn throttled(seconds: u64) -> Admission {
    Admission::Throttled { retry_after: secs(seconds) }
}

pub(super) fn ok<T, E: Into<BoxError>>(result: Result<T, E>) -> T {
    result.map_err(Into::into).unwrap()
}

/// Counts an attempt under the default throttle.
pub fn admit<S: Store>(store: &S, id: &str, now: u64) -> Admission {
    admit_under(store, id, &Throttle::default(), time(now))
}

pub(super) fn admit_under<S: Store>(store: &S, id: &str, throttle: &Throttle, now: UnixTime) -> Admission {
    ok(block_on(store.count_attempt(&user(id), throttle, now)))
}

pub(super) fn release<S: Store>(store: &S, id: &str, throttle: &Throttle) {
    ok(block_on(store.release_attempt(&user(id), throttle)));
}

/// Records a step of a device.
pub fn record<S: Store>(store: &S, id: &str, device: &str, step: u64, now: u64) -> StepOutcome {
    record_until(store, id, device, step, time(now + KEEP), time(now))
}

pub(super) fn record_until<S: Store>(
    store: &S,
    id: &str,
    device: &str,
    step: u64,
    keep_until: UnixTime,
    now: UnixTime,
) -> StepOutcome {
    ok(block_on(store.record_step(&user(id), &UsedStep::new(device, step, keep_until), now)))
}

pub(super) fn clear<S: Store>(store: &S, id: &str, records: Records) {
    ok(block_on(store.clear(&user(id), records)));
}
