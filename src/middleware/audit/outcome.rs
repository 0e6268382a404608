use crate::middleware::response::RejectionKind;
#[cfg(feature = "metrics")]
use crate::verify::DenyReason;
use crate::verify::{BypassReason, ErrorClass, Factor};

/// What the layer decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The factor was verified, and the request was forwarded.
    Granted(Factor),
    /// An outer layer verified a factor of the same user for the same action, and the request was forwarded.
    AlreadyVerified,
    /// The factor was verified for an earlier request, within
    /// [`max_age`](crate::ToopherLayer::max_age), and the request was forwarded.
    Reused(Factor),
    /// The layer is configured to forward the request without verification.
    Skipped,
    /// The request was forwarded without a second factor.
    Bypassed(BypassReason),
    /// The layer responded instead of the inner service.
    Rejected(RejectionKind),
    /// The request was dropped before a decision, because the client disconnected or the verifier panicked.
    Cancelled,
}

impl Outcome {
    /// The stable name: `granted`, `already_verified`, `reused`, `skipped`, `allowed_unenrolled`, `failed_open`,
    /// `denied`, `pending`, `unavailable`, `cancelled`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::AlreadyVerified => "already_verified",
            Self::Reused(_) => "reused",
            Self::Skipped => "skipped",
            Self::Bypassed(BypassReason::NotEnrolled) => "allowed_unenrolled",
            Self::Bypassed(BypassReason::FailOpen(_)) => "failed_open",
            Self::Rejected(kind @ (RejectionKind::Pending | RejectionKind::Unavailable(_))) => kind.name(),
            Self::Rejected(_) => "denied",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reason, as a stable name: of the [`RejectionKind`] of a denial, or of the [`ErrorClass`] of a failure.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Bypassed(BypassReason::FailOpen(class)) | Self::Rejected(RejectionKind::Unavailable(Some(class))) => {
                Some(class.name())
            }
            Self::Rejected(RejectionKind::Pending | RejectionKind::Unavailable(None)) => None,
            Self::Rejected(kind) => Some(kind.name()),
            _ => None,
        }
    }

    /// The factor, as a stable name: `totp`, `recovery_code`, `push`, `other`.
    #[must_use]
    pub const fn factor(self) -> Option<&'static str> {
        match self {
            Self::Granted(factor) | Self::Reused(factor) => Some(factor.name()),
            _ => None,
        }
    }

    /// Whether the request was forwarded although the user was expected to show a second factor and did not.
    #[must_use]
    pub const fn is_bypass(self) -> bool {
        matches!(self, Self::Bypassed(_))
    }

    /// The class of the verifier's error, if the verifier failed and the class is known.
    #[must_use]
    pub const fn error_class(self) -> Option<ErrorClass> {
        match self {
            Self::Bypassed(BypassReason::FailOpen(class)) | Self::Rejected(RejectionKind::Unavailable(Some(class))) => {
                Some(class)
            }
            _ => None,
        }
    }

    /// The reason, if the verifier denied the attempt.
    #[cfg(feature = "metrics")]
    pub(super) const fn denial(self) -> Option<DenyReason> {
        match self {
            Self::Rejected(RejectionKind::Denied(reason)) => Some(reason),
            _ => None,
        }
    }
}
