use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;

use super::Observe;
use crate::{Action, Attempt, Terminal, UserId};

/// What is kept of a request until it is decided.
#[derive(Default)]
pub(in crate::gate) struct Watch {
    /// None where nobody wants to know more than how many there were. Boxed, since every request moves it.
    heard: Option<Box<Heard>>,
    asked: Option<Instant>,
}

/// What those hear of it who listen.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) user: Option<UserId>,
    pub(super) action: Option<Action>,
    pub(super) terminal: Option<Terminal>,
    pub(super) path: Option<Arc<str>>,
    pub(super) request_id: Option<Arc<str>>,
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
        let heard = Heard { request_id: find(&observe.request_id), path: find(&observe.path), ..Heard::default() };
        Self { heard: Some(Box::new(heard)), asked: None }
    }

    /// Notes who it is about, as far as that is known.
    pub(in crate::gate) fn about(
        mut self,
        user: Option<&UserId>,
        action: Option<&Action>,
        terminal: Option<&Terminal>,
    ) -> Self {
        if let Some(heard) = &mut self.heard {
            heard.user = user.cloned();
            heard.action = action.cloned();
            heard.terminal = terminal.cloned();
        }
        self
    }

    /// Begins to measure, and opens the span that the verifier runs in.
    pub(in crate::gate) fn asking(mut self, attempt: &Attempt) -> Self {
        self = self.about(Some(attempt.user()), Some(attempt.action()), attempt.terminal());
        self.asked = (self.heard.is_some() || cfg!(feature = "metrics")).then(Instant::now);
        #[cfg(feature = "tracing")]
        if let Some(heard) = &mut self.heard {
            heard.span = Some(super::trace::span(heard));
        }
        self
    }

    /// Runs a step of the verifier, in its span.
    pub(in crate::gate) fn within<T>(&self, step: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = self.heard.as_ref().and_then(|heard| Some(heard.span.as_ref()?.enter()));
        step()
    }

    pub(super) fn heard(&self) -> Option<&Heard> {
        self.heard.as_deref()
    }

    pub(super) fn verifier_time(&self) -> Option<Duration> {
        self.asked.map(|asked| asked.elapsed())
    }
}
