//! The contract between the middleware and a verifier.
//!
//! A verifier is any `tower::Service<Attempt, Response = Verdict>`, so timeouts, retries, limits and circuit breakers
//! compose from tower. This module contains the request ([`Attempt`]), the response
//! ([`Verdict`]), the error ([`VerifierError`]), and two verifiers that are built from others:
//! [`FallbackVerifier`] and [`FailOpenLayer`].

pub(crate) mod approval;
pub(crate) mod attempt;
mod binding;
pub(crate) mod error;
mod extensions;
pub(crate) mod factor;
mod fail_open;
mod fallback;
pub(crate) mod otp;
pub(crate) mod subject;
pub(crate) mod verdict;

pub use self::approval::{ApprovalId, ApprovalMode, ApprovalToken, PendingApproval};
pub(crate) use self::attempt::Attempt;
pub use self::binding::RequestBinding;
pub(crate) use self::error::{BoxError, error_chain};
pub use self::error::{ErrorClass, VerifierError};
pub use self::extensions::{AuditPath, ExtraBinding, RequestId, SessionId};
pub use self::factor::FactorName;
pub(crate) use self::factor::{Factor, SecondFactor};
pub use self::fail_open::{FailOpen, FailOpenFuture, FailOpenLayer};
pub use self::fallback::FallbackVerifier;
pub(crate) use self::otp::Otp;
pub use self::otp::{OtpKind, ParseOtpError};
#[cfg(feature = "totp")]
pub(crate) use self::otp::{RECOVERY_CODE_ALPHABET, is_ignored};
pub(crate) use self::subject::{Action, Subject, Terminal, UserId};
pub use self::verdict::{BypassReason, Bypassed};
pub(crate) use self::verdict::{DenyReason, Verdict};
