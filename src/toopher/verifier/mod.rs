mod error;
mod policy;
mod users;
mod verify;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

pub use self::error::ToopherError;
use self::policy::Policy;
pub use self::users::{Address, ByPairingId, ByUserName, PairingIds};
use super::{ApiCall, ApiReply};
use crate::{Attempt, BoxError, DenyReason, Verdict};

/// Verifies through a Toopher API: an OTP at once, and without one by asking the user's phone. See the
/// [module docs](crate::toopher).
///
/// `C` makes the calls: a [`ToopherClient`](super::ToopherClient), or one inside tower's layers. `U` names users to
/// the API. It remembers nothing. Phones are asked only where an attempt [wants an approval](crate::Approval), that is,
/// inside [`Approvals`](crate::Approvals).
#[must_use]
pub struct ToopherVerifier<C, U = ByUserName> {
    client: C,
    users: Arc<U>,
    policy: Arc<Policy>,
}

impl<C> ToopherVerifier<C> {
    /// A verifier that names users to the API by their [`UserId`](crate::UserId).
    ///
    /// A time limit around it must be longer than the client's own
    /// ([`ToopherClient::timeout`](super::ToopherClient::timeout)), so that a call that may have spent an OTP is not given
    /// up while its answer is on its way. Where the client is in a retry layer, that layer must repeat nothing but calls that only look
    /// ([`ApiCall::is_status`]): one that was lost may have pushed, or spent an OTP.
    pub fn new(client: C) -> Self {
        Self { client, users: Arc::new(ByUserName), policy: Arc::default() }
    }
}

impl<C, U> ToopherVerifier<C, U> {
    /// Names users to the API by the id of their pairing. Default: by name. A user without a pairing is
    /// [`DenyReason::NotEnrolled`], and nothing is called.
    pub fn by_pairing_id<P: PairingIds>(self, ids: P) -> ToopherVerifier<C, ByPairingId<P>> {
        ToopherVerifier { client: self.client, users: Arc::new(ByPairingId(ids)), policy: self.policy }
    }

    /// Sets what `Retry-After` says to a request that waits for the phone. Default: 2 seconds.
    pub fn poll_after(self, wait: Duration) -> Self {
        self.change(|policy| policy.poll_after = wait)
    }

    /// Sets how long a user waits whom the API throttles without saying for how long. Default: 30 seconds.
    pub fn throttled_for(self, wait: Duration) -> Self {
        self.change(|policy| policy.throttled_for = wait)
    }

    /// Lets no rule of a user's answer in their place. Default: rules may, from terminals with a discriminator; those
    /// without one are told apart by a name that others can guess.
    pub fn without_automation(self) -> Self {
        self.change(|policy| policy.automation = false)
    }

    /// Has phones ask for their lock pattern. Default: they do not.
    pub fn require_challenge(self) -> Self {
        self.change(|policy| policy.challenge = true)
    }

    /// Has the site show a number that the phone asks for, so that nobody allows what is not in front of them
    /// ([`Pending::number`](crate::Pending::number)). Default: not. An API that does not know of it asks as before.
    pub fn number_matching(self) -> Self {
        self.change(|policy| policy.number_matching = true)
    }

    /// Names a terminal that the API does not know (706) as the request names it, and asks again. Default: such a
    /// request is [`DenyReason::OtpRequired`], and the application names the terminal.
    pub fn create_terminals(self) -> Self {
        self.change(|policy| policy.create_terminals = true)
    }

    /// Takes a user who does not exist at the API (705) for one who is not enrolled, so that the gate's
    /// [`NotEnrolledPolicy`](crate::NotEnrolledPolicy) decides. Default: [`DenyReason::UnknownUser`], a refusal.
    pub fn unknown_is_not_enrolled(self) -> Self {
        self.change(|policy| policy.unknown_user = DenyReason::NotEnrolled)
    }

    /// Takes a user who has opted out (704) for one who is not enrolled, so that the gate's
    /// [`NotEnrolledPolicy`](crate::NotEnrolledPolicy) decides. Default: [`DenyReason::UnknownUser`], a refusal.
    ///
    /// It opens an attack where that policy lets users pass: **whoever gets an administrator, or the user, to switch
    /// the second factor off once needs nothing but the password from then on.**
    pub fn insecure_opted_out_is_not_enrolled(self) -> Self {
        self.change(|policy| policy.opted_out = DenyReason::NotEnrolled)
    }

    fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<C, U> Service<Attempt> for ToopherVerifier<C, U>
where
    C: Service<ApiCall, Response = ApiReply> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    U: Address,
{
    type Response = Verdict;
    type Error = ToopherError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, ToopherError>> + Send>>;

    /// Always ready. The client is made ready on a clone, for calls that are made.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToopherError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().verify(attempt))
    }
}

impl<C: Clone, U> Clone for ToopherVerifier<C, U> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), users: Arc::clone(&self.users), policy: Arc::clone(&self.policy) }
    }
}

impl<C: fmt::Debug, U> fmt::Debug for ToopherVerifier<C, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherVerifier")
            .field("client", &self.client)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
