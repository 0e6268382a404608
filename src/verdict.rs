//! The answer: what a verifier says.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{Action, FaultKind, Pending, UserId};

/// Any error, the way tower carries it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A verifier's answer to an [`Attempt`](crate::Attempt).
///
/// Trouble is no verdict: a verifier that cannot tell returns an error, and the gate answers 503.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Verdict {
    /// The factor was shown; the request goes on.
    Granted(Factor),
    /// It was not; the request ends.
    Denied(DenyReason),
    /// A person has been asked; the same request may come again.
    Pending(Box<Pending>),
}

impl Verdict {
    /// A person has been asked; `retry_after` says how long to wait before asking again.
    pub fn pending(retry_after: Option<Duration>) -> Self {
        Pending::new().with_retry_after(retry_after).into()
    }
}

impl From<Pending> for Verdict {
    fn from(pending: Pending) -> Self {
        Self::Pending(Box::new(pending))
    }
}

/// What kind of factor was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Factor {
    /// A time-based one-time password, RFC 6238.
    Totp,
    /// One of the user's backup codes.
    BackupCode,
    /// An approval on the user's phone.
    Push,
    /// Something else, under the verifier's own name for it. One longer than 32 bytes is in no grant.
    Other(&'static str),
}

impl Factor {
    /// A name that stays, for who hears of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::BackupCode => "backup_code",
            Self::Push => "push",
            Self::Other(_) => "other",
        }
    }
}

/// Why a verifier denies. The outside does not learn it: see [`RejectionKind`](crate::RejectionKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenyReason {
    /// No OTP came with the attempt, and this verifier cannot ask for the factor in another way.
    OtpRequired,
    /// The OTP is not the user's at this time.
    WrongOtp,
    /// The OTP was the user's, and has been used.
    ReplayedOtp,
    /// The verifier does not know the user.
    UnknownUser,
    /// The user has no factor that could be checked.
    NotEnrolled,
    /// The person who was asked said no.
    Refused,
    /// The challenge that came with the request is not one for it: made up, altered, another's, too old, or used.
    UnknownApproval,
    /// Another approval of this user is waited for, and nobody is asked for a second one.
    AlreadyPending {
        /// When that one is over at the latest.
        retry_after: Duration,
    },
    /// Too many failures: nothing was verified, and nothing was spent.
    Throttled {
        /// How long until the next attempt is looked at.
        retry_after: Duration,
    },
    /// Too many failures in a row: an administrator must unlock the account.
    LockedOut,
}

/// The proof that a second factor was shown: for this very request, or, where the route takes it
/// ([`ToopherLayer::max_age`](crate::ToopherLayer::max_age)), [a while ago](Self::shown_at).
///
/// The gate puts it into the request's extensions when it lets the request pass, and never before. With the `axum`
/// feature it is an extractor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    user: UserId,
    action: Action,
    factor: Factor,
    /// None for this request.
    shown_at: Option<SystemTime>,
    /// What gates further out were shown.
    earlier: Option<Arc<Self>>,
}

impl SecondFactor {
    /// Says that `user` has shown `factor` for `action`.
    ///
    /// The gate does this after a grant. Code that puts the value into a request's extensions vouches for it: every
    /// gate further in, for the same user and action, lets that request pass unasked.
    pub fn new(user: UserId, action: impl Into<Action>, factor: Factor) -> Self {
        Self { user, action: action.into(), factor, shown_at: None, earlier: None }
    }

    /// Says that it was shown at `time`, and not for this request. Default: for this request.
    ///
    /// Gates take it if their [`max_age`](crate::ToopherLayer::max_age) allows. It is for code outside the gate that
    /// knows of a factor in its own way, such as the `auth_time` of an OAuth access token (RFC 9470 section 6).
    #[must_use]
    pub fn with_shown_at(mut self, time: SystemTime) -> Self {
        self.shown_at = Some(time);
        self
    }

    /// Keeps what gates further out were shown, for gates further in.
    pub(crate) fn put_before(&mut self, earlier: Self) {
        self.earlier = Some(Arc::new(earlier));
    }

    /// Whether a factor was shown for this request, for `action` and by `user`: this one, or one that a gate further
    /// out was shown.
    #[must_use]
    pub fn covers(&self, user: &UserId, action: &Action) -> bool {
        self.all().any(|shown| shown.shown_at.is_none() && shown.user == *user && shown.action == *action)
    }

    /// Whether both say the same of one factor.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.user == other.user
            && self.action == other.action
            && self.factor == other.factor
            && self.shown_at == other.shown_at
    }

    /// This one, and those of gates further out.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |shown| shown.earlier.as_deref())
    }

    /// Who showed the factor.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What it was shown for.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// What was shown.
    #[must_use]
    pub fn factor(&self) -> Factor {
        self.factor
    }

    /// When it was shown, where that was in an earlier request; none where it was shown for this very request.
    #[must_use]
    pub fn shown_at(&self) -> Option<SystemTime> {
        self.shown_at
    }
}

/// The mark on a request that passed although nobody has shown a second factor, because the layer was told to let it.
///
/// It stands in the request's extensions *instead of* a [`SecondFactor`], so that no handler mistakes the one for the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutSecondFactor {
    reason: WithoutReason,
}

impl WithoutSecondFactor {
    pub(crate) fn new(reason: WithoutReason) -> Self {
        Self { reason }
    }

    /// Why the request passed.
    #[must_use]
    pub fn reason(self) -> WithoutReason {
        self.reason
    }
}

/// Why a request passed without a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WithoutReason {
    /// The user has none, and
    /// [`NotEnrolledPolicy::PassUnprotected`](crate::NotEnrolledPolicy::PassUnprotected) lets such users pass.
    NotEnrolled,
    /// The verifier was in trouble, and the route
    /// [opens on that](https://docs.rs/tower-toopher/latest/tower_toopher/struct.FaultPolicy.html).
    Fault(FaultKind),
}

/// An error for verifiers in trouble that know when to ask again.
///
/// The gate answers 503 to any error of a verifier. Where this one is the error, or among its sources, the answer
/// carries `Retry-After`.
#[derive(Debug)]
pub struct Unavailable {
    retry_after: Duration,
    source: BoxError,
}

impl Unavailable {
    /// Wraps the cause, with the time after which it makes sense to ask again.
    pub fn new(source: impl Into<BoxError>, retry_after: Duration) -> Self {
        Self { retry_after, source: source.into() }
    }

    /// The time after which it makes sense to ask again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the verifier is unavailable, retry after {} s", self.retry_after.as_secs())
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
