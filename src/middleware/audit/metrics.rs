//! Decisions and the verifier's duration through the `metrics` facade.
//!
//! The keys are built at compile time, so counting allocates no memory. The values of the labels are stable names of
//! this crate and never text of a request.

use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Unit};

use super::outcome::Outcome;
use crate::middleware::response::RejectionKind;
use crate::verify::{BypassReason, DenyReason, ErrorClass, Factor, FactorName};

const DECISIONS: &str = "tower_toopher_decisions_total";
const VERIFIER_DURATION: &str = "tower_toopher_verifier_duration_seconds";
const REPLAYS: &str = "tower_toopher_replays_total";
const THROTTLED: &str = "tower_toopher_throttled_total";
const SINK_PANICS: &str = "tower_toopher_audit_panics_total";

static METADATA: Metadata<'static> = Metadata::new("tower_toopher", Level::INFO, Some("tower_toopher"));

/// Describes the metrics to the installed recorder, so that an exporter can add help texts. The metrics are counted
/// without it too.
pub fn describe_metrics() {
    metrics::with_recorder(|recorder| {
        let counters = [
            (DECISIONS, "Decisions of the layer, by outcome, reason and factor."),
            (REPLAYS, "One-time passwords that were used before."),
            (THROTTLED, "Requests of users who are throttled or locked out after failed attempts."),
            (SINK_PANICS, "Panics of the audit sink."),
        ];
        for (name, description) in counters {
            recorder.describe_counter(name.into(), Some(Unit::Count), description.into());
        }
        let description = "Duration of the verifier's call, by outcome.";
        recorder.describe_histogram(VERIFIER_DURATION.into(), Some(Unit::Seconds), description.into());
    });
}

pub(super) fn count(outcome: Outcome, verifier_duration: Option<Duration>) {
    let keys = keys(outcome);
    metrics::with_recorder(|recorder| {
        let increment = |key| recorder.register_counter(key, &METADATA).increment(1);
        increment(&keys.decisions);
        match outcome.denial() {
            Some(DenyReason::ReplayedOtp) => increment(&keys.replays),
            Some(DenyReason::Throttled { .. } | DenyReason::LockedOut) => increment(&keys.throttled),
            _ => {}
        }
        if let Some(duration) = verifier_duration {
            recorder.register_histogram(&keys.verifier_duration, &METADATA).record(duration.as_secs_f64());
        }
    });
}

pub(super) fn sink_panicked() {
    static KEY: Key = Key::from_static_name(SINK_PANICS);
    metrics::with_recorder(|recorder| recorder.register_counter(&KEY, &METADATA).increment(1));
}

/// The keys of one outcome.
struct Keys {
    decisions: Key,
    replays: Key,
    throttled: Key,
    verifier_duration: Key,
}

impl Keys {
    /// `labels` are outcome, reason and factor.
    const fn new(labels: &'static [Label; 3]) -> Self {
        let (outcome, more) = labels.split_at(1);
        let (reason, _) = more.split_at(1);
        Self {
            decisions: Key::from_static_parts(DECISIONS, labels),
            replays: Key::from_static_name(REPLAYS),
            throttled: Key::from_static_parts(THROTTLED, reason),
            verifier_duration: Key::from_static_parts(VERIFIER_DURATION, outcome),
        }
    }
}

const fn labels(outcome: Outcome) -> [Label; 3] {
    [
        Label::from_static_parts("outcome", outcome.name()),
        Label::from_static_parts("reason", or_none(outcome.reason())),
        Label::from_static_parts("factor", or_none(outcome.factor())),
    ]
}

