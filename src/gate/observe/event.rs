use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::gate::{Rejection, RejectionKind};
use crate::{Action, Factor, FaultKind, Terminal, UserId};

/// One decision of the gate: who, what, where, from where, and why.
///
/// [`ToopherLayer::audit`](crate::ToopherLayer::audit) has each of them given to a function of yours. It holds no OTP,
/// no challenge, no header and no query, and neither does its `Debug`. **The path is that of the request**: where an
/// application puts secrets into paths, such as a session id or the token of a link in a mail,
/// [`ToopherLayer::audit_path`](crate::ToopherLayer::audit_path) says what is told instead.
///
/// User, path and terminal are what people have written. `Debug` escapes what would end a line or colour a terminal;
/// `Display` of the parts does not.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub(super) outcome: AuditOutcome,
    pub(super) user: Option<UserId>,
    pub(super) action: Option<Action>,
    pub(super) terminal: Option<Terminal>,
    pub(super) method: Method,
    pub(super) path: Arc<str>,
    pub(super) request_id: Option<Arc<str>>,
    pub(super) verifier_time: Option<Duration>,
}

impl AuditEvent {
    /// What was decided, and why.
    #[must_use]
    pub fn outcome(&self) -> AuditOutcome {
        self.outcome
    }

    /// Who it was about. None where nobody was identified, or where the request was skipped before anybody looked.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// What they wanted to do. None where nobody looked.
    #[must_use]
    pub fn action(&self) -> Option<&Action> {
        self.action.as_ref()
    }

    /// Where they wanted to do it from, where the layer [looks](crate::ToopherLayer::terminal).
    #[must_use]
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path of the request, without its query, and cut after 1,024 bytes. Inside a router's `nest` the prefix is
    /// gone.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the application calls the request, where the layer [was told](crate::ToopherLayer::request_id).
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How long the verifier took, waiting for its readiness included. None where it was not asked.
    #[must_use]
    pub fn verifier_time(&self) -> Option<Duration> {
        self.verifier_time
    }
}

/// What the gate decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// The factor was shown, and the request went on.
    Granted(Factor),
    /// A gate further out was shown a factor of the same user for the same action, and the request went on.
    AlreadyPassed,
    /// The factor was shown in an earlier request, not longer ago than the layer
    /// [takes](crate::ToopherLayer::max_age), and the request went on.
    GrantedEarlier(Factor),
    /// The layer was told to let the request through unasked.
    Skipped,
    /// The user has no second factor, and the layer lets such users pass.
    PassedUnprotected,
    /// The verifier was in trouble, and the layer opens on that.
    FaultLetPass(FaultKind),
    /// The request was refused.
    Denied(RejectionKind),
    /// A person has been asked, and has not answered yet.
    Pending,
    /// The verifier was in trouble, of this kind where that is known, and the request was refused.
    Unavailable(Option<FaultKind>),
    /// The client went away before it was decided, or the verifier panicked.
    Abandoned,
}

impl AuditOutcome {
    /// A name that stays: `granted`, `already_passed`, `granted_earlier`, `skipped`, `passed_unprotected`,
    /// `fault_let_pass`, `denied`, `pending`, `unavailable`, `abandoned`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::AlreadyPassed => "already_passed",
            Self::GrantedEarlier(_) => "granted_earlier",
            Self::Skipped => "skipped",
            Self::PassedUnprotected => "passed_unprotected",
            Self::FaultLetPass(_) => "fault_let_pass",
            Self::Denied(_) => "denied",
            Self::Pending => "pending",
            Self::Unavailable(_) => "unavailable",
            Self::Abandoned => "abandoned",
        }
    }

    /// Why, as a name that stays: that of the [`RejectionKind`] of a denial, or of the [`FaultKind`] of a fault.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Denied(kind) => Some(kind.name()),
            Self::FaultLetPass(kind) | Self::Unavailable(Some(kind)) => Some(kind.name()),
            _ => None,
        }
    }

    /// The factor that was shown, as a name that stays: `totp`, `backup_code`, `push`, `other`.
    #[must_use]
    pub fn factor(self) -> Option<&'static str> {
        let (Self::Granted(factor) | Self::GrantedEarlier(factor)) = self else { return None };
        Some(factor.name())
    }

    /// Whether the request went on although nobody had shown a second factor, and was expected to.
    #[must_use]
    pub fn is_pass_without_factor(self) -> bool {
        matches!(self, Self::PassedUnprotected | Self::FaultLetPass(_))
    }
}

impl From<&Rejection> for AuditOutcome {
    fn from(rejection: &Rejection) -> Self {
        match rejection.kind() {
            RejectionKind::Pending => Self::Pending,
            RejectionKind::Unavailable => Self::Unavailable(rejection.fault()),
            kind => Self::Denied(kind),
        }
    }
}
