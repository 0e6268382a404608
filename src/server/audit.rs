//! What the server decides, told once each to `tracing`, as the decisions of the gate are.

use http::StatusCode;

use super::error::{ApiError, ServerError};
use crate::audit::{TARGET, plain};

/// One decision, from the moment that it is asked for until it is dropped, which is when it is told.
///
/// What it holds is told: no code, no token, no phrase, no discriminator of a terminal.
#[derive(Debug)]
#[must_use = "it is told when it is dropped"]
pub(super) struct Audit {
    about: &'static str,
    /// Who or what decides: `otp`, `phone`, `rule`, `site`, `administrator`, `reset_link`, `time`.
    pub(super) by: Option<&'static str>,
    outcome: Option<Outcome>,
    /// Its consumer key, once it is known to be one: what people paste into the wrong place is told to nobody.
    pub(super) requester: Option<String>,
    pub(super) user: Option<String>,
    pub(super) action: Option<String>,
    pub(super) terminal: Option<String>,
    pub(super) approval: Option<String>,
    pub(super) pairing: Option<String>,
    /// Whether a rule decides the same from now on.
    pub(super) automates: bool,
}

/// What was decided.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// With the factor that was shown.
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
    NewBackupCodes,
    /// The client went away before it was certain.
    Abandoned,
    /// Nothing, or what had been decided before, and told then.
    Nothing,
}

impl Audit {
    fn of(about: &'static str) -> Self {
        Self {
            about,
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

    /// About an authentication request.
    pub(super) fn of_request() -> Self {
        Self::of("request")
    }

    pub(super) fn of_pairing() -> Self {
        Self::of("pairing")
    }

    pub(super) fn of_user() -> Self {
        Self::of("user")
    }

    /// About who calls. Only a call that is refused is told: of any other, what it asks for is.
    pub(super) fn of_call() -> Self {
        Self::of("call")
    }

    pub(super) fn by(mut self, by: &'static str) -> Self {
        self.by = Some(by);
        self
    }

    pub(super) fn requester(mut self, consumer_key: &str) -> Self {
        self.requester = Some(consumer_key.to_owned());
        self
    }

    pub(super) fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Notes what is certain. It stands, whatever becomes of the answer.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// Ends it. Where nothing was certain before, the error of the answer is the outcome.
    pub(super) fn close<T, E>(mut self, answer: Result<T, E>) -> Result<T, E>
    where
        for<'a> Outcome: From<&'a E>,
    {
        if let Err(error) = &answer {
            self.settle(error.into());
        }
        answer
    }
}

impl From<&ApiError> for Outcome {
    fn from(error: &ApiError) -> Self {
        match (error.status(), error.reason()) {
            // Nobody knows what was asked for.
            (StatusCode::BAD_REQUEST, _) => Self::Nothing,
            (status, Some(reason)) if !status.is_server_error() => Self::Denied(reason),
            (_, reason) => Self::Unavailable(reason),
        }
    }
}

impl From<&ServerError> for Outcome {
    fn from(_: &ServerError) -> Self {
        Self::Unavailable(None)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        match self.outcome {
            Some(Outcome::Nothing) => {}
            None if self.about == "call" => {}
            outcome => self.tell(outcome.unwrap_or(Outcome::Abandoned)),
        }
    }
}

impl Audit {
    fn tell(&self, outcome: Outcome) {
        let text = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| plain(text).into_owned())
        };
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    about = self.about,
                    outcome = outcome.name(),
                    reason = outcome.reason(),
                    factor = outcome.factor(),
                    by = self.by,
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
            | Outcome::NewBackupCodes
            | Outcome::Abandoned
            | Outcome::Nothing => event!(INFO),
            // What was refused, and what takes a factor away.
            Outcome::Denied(_) | Outcome::Unpaired | Outcome::Reset | Outcome::Disabled => event!(WARN),
            Outcome::Unavailable(_) => event!(ERROR),
        }
    }
}

impl Outcome {
    pub(super) fn of_enabling(enabled: bool) -> Self {
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
            Self::NewBackupCodes => "new_backup_codes",
            Self::Abandoned => "abandoned",
            Self::Nothing => "nothing",
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
