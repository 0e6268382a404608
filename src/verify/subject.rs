//! Who must show a second factor, for what, and from where.

use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrorKind};

/// The maximum length of a [`UserId`] in bytes, so that what is stored per user is bounded.
const MAX_USER_ID: usize = 512;

/// Who must show a second factor, for what, and from where. Cloning is cheap.
///
/// The layer builds one subject from the head of a request. The [`Attempt`](crate::Attempt), the audit event and the
/// [`SecondFactor`](crate::SecondFactor) share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    pub(crate) user: UserId,
    pub(crate) action: Action,
    pub(crate) terminal: Option<Terminal>,
}

impl Subject {
    /// A subject without a terminal.
    pub(crate) fn new(user: UserId, action: impl Into<Action>) -> Self {
        Self { user, action: action.into(), terminal: None }
    }
}

/// The application's canonical id of an account.
///
/// The first factor inserts it into the request's extensions, where the layer finds it. Failures and used codes are
/// stored under this id, so it must identify the *account* (a primary key, for example), not the text that a person
/// typed. If `alice`, `ALICE` and `alice@example.com` are one account, use one of them, or a number. If the typed text
/// is used instead, an attacker gets more guesses with each spelling.
///
/// Cloning is cheap. Any text of 1 to 512 bytes is valid and is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Creates the id of an account.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `id` is empty or longer than 512 bytes.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, ConfigError> {
        let id = id.into();
        if id.is_empty() || id.len() > MAX_USER_ID {
            return Err(ConfigError::new(ConfigErrorKind::UserId));
        }
        Ok(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the second factor is requested for: `log in`, `transfer`.
///
/// People read it on their phones, so use a short phrase in their words. A factor for one action is not valid for
/// another action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action(Arc<str>);

impl Action {
    /// The phrase.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Action {
    fn from(phrase: T) -> Self {
        Self(phrase.into())
    }
}

/// The browser or machine that a request comes from.
///
/// The application inserts it into the request's extensions, where the layer finds it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Terminal(Arc<TerminalParts>);

/// Shared, because each attempt has room for a terminal and few have one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TerminalParts {
    name: Arc<str>,
    discriminator: Option<Arc<str>>,
}

impl Terminal {
    /// A terminal with a name that people read on their phones, such as `office laptop`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(TerminalParts { name: name.into(), discriminator: None }))
    }

    /// Sets a value that distinguishes terminals of the same name and that no other person can guess, such as the value
    /// of a random cookie. Default: none. Without it, any client that knows the name can claim to be that terminal.
    /// This matters where approvals are automated per terminal.
    #[must_use]
    pub fn with_discriminator(mut self, discriminator: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.0).discriminator = Some(discriminator.into());
        self
    }

    /// The name that people read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The value that distinguishes terminals of the same name.
    #[must_use]
    pub fn discriminator(&self) -> Option<&str> {
        self.0.discriminator.as_deref()
    }
}

impl fmt::Debug for Terminal {
    /// Omits the discriminator, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("name", &self.0.name).finish_non_exhaustive()
    }
}
