//! Audit events: one `tracing` event for each decision, with the same target as those of the middleware.

use http::StatusCode;
use tower_toopher::middleware::escape_for_log;

use crate::api_error::ApiError;
use crate::client_address;
use crate::error::ServerError;

/// The target of the events. The middleware uses the same one.
const TARGET: &str = "tower_toopher::audit";

/// The audit record of one decision. Dropping it emits the event.
///
/// All fields are written to the event, so none may contain a code, a token, a phrase, or the discriminator of a
/// terminal.
#[derive(Debug)]
#[must_use = "dropping it emits the event"]
pub(crate) struct Audit {
    resource: &'static str,
    /// The origin of the decision: `otp`, `phone`, `rule`, `site`, `administrator`, `reset_link` or `time`.
    pub(crate) by: Option<&'static str>,
    /// `None` until the outcome is certain, and `Some(None)` where there was nothing to decide.
    outcome: Option<Option<Outcome>>,
    /// The consumer key. It is set once the key is known to exist, since clients may send a secret in its place.
    pub(crate) requester: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) terminal: Option<String>,
    pub(crate) approval: Option<String>,
    pub(crate) pairing: Option<String>,
    /// Whether a rule was created that answers further requests in the same way.
    pub(crate) automates: bool,
}

/// The outcome of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Granted by this factor.
    Granted(&'static str),
    Pending,
    Cancelled,
    Denied(&'static str),
    Unavailable(Option<&'static str>),
    Paired,
    Unpaired,
    Reset,
    Enabled,
    Disabled,
    NewRecoveryCodes,
    /// The client disconnected before the outcome was certain.
    Aborted,
}

/// Errors that end a decision.
pub(crate) trait AuditError {
    /// The outcome of the decision, or `None` where there was nothing to decide.
    fn outcome(&self) -> Option<Outcome>;
}

impl Audit {
    fn new(resource: &'static str) -> Self {
        Self {
            resource,
            by: None,
            outcome: None,
            requester: None,
            user: None,
            action: None,
            terminal: None,
            approval: None,
            pairing: None,
            automates: false,
        }
    }

    /// The audit of an authentication request.
    pub(crate) fn for_request() -> Self {
        Self::new("request")
    }

    pub(crate) fn for_pairing() -> Self {
        Self::new("pairing")
    }

    pub(crate) fn for_user() -> Self {
        Self::new("user")
    }

    /// The audit of the authentication of a caller. It only emits an event when the call is rejected.
    pub(crate) fn for_call() -> Self {
        Self::new("call")
    }

    pub(crate) fn decided_by(mut self, by: &'static str) -> Self {
        self.by = Some(by);
        self
    }

    pub(crate) fn requester(mut self, consumer_key: &str) -> Self {
        self.requester = Some(consumer_key.to_owned());
        self
    }

    pub(crate) fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Records an outcome that is certain, whether or not the response arrives. The first one is kept.
    pub(crate) fn settle(&mut self, outcome: impl Into<Option<Outcome>>) {
        self.outcome.get_or_insert(outcome.into());
    }

    /// Emits the event. If no outcome was recorded, the error of the response is the outcome.
    pub(crate) fn close<T, E: AuditError>(mut self, response: Result<T, E>) -> Result<T, E> {
        if let Err(error) = &response {
            self.settle(error.outcome());
        }
        response
    }

    fn emit(&self, outcome: Outcome) {
        let text = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| escape_for_log(text).into_owned())
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    resource = self.resource,
                    outcome = outcome.name(),
                    reason = outcome.reason(),
                    factor = outcome.factor(),
                    by = self.by,
                    client = client_address::current().map(tracing::field::display),
                    requester = text(&self.requester),
                    user = text(&self.user),
                    action = text(&self.action),
                    terminal = text(&self.terminal),
                    approval = text(&self.approval),
                    pairing = text(&self.pairing),
                    automates = self.automates.then_some(true),
                    "decision"
                )
            };
        }
        match outcome {
            Outcome::Granted(_)
            | Outcome::Pending
            | Outcome::Cancelled
            | Outcome::Paired
            | Outcome::Enabled
            | Outcome::NewRecoveryCodes
            | Outcome::Aborted => event!(INFO),
            // Rejections, and the removal of a factor.
            Outcome::Denied(_) | Outcome::Unpaired | Outcome::Reset | Outcome::Disabled => event!(WARN),
            Outcome::Unavailable(_) => event!(ERROR),
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        match self.outcome {
            Some(Some(outcome)) => self.emit(outcome),
            None if self.resource != "call" => self.emit(Outcome::Aborted),
            _ => {}
        }
    }
}

impl AuditError for ApiError {
    fn outcome(&self) -> Option<Outcome> {
        match (self.status(), self.reason()) {
            // The call could not be parsed, so nothing was decided.
            (StatusCode::BAD_REQUEST, _) => None,
            (status, Some(reason)) if !status.is_server_error() => Some(Outcome::Denied(reason)),
            (_, reason) => Some(Outcome::Unavailable(reason)),
        }
    }
}

impl AuditError for ServerError {
    fn outcome(&self) -> Option<Outcome> {
        Some(Outcome::Unavailable(None))
    }
}

impl Outcome {
    pub(crate) fn from_enabled(enabled: bool) -> Self {
        if enabled { Self::Enabled } else { Self::Disabled }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Pending => "pending",
            Self::Cancelled => "cancelled",
            Self::Denied(_) => "denied",
            Self::Unavailable(_) => "unavailable",
            Self::Paired => "paired",
            Self::Unpaired => "unpaired",
            Self::Reset => "reset",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::NewRecoveryCodes => "new_recovery_codes",
            Self::Aborted => "aborted",
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Denied(reason) => Some(reason),
            Self::Unavailable(reason) => reason,
            _ => None,
        }
    }

    fn factor(self) -> Option<&'static str> {
        let Self::Granted(factor) = self else { return None };
        Some(factor)
    }
}
