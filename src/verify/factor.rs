//! The factor that was verified, and its proof in the request.

use std::fmt;
use std::sync::Arc;

use super::subject::{Action, Subject, UserId};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::time::UnixTime;

/// The kind of factor that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Factor {
    /// A time-based one-time password, RFC 6238.
    Totp,
    /// One of the user's recovery codes.
    RecoveryCode,
    /// An approval on the user's phone.
    Push,
    /// Another factor, with the verifier's own name for it.
    Other(FactorName),
}

impl Factor {
    /// Another factor, with the verifier's own name for it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name is empty or longer than 32 bytes.
    pub const fn other(name: &str) -> Result<Self, ConfigError> {
        match FactorName::new(name) {
            Ok(name) => Ok(Self::Other(name)),
            Err(error) => Err(error),
        }
    }

    /// The stable name in metrics and log fields: `totp`, `recovery_code`, `push`, `other`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Push => "push",
            Self::Other(_) => "other",
        }
    }
}

/// A verifier's own name for a factor: 1 to 32 bytes of text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FactorName {
    bytes: [u8; MAX_FACTOR_NAME],
    len: u8,
}

/// The maximum length of a [`FactorName`] in bytes.
const MAX_FACTOR_NAME: usize = 32;

impl FactorName {
    /// Stands for all names where only the kind of the factor matters.
    #[cfg(feature = "metrics")]
    pub(crate) const PLACEHOLDER: Self = Self { bytes: [0; MAX_FACTOR_NAME], len: 0 };

    /// Creates the name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is empty or longer than 32 bytes.
    pub const fn new(name: &str) -> Result<Self, ConfigError> {
        let len = name.len();
        if len == 0 || len > MAX_FACTOR_NAME {
            return Err(ConfigError::new(ConfigErrorKind::FactorName));
        }
        let (mut bytes, mut at) = ([0; MAX_FACTOR_NAME], 0);
        while at < len {
            bytes[at] = name.as_bytes()[at];
            at += 1;
        }
        Ok(Self { bytes, len: len as u8 })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole texts are stored, so the conversion succeeds.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for FactorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The proof that a second factor was verified: for this request, or, where the route allows it
/// ([`ToopherLayer::max_age`](crate::ToopherLayer::max_age)), [earlier](Self::auth_time).
///
/// The layer inserts it into the request's extensions when it forwards the request, and never before. With the `axum`
/// feature it is an extractor.
#[derive(Clone, Debug)]
pub struct SecondFactor {
    subject: Subject,
    factor: Factor,
    /// `None` if the factor was verified for this request.
    auth_time: Option<UnixTime>,
    /// The factors that outer layers verified.
    outer: Option<Arc<Self>>,
}

impl SecondFactor {
    /// States that `user` has shown `factor` for `action`.
    ///
    /// The layer does this after a grant. Code that inserts the value into a request's extensions vouches for it: every
    /// inner layer with the same user and action forwards that request without verification.
    pub fn new(user: UserId, action: impl Into<Action>, factor: Factor) -> Self {
        Self::from_subject(Subject::new(user, action), factor)
    }

    pub(crate) fn from_subject(subject: Subject, factor: Factor) -> Self {
        Self { subject, factor, auth_time: None, outer: None }
    }

    /// Sets the time at which the factor was verified, if that was not for this request. Default: for this request.
    ///
    /// A layer accepts it if its [`max_age`](crate::ToopherLayer::max_age) allows it. This is for code outside the
    /// layer that learns of a factor in another way, such as from the `auth_time` of an OAuth access token (RFC 9470
    /// section 6).
    #[must_use]
    pub fn with_auth_time(mut self, time: UnixTime) -> Self {
        self.auth_time = Some(time);
        self
    }

    /// Keeps the factor that an outer layer verified, for inner layers.
    pub(crate) fn set_outer(&mut self, outer: Self) {
        self.outer = Some(Arc::new(outer));
    }

    /// Whether this factor, or one that an outer layer verified, was verified for this request, for `user` and
    /// `action`.
    #[must_use]
    pub fn covers(&self, user: &UserId, action: &Action) -> bool {
        self.all().any(|factor| {
            factor.auth_time.is_none() && factor.subject.user == *user && factor.subject.action == *action
        })
    }

    /// Whether both values describe the same factor, disregarding outer layers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.user() == other.user()
            && self.action() == other.action()
            && self.factor == other.factor
            && self.auth_time == other.auth_time
    }

    /// This factor, and those of outer layers.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |factor| factor.outer.as_deref())
    }

    /// The user who showed the factor.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.subject.user
    }

    /// The action that the factor is valid for.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.subject.action
    }

    /// The kind of factor.
    #[must_use]
    pub fn factor(&self) -> Factor {
        self.factor
    }

    /// When the factor was verified, if that was for an earlier request. `None` if it was verified for this request.
    #[must_use]
    pub fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }
}

/// Compares user, action, factor, time, and the factors of outer layers.
impl PartialEq for SecondFactor {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) && self.outer == other.outer
    }
}

impl Eq for SecondFactor {}
