#![cfg_attr(feature = "totp", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "totp"), doc = "A second factor as a Tower middleware: see [`gate`].")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "approvals")]
pub mod approvals;
mod attempt;
mod audit;
#[cfg(feature = "axum")]
pub mod axum;
mod binding;
mod either;
mod fault;
pub mod gate;
mod media;
#[cfg(feature = "oauth1")]
pub mod oauth1;
mod otp;
mod pending;
#[cfg(any(feature = "approvals", feature = "grants", feature = "oauth1", feature = "totp"))]
mod random;
#[cfg(any(feature = "approvals", feature = "grants", feature = "server"))]
mod seal;
#[cfg(feature = "server")]
pub mod server;
#[cfg(any(feature = "approvals", feature = "totp"))]
mod spent;
#[cfg(any(feature = "approvals", feature = "totp"))]
pub mod store;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(any(feature = "client", feature = "client-hyper"))]
pub mod toopher;
#[cfg(feature = "totp")]
pub mod totp;
mod verdict;

#[cfg(feature = "approvals")]
pub use crate::approvals::Approvals;
pub use crate::attempt::{Action, Attempt, InvalidUserId, Terminal, UserId};
pub use crate::binding::RequestBinding;
pub use crate::either::EitherVerifier;
pub use crate::fault::{Fault, FaultKind};
pub use crate::gate::{
    AuditEvent, AuditOutcome, Extract, ExtractError, Extracted, GrpcStatus, Header, HeaderOrForm, NotEnrolledPolicy,
    ProblemJson, Profile, Realm, Reject, Rejection, RejectionKind, ReplayBody, StepUp, ToopherLayer, ToopherService,
};
#[cfg(feature = "faults")]
pub use crate::gate::{FaultPolicy, InvalidFaultPolicy};
#[cfg(feature = "grants")]
pub use crate::gate::{Grant, Grants};
pub use crate::otp::{Otp, OtpKind, ParseOtpError};
pub use crate::pending::{Approval, ApprovalId, Challenge, InvalidApprovalId, Pending};
#[cfg(any(feature = "client", feature = "client-hyper"))]
pub use crate::toopher::{ToopherClient, ToopherVerifier};
#[cfg(feature = "totp")]
pub use crate::totp::TotpVerifier;
pub use crate::verdict::{
    BoxError, DenyReason, Factor, SecondFactor, Unavailable, Verdict, WithoutReason, WithoutSecondFactor,
};
