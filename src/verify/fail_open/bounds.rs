//! How many requests are forwarded, for how long, and for which users.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::verify::UserId;

/// How long a user who was denied cannot pass by fail-open, unless a factor was verified since.
const DENIED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// The maximum number of remembered denials. While there are more, fail-open forwards no request.
const MAX_DENIED: usize = 10_000;
/// The minimum time between two sweeps of the denials, because a sweep visits all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The limits of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The maximum number of forwarded requests within `window`.
    pub(super) requests: u32,
    pub(super) window: Duration,
    /// How long one failure may forward requests.
    pub(super) max_duration: Duration,
}

/// What all clones of a layer share.
#[derive(Default)]
pub(super) struct Bounds {
    /// When requests were forwarded within the last window.
    forwarded: VecDeque<Instant>,
    /// When the first request of the current failure was forwarded.
    open_since: Option<Instant>,
    /// The last error of a configured class.
    last_error_at: Option<Instant>,
    /// Whether a factor was verified since the first forwarded request.
    recovered: bool,
    denied: HashMap<UserId, Instant>,
    /// When there was last no capacity for one more denial.
    table_full_at: Option<Instant>,
    last_sweep: Option<Instant>,
}

impl Bounds {
    /// Whether a request of `user` may be forwarded although the verifier failed. If so, it is counted.
    pub(super) fn try_forward(&mut self, user: &UserId, limits: Limits, now: Instant) -> bool {
        let within = |then: &Instant, time: Duration| now.saturating_duration_since(*then) < time;
        let previous = self.last_error_at.replace(now);
        let quiet = previous.is_none_or(|then| now.saturating_duration_since(then) > limits.window);
        if quiet && self.recovered {
            self.open_since = None;
        }
        if self.denied.get(user).is_some_and(|then| within(then, DENIED_FOR))
            || self.table_full_at.is_some_and(|then| within(&then, DENIED_FOR))
            || self.open_since.is_some_and(|then| !within(&then, limits.max_duration))
        {
            return false;
        }
        while self.forwarded.front().is_some_and(|then| !within(then, limits.window)) {
            self.forwarded.pop_front();
        }
        if self.forwarded.len() >= limits.requests as usize {
            return false;
        }
        self.forwarded.push_back(now);
        if self.open_since.is_none() {
            (self.open_since, self.recovered) = (Some(now), false);
        }
        true
    }

    /// Records that the user has shown a factor.
    pub(super) fn record_granted(&mut self, user: &UserId) {
        self.recovered = true;
        self.denied.remove(user);
    }

    /// Records that the user was denied.
    pub(super) fn record_denial(&mut self, user: &UserId, now: Instant) {
        if self.denied.len() >= MAX_DENIED && !self.denied.contains_key(user) {
            if self.last_sweep.is_none_or(|then| now.saturating_duration_since(then) >= SWEEP_INTERVAL) {
                self.denied.retain(|_, then| now.saturating_duration_since(*then) < DENIED_FOR);
                self.last_sweep = Some(now);
            }
            if self.denied.len() >= MAX_DENIED {
                self.table_full_at = Some(now);
                return;
            }
        }
        self.denied.insert(user.clone(), now);
    }
}
