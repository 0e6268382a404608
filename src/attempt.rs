//! The question: what the gate asks a verifier.

use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "approvals", feature = "totp"))]
use crate::spent::SpentIn;
use crate::{Approval, Challenge, Otp, RequestBinding};

/// The most bytes that a [`UserId`] may have, so that what is stored per user is bounded.
const MAX_USER_ID: usize = 512;

/// One request for a second factor: who, for what, from where, and with which OTP.
///
/// The gate builds it and a verifier, any `tower::Service<Attempt, Response = Verdict>`, answers it.
///
/// ```
/// use tower_toopher::{Attempt, UserId};
///
/// let attempt = Attempt::new(UserId::new("alice")?, "transfer").with_otp("081 804".parse().ok());
/// assert_eq!(attempt.user().as_str(), "alice");
/// assert_eq!(attempt.action().as_str(), "transfer");
/// assert!(attempt.otp().is_some());
/// # Ok::<(), tower_toopher::InvalidUserId>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Attempt {
    user: UserId,
    action: Action,
    terminal: Option<Terminal>,
    otp: Option<Otp>,
    waiting: Option<Box<Waiting>>,
}

/// What only attempts need that may wait for a person. Those with an OTP, which are most, do not carry it about.
#[derive(Clone, Debug, Default)]
struct Waiting {
    challenge: Option<Challenge>,
    request: Option<RequestBinding>,
    approval: Approval,
    #[cfg(any(feature = "approvals", feature = "totp"))]
    spent_in: Option<SpentIn>,
}

impl Attempt {
    /// An attempt without an OTP and without a terminal.
    #[inline]
    pub fn new(user: UserId, action: impl Into<Action>) -> Self {
        Self { user, action: action.into(), terminal: None, otp: None, waiting: None }
    }

    /// Sets the OTP, or takes it away. Default: none.
    #[inline]
    pub fn with_otp(mut self, otp: Option<Otp>) -> Self {
        self.otp = otp;
        self
    }

    /// Sets the terminal that the request comes from. Default: none.
    #[inline]
    pub fn with_terminal(mut self, terminal: Option<Terminal>) -> Self {
        self.terminal = terminal;
        self
    }

    /// Sets the challenge that came with the request. Default: none.
    pub fn with_challenge(self, challenge: Option<Challenge>) -> Self {
        self.change(|waiting| waiting.challenge = challenge)
    }

    /// Sets the request that the attempt is for. Default: none, and no approval can be bound to it.
    pub fn with_request(self, request: Option<RequestBinding>) -> Self {
        self.change(|waiting| waiting.request = request)
    }

    /// Sets what the verifier may do towards an approval. Default: [`Approval::Unwanted`].
    ///
    /// [`Approvals`](https://docs.rs/tower-toopher/latest/tower_toopher/approvals/struct.Approvals.html) does this, and
    /// keeps count. Code that asks for approvals by itself opens an attack: whoever has the password can have the phone
    /// ring until its owner gives in.
    pub fn with_approval(self, approval: Approval) -> Self {
        self.change(|waiting| waiting.approval = approval)
    }

    /// Has the store noted in which the OTP is spent.
    #[cfg(feature = "approvals")]
    pub(crate) fn with_spent_in(self, spent_in: Option<SpentIn>) -> Self {
        self.change(|waiting| waiting.spent_in = spent_in)
    }

    fn change(mut self, change: impl FnOnce(&mut Waiting)) -> Self {
        change(self.waiting.get_or_insert_default());
        self
    }

    /// Who must show a second factor.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What they want to do.
    #[must_use]
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Where they want to do it from.
    #[must_use]
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// The OTP that came with the request; none only when the request had none at all.
    #[must_use]
    pub fn otp(&self) -> Option<&Otp> {
        self.otp.as_ref()
    }

    /// The challenge that came with the request: the name of an approval that an earlier one asked for.
    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        self.waiting.as_ref()?.challenge.as_ref()
    }

    /// The request that the attempt is for; none where no approval may be asked for.
    #[must_use]
    pub fn request(&self) -> Option<&RequestBinding> {
        self.waiting.as_ref()?.request.as_ref()
    }

    /// What the verifier may do towards an approval.
    #[must_use]
    pub fn approval(&self) -> &Approval {
        self.waiting.as_ref().map_or(&Approval::Unwanted, |waiting| &waiting.approval)
    }

    /// Where to note the store in which the OTP is spent, if anybody wants to know.
    #[cfg(feature = "totp")]
    pub(crate) fn spent_in(&self) -> Option<&SpentIn> {
        self.waiting.as_ref()?.spent_in.as_ref()
    }
}

/// The application's own, canonical name of an account.
///
/// The first factor puts it into the request's extensions, where the gate finds it. Failures and spent codes are kept
/// under it, so it must be what the account *is* (a primary key, say) and not what somebody typed: where `alice`,
/// `ALICE` and `alice@example.com` are one account, one of them, or a number, is its id. Were the typed text used,
/// each spelling would come with free guesses of its own.
///
/// Cloning is cheap. Any text of 1 to 512 bytes will do; it is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes the id of an account.
    ///
    /// # Errors
    ///
    /// [`InvalidUserId`] when it is empty or longer than 512 bytes.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, InvalidUserId> {
        let id = id.into();
        if id.is_empty() || id.len() > MAX_USER_ID { Err(InvalidUserId { len: id.len() }) } else { Ok(Self(id)) }
    }

    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a [`UserId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUserId {
    len: usize,
}

impl fmt::Display for InvalidUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a user id has 1 to {MAX_USER_ID} bytes, and this one has {}", self.len)
    }
}

impl std::error::Error for InvalidUserId {}

/// What the second factor is asked for: `log in`, `transfer`.
///
/// People read it on their phone, so it is a short phrase in their words. A factor that was shown for one action does
/// not count for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Action(Arc<str>);

impl Action {
    /// The phrase.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for Action {
    fn from(phrase: T) -> Self {
        Self(phrase.into())
    }
}

/// Where a request comes from: the browser or machine in front of the user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Terminal {
    name: Arc<str>,
    discriminator: Option<Arc<str>>,
}

impl Terminal {
    /// A terminal by the name that people read on their phone, such as `office laptop`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), discriminator: None }
    }

    /// Sets a value that tells terminals of the same name apart and that nobody else can guess, such as the value of
    /// a random cookie. Default: none. Without it, whoever knows the name can claim to be that terminal, which matters
    /// where approvals are automated per terminal.
    #[must_use]
    pub fn with_discriminator(mut self, discriminator: impl Into<Arc<str>>) -> Self {
        self.discriminator = Some(discriminator.into());
        self
    }

    /// The name that people read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value that tells terminals of the same name apart.
    #[must_use]
    pub fn discriminator(&self) -> Option<&str> {
        self.discriminator.as_deref()
    }
}

impl fmt::Debug for Terminal {
    /// Leaves the discriminator out: who knows it can claim to be this terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("name", &self.name).finish_non_exhaustive()
    }
}