const fn or_none(name: Option<&'static str>) -> &'static str {
    match name {
        Some(name) => name,
        None => "none",
    }
}

/// A match with the keys of each outcome in a `static`. A value stands for all outcomes with the same names.
macro_rules! keys {
    ($outcome:expr; $($pattern:pat => $value:expr,)*) => {
        match $outcome {
            $($pattern => {
                static LABELS: [Label; 3] = labels($value);
                static KEYS: Keys = Keys::new(&LABELS);
                &KEYS
            })*
        }
    };
}

fn keys(outcome: Outcome) -> &'static Keys {
    use BypassReason::{FailOpen, NotEnrolled};
    use Outcome::{AlreadyVerified, Bypassed, Cancelled, Granted, Rejected, Reused, Skipped};
    use RejectionKind::{
        AmbiguousOtp, BodyTooLarge, Denied, MalformedOtp, Pending, Unavailable, Unidentified, UnreadableBody,
    };
    const OTHER: Factor = Factor::Other(FactorName::PLACEHOLDER);
    const ZERO: Duration = Duration::ZERO;
    keys! { outcome;
        Granted(Factor::Totp) => Granted(Factor::Totp),
        Granted(Factor::RecoveryCode) => Granted(Factor::RecoveryCode),
        Granted(Factor::Push) => Granted(Factor::Push),
        Granted(Factor::Other(_)) => Granted(OTHER),
        AlreadyVerified => AlreadyVerified,
        Reused(Factor::Totp) => Reused(Factor::Totp),
        Reused(Factor::RecoveryCode) => Reused(Factor::RecoveryCode),
        Reused(Factor::Push) => Reused(Factor::Push),
        Reused(Factor::Other(_)) => Reused(OTHER),
        Skipped => Skipped,
        Bypassed(NotEnrolled) => Bypassed(NotEnrolled),
        Bypassed(FailOpen(ErrorClass::Refused)) => Bypassed(FailOpen(ErrorClass::Refused)),
        Bypassed(FailOpen(ErrorClass::Timeout)) => Bypassed(FailOpen(ErrorClass::Timeout)),
        Bypassed(FailOpen(ErrorClass::Unreachable)) => Bypassed(FailOpen(ErrorClass::Unreachable)),
        Bypassed(FailOpen(ErrorClass::ServerError)) => Bypassed(FailOpen(ErrorClass::ServerError)),
        Bypassed(FailOpen(ErrorClass::Overloaded)) => Bypassed(FailOpen(ErrorClass::Overloaded)),
        Bypassed(FailOpen(ErrorClass::Store)) => Bypassed(FailOpen(ErrorClass::Store)),
        Bypassed(FailOpen(ErrorClass::Users)) => Bypassed(FailOpen(ErrorClass::Users)),
        Rejected(Unidentified) => Rejected(Unidentified),
        Rejected(MalformedOtp) => Rejected(MalformedOtp),
        Rejected(AmbiguousOtp) => Rejected(AmbiguousOtp),
        Rejected(UnreadableBody) => Rejected(UnreadableBody),
        Rejected(BodyTooLarge) => Rejected(BodyTooLarge),
        Rejected(Denied(DenyReason::OtpRequired)) => Rejected(Denied(DenyReason::OtpRequired)),
        Rejected(Denied(DenyReason::WrongOtp)) => Rejected(Denied(DenyReason::WrongOtp)),
        Rejected(Denied(DenyReason::ReplayedOtp)) => Rejected(Denied(DenyReason::ReplayedOtp)),
        Rejected(Denied(DenyReason::UnknownUser)) => Rejected(Denied(DenyReason::UnknownUser)),
        Rejected(Denied(DenyReason::NotEnrolled)) => Rejected(Denied(DenyReason::NotEnrolled)),
        Rejected(Denied(DenyReason::DeniedByUser)) => Rejected(Denied(DenyReason::DeniedByUser)),
        Rejected(Denied(DenyReason::InvalidApproval)) => Rejected(Denied(DenyReason::InvalidApproval)),
        Rejected(Denied(DenyReason::AlreadyPending { .. })) =>
            Rejected(Denied(DenyReason::AlreadyPending { retry_after: ZERO })),
        Rejected(Denied(DenyReason::Throttled { .. })) => Rejected(Denied(DenyReason::Throttled { retry_after: ZERO })),
        Rejected(Denied(DenyReason::LockedOut)) => Rejected(Denied(DenyReason::LockedOut)),
        Rejected(Pending) => Rejected(Pending),
        Rejected(Unavailable(None)) => Rejected(Unavailable(None)),
        Rejected(Unavailable(Some(ErrorClass::Refused))) => Rejected(Unavailable(Some(ErrorClass::Refused))),
        Rejected(Unavailable(Some(ErrorClass::Timeout))) => Rejected(Unavailable(Some(ErrorClass::Timeout))),
        Rejected(Unavailable(Some(ErrorClass::Unreachable))) => Rejected(Unavailable(Some(ErrorClass::Unreachable))),
        Rejected(Unavailable(Some(ErrorClass::ServerError))) => Rejected(Unavailable(Some(ErrorClass::ServerError))),
        Rejected(Unavailable(Some(ErrorClass::Overloaded))) => Rejected(Unavailable(Some(ErrorClass::Overloaded))),
        Rejected(Unavailable(Some(ErrorClass::Store))) => Rejected(Unavailable(Some(ErrorClass::Store))),
        Rejected(Unavailable(Some(ErrorClass::Users))) => Rejected(Unavailable(Some(ErrorClass::Users))),
        Cancelled => Cancelled,
    }
}
