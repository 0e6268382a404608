//! Decisions as `tracing` events, and a span around the verifier.

use std::borrow::Cow;

use tracing::{Level, Span};

use super::watch::Heard;
use super::{AuditEvent, AuditOutcome, cut};
use crate::gate::RejectionKind;

/// The target of the events and of the span.
const TARGET: &str = "tower_toopher::audit";

pub(super) fn listens() -> bool {
    tracing::enabled!(target: TARGET, Level::ERROR)
}

pub(super) fn span(heard: &Heard) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "second_factor",
        user = tracing::field::Empty,
        action = tracing::field::Empty,
        request_id = tracing::field::Empty,
    );
    if !span.is_disabled() {
        let record = |name, text: Option<&str>| text.map(|text| span.record(name, &*plain(text)));
        record("user", heard.user.as_ref().map(|user| user.as_str()));
        record("action", heard.action.as_ref().map(|action| action.as_str()));
        record("request_id", heard.request_id.as_deref());
    }
    span
}

pub(super) fn tell(event: &AuditEvent) {
    macro_rules! event {
        ($level:ident) => {
            if tracing::enabled!(target: TARGET, Level::$level) {
                let text = |text: Option<&str>| text.map(|text| plain(text).into_owned());
                tracing::event!(
                    target: TARGET,
                    Level::$level,
                    outcome = event.outcome.name(),
                    reason = event.outcome.reason(),
                    factor = event.outcome.factor(),
                    user = text(event.user.as_ref().map(|user| user.as_str())),
                    action = text(event.action.as_ref().map(|action| action.as_str())),
                    terminal = text(event.terminal.as_ref().map(|terminal| terminal.name())),
                    method = text(Some(event.method.as_str())),
                    path = text(Some(&*event.path)),
                    request_id = text(event.request_id.as_deref()),
                    verifier_seconds = event.verifier_time.map(|time| time.as_secs_f64()),
                    "second factor"
                )
            }
        };
    }
    match event.outcome {
        AuditOutcome::AlreadyPassed | AuditOutcome::GrantedEarlier(_) | AuditOutcome::Skipped => event!(DEBUG),
        AuditOutcome::Granted(_)
        | AuditOutcome::Pending
        | AuditOutcome::Abandoned
        // The first half of every login.
        | AuditOutcome::Denied(RejectionKind::OtpRequired) => event!(INFO),
        AuditOutcome::Denied(_) | AuditOutcome::PassedUnprotected => event!(WARN),
        AuditOutcome::Unavailable(_) | AuditOutcome::FaultLetPass(_) => event!(ERROR),
    }
}

pub(super) fn panicked() {
    tracing::error!(target: TARGET, "the sink of audit events panicked");
}

/// A text that cannot end a line, colour a terminal or turn the reading direction, whatever the subscriber does with
/// it. Ordinary text stays what it is.
fn plain(text: &str) -> Cow<'_, str> {
    let text = cut(text);
    let harmless = |c: char| c == '\'' || (c != '"' && c.escape_debug().len() == 1);
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) { plain.push(c) } else { plain.extend(c.escape_debug()) }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_line_or_hides_text_is_escaped_and_nothing_else() {
        for ordinary in ["alice", "O'Brien", "Zo\u{eb}", "\u{5c71}\u{7530}", "/a b/%0a?", ""] {
            assert!(matches!(plain(ordinary), Cow::Borrowed(same) if same == ordinary), "{ordinary:?}");
        }
        for (hostile, shown) in [
            ("a\nb", r"a\nb"),
            ("a\r\u{1b}[2Jb", r"a\r\u{1b}[2Jb"),
            ("a\u{85}\u{2028}\u{202e}\u{9b}b", r"a\u{85}\u{2028}\u{202e}\u{9b}b"),
            ("a\u{200b}\u{feff}\u{7f}\0", r"a\u{200b}\u{feff}\u{7f}\0"),
            (r"a\nb", r"a\\nb"),
            (r#"a" outcome="granted"#, r#"a\" outcome=\"granted"#),
        ] {
            assert_eq!(plain(hostile), shown);
        }
        assert_eq!(plain(&"\u{e9}".repeat(2000)).len(), 1024);
    }
}
