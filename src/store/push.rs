//! What must be remembered of approvals that are waited for.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Admission, StoreId, Throttle};
use crate::{ApprovalId, BoxError, UserId};

/// Remembers the approvals that are waited for: at most one of each user, redeemed once.
///
/// `now` and `until` are times since 1970-01-01 00:00 UTC. Each verb is one atomic step, and an error of any means that
/// nobody passes. The rules are those of [`Pushes`](super::Pushes); whoever is locked or throttled under the
/// [`Store`](super::Store)'s failures is so here as well, so that neither way leads around the other.
pub trait PushStore: Send + Sync + 'static {
    /// The error of every verb.
    type Error: Into<BoxError>;

    /// Takes the user's one place for an approval, counts it, or says why not.
    ///
    /// # Errors
    ///
    /// When it is not certain that the place was taken.
    fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<BeginPush, Self::Error>> + Send;

    /// Remembers the verifier's id of an approval that was begun, which is waited for until `until`. Says whether the
    /// place was still its own; if not, nobody can redeem it.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is kept.
    fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Looks whether an approval is waited for. It changes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot tell.
    fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, Self::Error>> + Send;

    /// Redeems an approval that has been given: of all that ask, one is told [`FoundPush::Open`]. That is a success, so
    /// the user's failures and pushes are forgotten with it.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is redeemed.
    fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, Self::Error>> + Send;

    /// Gives the place back, as `end` says.
    ///
    /// # Errors
    ///
    /// When it is not certain that it is free. It is free once its time is over.
    fn end_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        end: PushEnd,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets all pushes of `user`, the open one among them: after a success of another kind, or because an
    /// administrator says so.
    ///
    /// # Errors
    ///
    /// When it is not certain that they are forgotten.
    fn clear_pushes(&self, user: &UserId) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Which store it is that pushes are kept in. An OTP that was spent in the same one, as [`Store::spends_in`] says, has
    /// them forgotten already. Default: none is known, and `Approvals` forgets them by a call of its own.
    ///
    /// [`Store::spends_in`]: super::Store::spends_in
    fn keeps_in(&self) -> Option<&StoreId> {
        None
    }
}

impl<S: PushStore> PushStore for Arc<S> {
    type Error = S::Error;

    fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<BeginPush, S::Error>> + Send {
        S::begin_push(self, user, push, throttle, now)
    }

    fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> impl Future<Output = Result<bool, S::Error>> + Send {
        S::keep_push(self, user, ticket, id, until)
    }

    fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, S::Error>> + Send {
        S::find_push(self, user, push, throttle, now)
    }

    fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, S::Error>> + Send {
        S::redeem_push(self, user, push, throttle, now)
    }

    fn end_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        end: PushEnd,
    ) -> impl Future<Output = Result<(), S::Error>> + Send {
        S::end_push(self, user, ticket, end)
    }

    fn clear_pushes(&self, user: &UserId) -> impl Future<Output = Result<(), S::Error>> + Send {
        S::clear_pushes(self, user)
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        S::keeps_in(self)
    }
}

/// The store's own name of one approval: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket([u8; 16]);

impl Ticket {
    /// Takes the bytes that a store has kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(<redacted>)")
    }
}

/// An approval that is to be begun.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct NewPush {
    /// Its name.
    pub ticket: Ticket,
    /// What it is about, and from where.
    pub about: [u8; 32],
    /// Whether it may join one that is open and about the same.
    pub joins: bool,
    /// How many there may be.
    pub budget: PushBudget,
    /// How long it keeps others away before the phone was asked.
    pub starting_for: Duration,
    /// How long it is waited for at the most.
    pub lifetime: Duration,
}

impl NewPush {
    /// One that may join, with the default budget: 30 seconds to ask the phone in, and two minutes to wait for it.
    pub fn new(ticket: Ticket, about: [u8; 32]) -> Self {
        let (starting_for, lifetime) = (Duration::from_secs(30), Duration::from_secs(120));
        Self { ticket, about, joins: true, budget: PushBudget::default(), starting_for, lifetime }
    }
}

