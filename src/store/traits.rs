//! The operations of a store, and a store whose type is chosen at run time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, FindOutcome, NewApproval};
use super::failures::Admission;
use super::operations::operations;
use super::throttle::Throttle;
use super::used_step::{StepOutcome, UsedStep};
use crate::time::UnixTime;
use crate::verify::{ApprovalId, BoxError, UserId};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

operations! {
    /// Stores failures and used time steps.
    ///
    /// Each operation is one atomic step. After an error of any operation the layer responds with 503: the verifier
    /// skips no check. No operation has a default implementation, because a default could not keep its guarantee.
    pub trait Store: [Send + Sync + 'static] [Into<BoxError>] dyn ErasedStore {
        /// Counts one attempt of `user` as a failure, and returns whether the attempt may be verified.
        ///
        /// The verifier calls it *before* it verifies the OTP. [`record_step`](Self::record_step) or
        /// [`clear`](Self::clear) deletes the failures in a row after a success. An attempt that is not admitted is not
        /// counted.
        /// The rules are those of [`Failures`](super::Failures): of concurrent attempts, no more are admitted than of
        /// sequential ones.
        ///
        /// # Errors
        ///
        /// When it is not certain that the attempt was counted.
        fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Admission;

        /// Releases one attempt that was counted and could not be verified, because a backend failed. Without this
        /// operation, a database that is down for a while would lock its users out.
        ///
        /// # Errors
        ///
        /// When it is not certain that the attempt was released. It then remains counted as a failure, unless the store
        /// releases it later.
        fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> ();

        /// Records a time step of a device as used, unless this step or a later one of the device was used before. If
        /// the step is fresh, the same atomic step deletes the user's failures in a row
        /// ([`Failures::succeed`](super::Failures::succeed)) and, in an [`ApprovalStore`], the user's approvals. A
        /// replay deletes nothing.
        ///
        /// The store keeps the record at least until [`UsedStep::keep_until`], which is after the last moment at which
        /// a code of the step is accepted. It never shortens the time of an existing record.
        ///
        /// # Errors
        ///
        /// When it is not certain that the step was fresh, or that the record is stored.
        fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> StepOutcome;

        /// Deletes `records` of `user` in one atomic step: after a success, or because an administrator unlocks the
        /// account. Used time steps remain.
        ///
        /// A store that is no [`ApprovalStore`] ignores [`Records::Approvals`].
        ///
        /// # Errors
        ///
        /// When it is not certain that the records are deleted.
        fn clear(&self, user: &UserId, records: Records) -> ();
    }
}

operations! {
    /// Stores pending approvals: at most one of each user, redeemed at most once.
    ///
    /// Each operation is one atomic step, and after an error of any operation no request is granted. The rules are
    /// those of [`ApprovalRecord`](super::ApprovalRecord). A user who is throttled or locked out by the failures of the
    /// [`Store`] can neither begin nor redeem an approval, so that neither factor is a way around the other
    /// ([`Failures::check_other_factor`](super::Failures::check_other_factor)).
    pub trait ApprovalStore: [Store] [] dyn ErasedApprovalStore {
        /// Begins an approval of `user` and counts it, or returns why not.
        ///
        /// # Errors
        ///
        /// When it is not certain that the approval was begun.
        fn begin_approval(&self, user: &UserId, approval: &NewApproval, throttle: &Throttle, now: UnixTime)
            -> BeginOutcome;

        /// Sets the verifier's id of an approval that was begun, and its end. Returns whether the approval was still
        /// the pending one of the user. If not, it cannot be redeemed.
        ///
        /// # Errors
        ///
        /// When it is not certain that the id is stored.
        fn set_approval_id(&self, user: &UserId, key: ApprovalKey, id: &ApprovalId, until: UnixTime) -> bool;

        /// Returns whether an approval is pending. It changes nothing.
        ///
        /// # Errors
        ///
        /// When the state is not certain.
        fn find_approval(&self, user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime)
            -> FindOutcome;

        /// Redeems an approval that the user allowed: of concurrent calls, one returns [`FindOutcome::Found`]. This is
        /// a success, so the same atomic step deletes the user's failures in a row
        /// ([`Failures::succeed_uncounted`](super::Failures::succeed_uncounted)) and approvals.
        ///
        /// # Errors
        ///
        /// When it is not certain that the approval is redeemed.
        fn redeem_approval(&self, user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime)
            -> FindOutcome;

        /// Ends an approval for the given reason, so that the user can begin another one.
        ///
        /// # Errors
        ///
        /// When it is not certain that the approval is ended. It ends when it expires.
        fn end_approval(&self, user: &UserId, key: ApprovalKey, reason: EndReason) -> ();
    }
}

operations! {
    /// Inspects a store without changing it.
    pub trait InspectStore: [Store] [] dyn ErasedInspectStore {
        /// Returns whether a delay or a lock-out of `user` applies now, for a factor other than an OTP. It counts
        /// nothing. The rule is [`Failures::check_other_factor`](super::Failures::check_other_factor).
        ///
        /// # Errors
        ///
        /// When the state is not certain.
        fn peek(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Admission;

        /// Checks whether the store can be used now: it responds, accepts writes, and does not discard records.
        ///
        /// # Errors
        ///
        /// When one of these is not the case, or is not certain.
        fn check(&self) -> ();
    }
}

/// The records that [`Store::clear`] deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Records {
    /// All failures, including recent ones: an administrator unlocks the account. Approvals remain, so that the client
    /// that caused the failures cannot send pushes again, and a pending approval does not end.
    Failures,
    /// The approvals, including the pending one.
    Approvals,
    /// Failures in a row and approvals: after an attempt that was counted and was right. Recent failures remain, as
    /// [`Failures::succeed`](super::Failures::succeed) decides.
    FailuresAndApprovals,
}

impl Records {
    /// Whether failures are deleted.
    #[must_use]
    pub fn include_failures(self) -> bool {
        matches!(self, Self::Failures | Self::FailuresAndApprovals)
    }

    /// Whether approvals are deleted.
    #[must_use]
    pub fn include_approvals(self) -> bool {
        matches!(self, Self::Approvals | Self::FailuresAndApprovals)
    }
}

/// A store whose type is chosen at run time. Clones share it.
///
/// Each operation allocates the future of the store inside.
///
/// ```
/// use tower_toopher::TotpVerifier;
/// use tower_toopher::store::{DynStore, MemoryStore};
/// use tower_toopher::totp::MemoryPairings;
///
/// // Or a store in a database, if the configuration names one.
/// let store = DynStore::new(MemoryStore::new());
/// let verifier = TotpVerifier::new(MemoryPairings::new())?.store(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DynStore(Arc<dyn ErasedAll>);

trait ErasedAll: ErasedStore + ErasedApprovalStore + ErasedInspectStore {}

impl<S: ApprovalStore + InspectStore> ErasedAll for S {}

impl DynStore {
    /// Erases the type of `store`.
    #[must_use]
    pub fn new(store: impl ApprovalStore + InspectStore) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for DynStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynStore").finish_non_exhaustive()
    }
}
