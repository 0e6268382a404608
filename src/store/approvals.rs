//! The values of an [`ApprovalStore`](super::ApprovalStore): approvals that begin, are pending, and end.

use std::fmt;
use std::time::Duration;

use super::approval_limit::ApprovalLimit;
use super::failures::Admission;
use crate::time::UnixTime;
use crate::verify::ApprovalId;

/// The store's key of one approval: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApprovalKey([u8; 16]);

impl ApprovalKey {
    /// Creates the key from the bytes that a store kept.
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

impl fmt::Debug for ApprovalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApprovalKey(<redacted>)")
    }
}

/// An approval that begins: the argument of [`begin_approval`](super::ApprovalStore::begin_approval).
#[derive(Clone, Debug)]
#[must_use]
pub struct NewApproval {
    pub(super) key: ApprovalKey,
    pub(super) binding_hash: [u8; 32],
    pub(super) joins: bool,
    pub(super) limit: ApprovalLimit,
    pub(super) request_timeout: Duration,
    pub(super) lifetime: Duration,
}

impl NewApproval {
    /// An approval for the user, session, action and request with this hash.
    pub fn new(key: ApprovalKey, binding_hash: [u8; 32]) -> Self {
        Self {
            key,
            binding_hash,
            joins: true,
            limit: ApprovalLimit::default(),
            request_timeout: Duration::from_secs(30),
            lifetime: Duration::from_secs(120),
        }
    }

    /// Sets whether the request may join a pending approval with the same hash. Default: it may.
    pub fn with_joining(self, joins: bool) -> Self {
        Self { joins, ..self }
    }

    /// Sets the limit on approvals of the user. Default: [`ApprovalLimit::default`].
    pub fn with_limit(self, limit: ApprovalLimit) -> Self {
        Self { limit, ..self }
    }

    /// Sets how long the approval is pending until the verifier returned its id. Default: 30 seconds.
    pub fn with_request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// Sets how long the approval is pending at most. Default: 2 minutes.
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// The key of the approval.
    #[must_use]
    pub fn key(&self) -> ApprovalKey {
        self.key
    }

    /// The hash of user, session, action and request.
    #[must_use]
    pub fn binding_hash(&self) -> &[u8; 32] {
        &self.binding_hash
    }

    /// Whether the request may join a pending approval with the same hash.
    #[must_use]
    pub fn joins(&self) -> bool {
        self.joins
    }

    /// The limit on approvals of the user.
    #[must_use]
    pub fn limit(&self) -> ApprovalLimit {
        self.limit
    }

    /// How long the approval is pending until the verifier returned its id.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// How long the approval is pending at most.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// An approval that the verifier requested. A store redeems the pending approval only if all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRef {
    pub(super) key: ApprovalKey,
    pub(super) binding_hash: [u8; 32],
    pub(super) id: ApprovalId,
}

impl ApprovalRef {
    /// The approval that began with this key and hash, and that has this id at the verifier.
    #[must_use]
    pub fn new(key: ApprovalKey, binding_hash: [u8; 32], id: ApprovalId) -> Self {
        Self { key, binding_hash, id }
    }

    /// The key of the approval.
    #[must_use]
    pub fn key(&self) -> ApprovalKey {
        self.key
    }

    /// The hash of user, session, action and request.
    #[must_use]
    pub fn binding_hash(&self) -> &[u8; 32] {
        &self.binding_hash
    }

    /// The verifier's id of the approval.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        &self.id
    }
}

/// Whether an approval was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum BeginOutcome {
    /// The approval was begun and counted. The verifier may request it.
    Begun,
    /// The same approval is pending already. The request waits for its decision.
    Join {
        /// The key of the pending approval.
        key: ApprovalKey,
        /// The verifier's id of it.
        id: ApprovalId,
        /// When it expires.
        until: UnixTime,
    },
    /// Another approval of this user is pending.
    AlreadyPending {
        /// How long that approval lasts at most.
        retry_after: Duration,
    },
    /// The user's [`ApprovalLimit`] is reached.
    LimitReached,
    /// Too many failures.
    Throttled {
        /// How long until the next attempt is admitted.
        retry_after: Duration,
    },
    /// Too many failures in a row: an administrator must unlock the account.
    LockedOut,
}

/// Why an approval ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The push was sent, and the approval is decided or expired. It counts.
    Sent,
    /// No push was sent. The approval does not count.
    NotSent,
    /// It is unknown whether the push was sent. Four of these count as one, so that a backend that is down reduces the
    /// user's limit only slowly. The approval remains pending until its request timeout, so that a backend that sends
    /// pushes and then fails does not send them without a pause.
    Uncertain,
}

/// The state of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum FindOutcome {
    /// The approval is pending. If it was to be redeemed, it is redeemed now.
    Found,
    /// The approval expired, was redeemed, or never existed.
    Unknown,
    /// The approval is pending, but there were too many failures since. It remains pending.
    Throttled {
        /// How long until the next attempt is admitted.
        retry_after: Duration,
    },
    /// The approval is pending, but the account is locked until an administrator unlocks it.
    LockedOut,
}

impl From<Admission> for FindOutcome {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Admitted => Self::Found,
            Admission::Throttled { retry_after } => Self::Throttled { retry_after },
            Admission::LockedOut => Self::LockedOut,
        }
    }
}