/// An approval that was asked for: what must be the same of it when it is redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskedPush {
    /// Its name.
    pub ticket: Ticket,
    /// What it is about, and from where.
    pub about: [u8; 32],
    /// The verifier's name of it.
    pub id: ApprovalId,
}

impl AskedPush {
    /// One that was begun with this ticket, about this, and is known to the verifier by this id.
    #[must_use]
    pub fn new(ticket: Ticket, about: [u8; 32], id: ApprovalId) -> Self {
        Self { ticket, about, id }
    }
}

/// How often a user's phone may be asked since the last success (NIST SP 800-63B, on push notifications).
///
/// The default is 5 times, counted anew a day after the last of them. With more, whoever has stolen a password can ask
/// until the user gives in; with fewer, they can take this way from the user sooner, who then has to type an OTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushBudget {
    pushes: u32,
    forget_after: Duration,
}

impl PushBudget {
    /// The longest time after which pushes are counted anew: 30 days.
    pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// A budget of so many pushes, counted anew so long after the last one.
    ///
    /// # Errors
    ///
    /// [`InvalidPushBudget`] unless `1 <= pushes <= 100` and `1 minute <= forget_after <= 30 days`.
    pub fn new(pushes: u32, forget_after: Duration) -> Result<Self, InvalidPushBudget> {
        let sane = (1..=100).contains(&pushes) && (Duration::from_secs(60)..=Self::LONGEST).contains(&forget_after);
        if sane { Ok(Self { pushes, forget_after }) } else { Err(InvalidPushBudget) }
    }

    /// How many there may be.
    #[must_use]
    pub fn pushes(&self) -> u32 {
        self.pushes
    }

    /// How long after the last one they are counted anew.
    #[must_use]
    pub fn forget_after(&self) -> Duration {
        self.forget_after
    }
}

impl Default for PushBudget {
    fn default() -> Self {
        Self { pushes: 5, forget_after: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Numbers that cannot be a [`PushBudget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPushBudget;

impl fmt::Display for InvalidPushBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a budget is 1 to 100 pushes, forgotten after 1 minute to 30 days")
    }
}

impl std::error::Error for InvalidPushBudget {}

/// Whether the phone may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum BeginPush {
    /// It may, and that is counted.
    Begun,
    /// It has been asked for the very same, and the answer to that will do.
    Join {
        /// The name of the one that is open.
        ticket: Ticket,
        /// The verifier's name of it.
        id: ApprovalId,
        /// When it is over.
        until: Duration,
    },
    /// Another one of this user is waited for.
    AlreadyPending {
        /// When that one is over at the latest.
        retry_after: Duration,
    },
    /// It has been asked too often since the last success.
    BudgetSpent,
    /// Too many failures.
    Throttled {
        /// How long until the next attempt is looked at.
        retry_after: Duration,
    },
    /// Too many failures in a row: an administrator must unlock the account.
    LockedOut,
}

/// How an approval ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushEnd {
    /// The phone was asked. It counts.
    Asked,
    /// The phone was not asked. It does not count.
    NotAsked,
    /// Nobody knows whether the phone was asked. Four of these count for one, so that a backend that is down takes little
    /// from its users; and the place stays taken for as long as it was given to ask in, so that a backend that asks and
    /// then fails does not have the phone ring without end.
    Uncertain,
}

/// What became of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum FoundPush {
    /// It is waited for; or, where it was to be redeemed, it is redeemed now.
    Open,
    /// It is over, was redeemed, or has never been.
    Unknown,
    /// It is waited for, but there were too many failures meanwhile. It stays as it is.
    Throttled {
        /// How long until the next attempt is looked at.
        retry_after: Duration,
    },
    /// As before, until an administrator has unlocked the account.
    LockedOut,
}

impl From<Admission> for FoundPush {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Admitted => Self::Open,
            Admission::Throttled { retry_after } => Self::Throttled { retry_after },
            Admission::LockedOut => Self::LockedOut,
        }
    }
}
