//! The request that the middleware sends to a verifier.

use super::approval::{ApprovalMode, ApprovalToken};
use super::binding::RequestBinding;
use super::otp::Otp;
use super::subject::{Action, Subject, Terminal, UserId};

/// One verification request: the subject, and the OTP or the approval that came with the HTTP request.
///
/// The layer builds it. A verifier, any `tower::Service<Attempt, Response = Verdict>`, responds to it.
///
/// ```
/// use tower_toopher::{Attempt, Otp, UserId};
///
/// let attempt = Attempt::new(UserId::new("alice")?, "transfer").with_otp("081 804".parse::<Otp>()?);
/// assert_eq!(attempt.user().as_str(), "alice");
/// assert_eq!(attempt.action().as_str(), "transfer");
/// assert!(attempt.otp().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Attempt {
    subject: Subject,
    otp: Option<Otp>,
    approval: Option<Box<ApprovalContext>>,
    /// Whether the layer forwards users who have no second factor.
    allows_unenrolled: bool,
}

/// The fields that only attempts without an OTP need. They are boxed because most attempts have an OTP.
#[derive(Clone, Debug, Default)]
struct ApprovalContext {
    token: Option<ApprovalToken>,
    binding: Option<RequestBinding>,
    mode: ApprovalMode,
}

impl Attempt {
    /// An attempt without an OTP and without a terminal.
    #[inline]
    pub fn new(user: UserId, action: impl Into<Action>) -> Self {
        Self::from_subject(Subject::new(user, action))
    }

    /// Sets the OTP. Default: none.
    #[inline]
    pub fn with_otp(mut self, otp: impl Into<Option<Otp>>) -> Self {
        self.otp = otp.into();
        self
    }

    /// Sets the terminal that the request comes from. Default: none.
    #[inline]
    pub fn with_terminal(mut self, terminal: impl Into<Option<Terminal>>) -> Self {
        self.subject.terminal = terminal.into();
        self
    }

    /// Sets the approval token that came with the request. Default: none.
    pub fn with_approval_token(self, token: impl Into<Option<ApprovalToken>>) -> Self {
        self.change(|context| context.token = token.into())
    }

    /// Sets the request that an approval is bound to. Default: none, so no approval can be requested.
    pub fn with_request(self, binding: impl Into<Option<RequestBinding>>) -> Self {
        self.change(|context| context.binding = binding.into())
    }

    /// Sets what the verifier may do about an approval. Default: [`ApprovalMode::Disallowed`].
    ///
    /// `Approvals` (feature `approvals`) sets it and limits the number of approvals. Code that sets
    /// [`ApprovalMode::Request`] without a limit enables an attack: a client with the password can send pushes until
    /// the user gives in.
    pub fn with_approval_mode(self, mode: ApprovalMode) -> Self {
        self.change(|context| context.mode = mode)
    }

    #[inline]
    pub(crate) fn from_subject(subject: Subject) -> Self {
        Self { subject, otp: None, approval: None, allows_unenrolled: false }
    }

    /// Sets whether the layer forwards users who have no second factor. Default: it rejects them.
    #[inline]
    pub(crate) fn with_unenrolled_allowed(mut self, allowed: bool) -> Self {
        self.allows_unenrolled = allowed;
        self
    }

    fn change(mut self, change: impl FnOnce(&mut ApprovalContext)) -> Self {
        change(self.approval.get_or_insert_default());
        self
    }

    /// The user who must show a second factor.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.subject.user
    }

    /// The action that the user wants to perform.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.subject.action
    }

    /// The terminal that the request comes from.
    #[must_use]
    pub fn terminal(&self) -> Option<&Terminal> {
        self.subject.terminal.as_ref()
    }

    /// The OTP that came with the request. It is `None` only when the request contained no OTP at all.
    #[must_use]
    pub fn otp(&self) -> Option<&Otp> {
        self.otp.as_ref()
    }

    /// The approval token that came with the request.
    #[must_use]
    pub fn approval_token(&self) -> Option<&ApprovalToken> {
        self.approval.as_ref()?.token.as_ref()
    }

    /// The request that an approval is bound to. `None` where no approval may be requested.
    #[must_use]
    pub fn request(&self) -> Option<&RequestBinding> {
        self.approval.as_ref()?.binding.as_ref()
    }

    /// What the verifier may do about an approval.
    #[must_use]
    pub fn approval_mode(&self) -> &ApprovalMode {
        self.approval.as_ref().map_or(&ApprovalMode::Disallowed, |context| &context.mode)
    }

    /// Whether this attempt can neither request nor poll an approval.
    ///
    /// A timeout of any other attempt proves nothing about the verifier: the client chooses how long the layer waits
    /// for an approval (`Prefer: wait`), and the person may have denied it.
    pub(crate) fn is_otp_only(&self) -> bool {
        self.approval_token().is_none()
            && *self.approval_mode() == ApprovalMode::Disallowed
            && (self.otp.is_some() || self.request().is_none())
    }

    /// Whether the layer forwards users who have no second factor.
    pub(crate) fn allows_unenrolled(&self) -> bool {
        self.allows_unenrolled
    }
}
