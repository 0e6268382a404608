//! Decisions and the verifier's time through the `metrics` facade.
//!
//! The keys are made at compile time, so that counting allocates nothing: the values of their labels are names of this
//! crate, and never what a request says.

use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Unit};

use super::AuditOutcome;
use crate::gate::RejectionKind;
use crate::{Factor, FaultKind};

const DECISIONS: &str = "tower_toopher_decisions_total";
const VERIFIER: &str = "tower_toopher_verifier_seconds";
const REPLAYS: &str = "tower_toopher_replays_total";
const LOCKS: &str = "tower_toopher_locks_total";
const PANICS: &str = "tower_toopher_audit_panics_total";

static METADATA: Metadata<'static> = Metadata::new("tower_toopher", Level::INFO, Some("tower_toopher"));

/// Describes the metrics to the recorder that is installed, so that an exporter can say what they are. Without it they
/// are counted all the same.
pub fn describe_metrics() {
    metrics::with_recorder(|recorder| {
        let counters = [
            (DECISIONS, "Decisions of the gate, by outcome, reason and factor."),
            (REPLAYS, "One-time passwords that had been used."),
            (LOCKS, "Requests of users who must wait, or be unlocked, after too many failures."),
            (PANICS, "Panics of the sink of audit events."),
        ];
        for (name, description) in counters {
            recorder.describe_counter(name.into(), Some(Unit::Count), description.into());
        }
        let description = "How long the verifier took, by the outcome.";
        recorder.describe_histogram(VERIFIER.into(), Some(Unit::Seconds), description.into());
    });
}

pub(super) fn count(outcome: AuditOutcome, verifier_time: Option<Duration>) {
    let keys = keys(outcome);
    metrics::with_recorder(|recorder| {
        let increment = |key| recorder.register_counter(key, &METADATA).increment(1);
        increment(&keys.decisions);
        match outcome {
            AuditOutcome::Denied(RejectionKind::ReplayedOtp) => increment(&keys.replays),
            AuditOutcome::Denied(RejectionKind::Throttled | RejectionKind::LockedOut) => increment(&keys.locks),
            _ => {}
        }
        if let Some(time) = verifier_time {
            recorder.register_histogram(&keys.verifier, &METADATA).record(time.as_secs_f64());
        }
    });
}

pub(super) fn panicked() {
    static KEY: Key = Key::from_static_name(PANICS);
    metrics::with_recorder(|recorder| recorder.register_counter(&KEY, &METADATA).increment(1));
}

/// What an outcome is counted under.
struct Keys {
    decisions: Key,
    replays: Key,
    locks: Key,
    verifier: Key,
}

impl Keys {
    /// `labels` are outcome, reason and factor.
    const fn new(labels: &'static [Label; 3]) -> Self {
        let (outcome, more) = labels.split_at(1);
        let (reason, _) = more.split_at(1);
        Self {
            decisions: Key::from_static_parts(DECISIONS, labels),
            replays: Key::from_static_name(REPLAYS),
            locks: Key::from_static_parts(LOCKS, reason),
            verifier: Key::from_static_parts(VERIFIER, outcome),
        }
    }
}

/// Each outcome's keys, in a `static`.
macro_rules! keys {
    ($value:expr; $($pattern:pat => $outcome:literal $reason:literal $factor:literal,)*) => {
        match $value {
            $($pattern => {
                static LABELS: [Label; 3] = [
                    Label::from_static_parts("outcome", $outcome),
                    Label::from_static_parts("reason", $reason),
                    Label::from_static_parts("factor", $factor),
                ];
                static KEYS: Keys = Keys::new(&LABELS);
                &KEYS
            })*
        }
    };
}

fn keys(outcome: AuditOutcome) -> &'static Keys {
    use AuditOutcome::*;
    use RejectionKind as Kind;
    keys! { outcome;
        Granted(Factor::Totp) => "granted" "none" "totp",
        Granted(Factor::BackupCode) => "granted" "none" "backup_code",
        Granted(Factor::Push) => "granted" "none" "push",
        Granted(Factor::Other(_)) => "granted" "none" "other",
        AlreadyPassed => "already_passed" "none" "none",
        GrantedEarlier(Factor::Totp) => "granted_earlier" "none" "totp",
        GrantedEarlier(Factor::BackupCode) => "granted_earlier" "none" "backup_code",
        GrantedEarlier(Factor::Push) => "granted_earlier" "none" "push",
        GrantedEarlier(Factor::Other(_)) => "granted_earlier" "none" "other",
        Skipped => "skipped" "none" "none",
        PassedUnprotected => "passed_unprotected" "none" "none",
        FaultLetPass(FaultKind::Timeout) => "fault_let_pass" "timeout" "none",
        FaultLetPass(FaultKind::Unreachable) => "fault_let_pass" "unreachable" "none",
        FaultLetPass(FaultKind::ServerError) => "fault_let_pass" "server_error" "none",
        FaultLetPass(FaultKind::Overloaded) => "fault_let_pass" "overloaded" "none",
        FaultLetPass(FaultKind::Store) => "fault_let_pass" "store" "none",
        FaultLetPass(FaultKind::Users) => "fault_let_pass" "users" "none",
        Denied(Kind::Unidentified) => "denied" "unidentified" "none",
        Denied(Kind::OtpRequired) => "denied" "otp_required" "none",
        Denied(Kind::MalformedOtp) => "denied" "malformed_otp" "none",
        Denied(Kind::AmbiguousOtp) => "denied" "ambiguous_otp" "none",
        Denied(Kind::WrongOtp) => "denied" "wrong_otp" "none",
        Denied(Kind::ReplayedOtp) => "denied" "replayed_otp" "none",
        Denied(Kind::UnknownUser) => "denied" "unknown_user" "none",
        Denied(Kind::NotEnrolled) => "denied" "not_enrolled" "none",
        Denied(Kind::Refused) => "denied" "refused" "none",
        Denied(Kind::UnknownApproval) => "denied" "unknown_approval" "none",
        Denied(Kind::AlreadyPending) => "denied" "already_pending" "none",
        Denied(Kind::Throttled) => "denied" "throttled" "none",
        Denied(Kind::LockedOut) => "denied" "locked_out" "none",
        Denied(Kind::UnreadableBody) => "denied" "unreadable_body" "none",
        Denied(Kind::BodyTooLarge) => "denied" "body_too_large" "none",
        Pending | Denied(Kind::Pending) => "pending" "none" "none",
        Unavailable(Some(FaultKind::Timeout)) => "unavailable" "timeout" "none",
        Unavailable(Some(FaultKind::Unreachable)) => "unavailable" "unreachable" "none",
        Unavailable(Some(FaultKind::ServerError)) => "unavailable" "server_error" "none",
        Unavailable(Some(FaultKind::Overloaded)) => "unavailable" "overloaded" "none",
        Unavailable(Some(FaultKind::Store)) => "unavailable" "store" "none",
        Unavailable(Some(FaultKind::Users)) => "unavailable" "users" "none",
        Unavailable(None) | Denied(Kind::Unavailable) => "unavailable" "none" "none",
        Abandoned => "abandoned" "none" "none",
    }
}
