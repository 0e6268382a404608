//! Decisions and the verifier's time through the `metrics` facade.
//!
//! The labels are made at compile time, so that counting allocates nothing: their values are names of this crate, and
//! never what a request says.

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
    increment(&Key::from_static_parts(DECISIONS, labels(outcome)));
    match outcome {
        AuditOutcome::Denied(RejectionKind::ReplayedOtp) => increment(&Key::from_static_name(REPLAYS)),
        AuditOutcome::Denied(RejectionKind::Throttled | RejectionKind::LockedOut) => {
            increment(&Key::from_static_parts(LOCKS, &labels(outcome)[REASON..=REASON]));
        }
        _ => {}
    }
    if let Some(time) = verifier_time {
        let key = Key::from_static_parts(VERIFIER, &labels(outcome)[OUTCOME..=OUTCOME]);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(time.as_secs_f64()));
    }
}

pub(super) fn panicked() {
    increment(&Key::from_static_name(PANICS));
}

fn increment(key: &Key) {
    metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(1));
}

type Labels = [Label; 3];
const OUTCOME: usize = 0;
const REASON: usize = 1;

const fn of(outcome: &'static str, reason: &'static str, factor: &'static str) -> Labels {
    [
        Label::from_static_parts("outcome", outcome),
        Label::from_static_parts("reason", reason),
        Label::from_static_parts("factor", factor),
    ]
}

/// Each outcome's labels, in a `static`.
macro_rules! labels {
    ($value:expr; $($pattern:pat => $outcome:literal $reason:literal $factor:literal,)*) => {
        match $value {
            $($pattern => {
                static LABELS: Labels = of($outcome, $reason, $factor);
                &LABELS
            })*
        }
    };
}

fn labels(outcome: AuditOutcome) -> &'static Labels {
    use AuditOutcome::*;
    use RejectionKind as Kind;
    labels! { outcome;
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
