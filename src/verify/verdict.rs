//! The response of a verifier.

use std::time::Duration;

use super::approval::PendingApproval;
use super::error::ErrorClass;
use super::factor::Factor;

/// A verifier's response to an [`Attempt`](crate::Attempt).
///
/// A failure is not a verdict: a verifier that cannot decide returns an error, and the layer responds with 503.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Verdict {
    /// The factor was verified. The layer forwards the request.
    Granted(Factor),
    /// The factor was not verified. The layer rejects the request.
    Denied(DenyReason),
    /// The user was asked for an approval. The client may repeat the request.
    Pending(Box<PendingApproval>),
    /// No factor was verified, and the layer forwards the request **with the first factor alone**, marked with
    /// [`Bypassed`]. The layer records this before it forwards the request, and rejects the request if recording fails.
    Bypassed(BypassReason),
}

impl Verdict {
    /// A pending approval without an id. `retry_after` is how long the client should wait before it polls again.
    pub fn pending(retry_after: Option<Duration>) -> Self {
        PendingApproval::new().with_retry_after(retry_after).into()
    }
}

impl From<PendingApproval> for Verdict {
    fn from(pending: PendingApproval) -> Self {
        Self::Pending(Box::new(pending))
    }
}

/// Why a verifier denies an attempt. The client does not learn it: see
/// [`Rejection::code`](crate::Rejection::code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenyReason {
    /// The attempt has no OTP, and this verifier cannot request the factor in another way.
    OtpRequired,
    /// The OTP is not valid for the user at this time.
    WrongOtp,
    /// The OTP is valid and was used before.
    ReplayedOtp,
    /// The verifier does not know the user.
    UnknownUser,
    /// The user has no factor that can be verified.
    NotEnrolled,
    /// The user denied the request on the phone.
    DeniedByUser,
    /// The approval token is not valid for this request: invented, altered, of another user, expired, or redeemed.
    InvalidApproval,
    /// Another approval of this user is pending, and no second one is requested.
    AlreadyPending {
        /// How long the pending approval lasts at most.
        retry_after: Duration,
    },
    /// Too many failures: nothing was verified, and no code was recorded as used.
    Throttled {
        /// How long until the next attempt is verified.
        retry_after: Duration,
    },
    /// Too many failures in a row: an administrator must unlock the account.
    LockedOut,
}

impl DenyReason {
    /// The stable name in metrics and log fields, such as `wrong_otp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtpRequired => "otp_required",
            Self::WrongOtp => "wrong_otp",
            Self::ReplayedOtp => "replayed_otp",
            Self::UnknownUser => "unknown_user",
            Self::NotEnrolled => "not_enrolled",
            Self::DeniedByUser => "denied_by_user",
            Self::InvalidApproval => "invalid_approval",
            Self::AlreadyPending { .. } => "already_pending",
            Self::Throttled { .. } => "throttled",
            Self::LockedOut => "locked_out",
        }
    }

    /// How long the client should wait, where that is known.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::AlreadyPending { retry_after } | Self::Throttled { retry_after } => Some(retry_after),
            _ => None,
        }
    }
}

/// The request extension that the layer inserts when it forwards a request without a second factor.
///
/// The layer inserts it *instead of* a [`SecondFactor`](crate::SecondFactor), so that no handler mistakes one for the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bypassed {
    reason: BypassReason,
}

impl Bypassed {
    pub(crate) fn new(reason: BypassReason) -> Self {
        Self { reason }
    }

    /// Why the layer forwarded the request.
    #[must_use]
    pub fn reason(self) -> BypassReason {
        self.reason
    }
}

/// Why a request is forwarded without a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BypassReason {
    /// The user has no second factor, and
    /// [`NotEnrolledPolicy::InsecureAllow`](crate::middleware::NotEnrolledPolicy::InsecureAllow) allows such users.
    NotEnrolled,
    /// The verifier failed with an error of this class, and a [`FailOpenLayer`](crate::verify::FailOpenLayer) is around
    /// it.
    FailOpen(ErrorClass),
}
