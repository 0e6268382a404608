//! The verifier: a `tower::Service` of attempts over a service of API calls.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::config::Config;
use super::user_lookup::{ByPairingId, ByUserName, PairingIds, UserLookup};
use super::verify::Verification;
use crate::client::call::ApiCall;
use crate::client::response::ApiResponse;
use crate::verify::{Attempt, BoxError, DenyReason, Verdict, VerifierError};

/// Verifies attempts through a Toopher API: an OTP immediately, and an attempt without an OTP by a push to the user's
/// phone. See the [module docs](crate::client).
///
/// `C` sends the calls: a [`ToopherClient`](crate::client::ToopherClient), or one inside tower's layers. `U` identifies
/// users to the API. The verifier has no state. It sends a push only for an attempt with
/// [`ApprovalMode::Request`](crate::verify::ApprovalMode::Request), that is, inside [`Approvals`](crate::Approvals).
///
/// From outside, a user without a factor is like a user with a wrong OTP if the API counts the attempts of both, as
/// `toopher-server` does: the verifier sends the same call, and maps an error that says something about the user (704,
/// 705, 707, and 601 for a pairing that is unknown or not allowed) to a denial with the response of a wrong OTP.
///
/// The source of an error is the client's, if a call failed: see
/// [`ClientError::find_in`](crate::client::ClientError::find_in).
#[must_use]
pub struct ToopherVerifier<C, U = ByUserName> {
    client: C,
    users: Arc<U>,
    config: Arc<Config>,
}

impl<C> ToopherVerifier<C> {
    /// Creates a verifier that identifies users to the API by their [`UserId`](crate::UserId).
    ///
    /// A timeout around the verifier must be longer than the client's own
    /// ([`ToopherClient::timeout`](crate::client::ToopherClient::timeout)), so that it does not drop a call that may
    /// have used an OTP before the response arrives. A retry layer around the client must repeat only safe calls
    /// ([`ApiCall::is_safe`]): any other call may have sent a push or used an OTP before its response was lost.
    pub fn new(client: C) -> Self {
        Self { client, users: Arc::new(ByUserName), config: Arc::default() }
    }
}

impl<C, U> ToopherVerifier<C, U> {
    /// Identifies users to the API by the id of their pairing. Default: by name.
    ///
    /// The verifier denies a user without a pairing with [`DenyReason::NotEnrolled`]. An OTP of such a user is sent all
    /// the same, for a pairing that does not exist, so that the API counts it: a user without a pairing is then denied
    /// and throttled like a user with a wrong OTP. Without an OTP the verifier sends no call.
    pub fn with_pairing_ids<P: PairingIds>(self, ids: P) -> ToopherVerifier<C, ByPairingId<P>> {
        ToopherVerifier { client: self.client, users: Arc::new(ByPairingId(ids)), config: self.config }
    }

    /// Sets the interval in which the client should poll a pending approval (`Retry-After`). Default: 2 seconds.
    pub fn poll_interval(self, interval: Duration) -> Self {
        self.change(|config| config.poll_interval = interval)
    }

    /// Sets the wait for users whom the API throttles without a `Retry-After` of its own. Default: 30 seconds.
    pub fn default_retry_after(self, wait: Duration) -> Self {
        self.change(|config| config.default_retry_after = wait)
    }

    /// Does not allow rules of a user to decide in place of the user. Default: rules are allowed for terminals with a
    /// discriminator. Without a discriminator the API distinguishes terminals by name, which an attacker can guess.
    pub fn without_automation(self) -> Self {
        self.change(|config| config.automation = false)
    }

    /// Requires the phone's lock pattern for an approval (the API's `challenge_required`). Default: not required.
    pub fn require_lock_pattern(self) -> Self {
        self.change(|config| config.lock_pattern = true)
    }

    /// Requires the user to enter a number on the phone that the site displays
    /// ([`PendingApproval::number`](crate::verify::PendingApproval::number)), so that users do not approve a request
    /// that they cannot see. Default: not required. An API without support for it ignores the setting.
    pub fn number_matching(self) -> Self {
        self.change(|config| config.number_matching = true)
    }

    /// Creates a terminal that the API does not know (706), with the name that the attempt has, and repeats the
    /// request. Default: the verifier denies such an attempt with [`DenyReason::OtpRequired`], and the application
    /// creates the terminal.
    pub fn create_terminals(self) -> Self {
        self.change(|config| config.create_terminals = true)
    }

    /// Sets the denial of a user whom the API does not know (705). Default: [`DenyReason::UnknownUser`]. With
    /// [`DenyReason::NotEnrolled`] the layer's [`NotEnrolledPolicy`](crate::middleware::NotEnrolledPolicy) applies.
    pub fn on_unknown_user(self, reason: DenyReason) -> Self {
        self.change(|config| config.unknown_user = reason)
    }

    /// Sets the denial of a user who opted out (704). Default: [`DenyReason::UnknownUser`]. With
    /// [`DenyReason::NotEnrolled`] the layer's [`NotEnrolledPolicy`](crate::middleware::NotEnrolledPolicy) applies.
    ///
    /// That enables an attack if the policy allows such users: **an attacker who causes the user or an administrator to
    /// disable the second factor once needs only the password from then on.**
    pub fn insecure_on_opted_out(self, reason: DenyReason) -> Self {
        self.change(|config| config.opted_out = reason)
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.config));
        self
    }
}

impl<C, U> Service<Attempt> for ToopherVerifier<C, U>
where
    C: Service<ApiCall, Response = ApiResponse> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    U: UserLookup,
{
    type Response = Verdict;
    type Error = VerifierError;
    type Future = Pin<Box<dyn Future<Output = Result<Verdict, VerifierError>> + Send>>;

    /// Always ready. Each attempt drives a clone of the client to readiness when it sends a call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), VerifierError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let Self { client, users, config } = self.clone();
        Box::pin(async move { Verification { client, users: &*users, config: &config }.verify(&attempt).await })
    }
}

impl<C: Clone, U> Clone for ToopherVerifier<C, U> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), users: Arc::clone(&self.users), config: Arc::clone(&self.config) }
    }
}

impl<C: fmt::Debug, U> fmt::Debug for ToopherVerifier<C, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherVerifier")
            .field("client", &self.client)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
