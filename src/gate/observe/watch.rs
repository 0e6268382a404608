use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;

use super::Observe;
use crate::{Action, Attempt, Terminal, UserId};

/// What is kept of a request until it is decided, for those who hear of it then.
#[derive(Default)]
pub(in crate::gate) struct Watch {
    /// Whether anybody wants to know more than how many there were.
    heard: bool,
    pub(super) user: Option<UserId>,
    pub(super) action: Option<Action>,
    pub(super) terminal: Option<Terminal>,
    pub(super) path: Option<Arc<str>>,
    pub(super) request_id: Option<Arc<str>>,
    asked: Option<Instant>,
    #[cfg(feature = "tracing")]
    span: Option<tracing::Span>,
}

impl Watch {
    /// Nothing where nobody listens.
    pub(in crate::gate) fn new(observe: &Observe, parts: &Parts) -> Self {
        if !observe.listens() {
            return Self::default();
        }
        // It is also made where a request is dropped, by a panic perhaps: a second one would end the process.
        let find = |hook: &Option<Arc<super::FindText>>| {
            let find = hook.as_ref()?;
            catch_unwind(AssertUnwindSafe(|| find(parts))).ok().flatten()
        };
        Self { heard: true, request_id: find(&observe.request_id), path: find(&observe.path), ..Self::default() }
    }

    /// Notes who it is about, as far as that is known.
    pub(in crate::gate) fn about(
        self,
        user: Option<&UserId>,
        action: Option<&Action>,
        terminal: Option<&Terminal>,
    ) -> Self {
        if !self.heard {
            return self;
        }
        Self { user: user.cloned(), action: action.cloned(), terminal: terminal.cloned(), ..self }
    }

    /// Begins to measure, and opens the span that the verifier runs in.
    pub(in crate::gate) fn asking(mut self, attempt: &Attempt) -> Self {
        self = self.about(Some(attempt.user()), Some(attempt.action()), attempt.terminal());
        self.asked = (self.heard || cfg!(feature = "metrics")).then(Instant::now);
        #[cfg(feature = "tracing")]
        if self.heard {
            self.span = Some(super::trace::span(&self));
        }
        self
    }

    /// Runs a step of the verifier, in its span.
    pub(in crate::gate) fn within<T>(&self, step: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.span.as_ref().map(tracing::Span::enter);
        step()
    }

    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    pub(super) fn verifier_time(&self) -> Option<Duration> {
        self.asked.map(|asked| asked.elapsed())
    }
}
