//! The way from an attempt to a verdict: an OTP decides at once, a first request begins an approval, and a repeated one
//! polls it.

use tower_service::Service;

use super::config::SecondRequest;
use super::error::ApprovalError;
use super::poll::INVALID;
use super::service::Approvals;
use super::token::{self, BindingDigest, TokenClaims, new_key, owner_hash};
use crate::store::{ApprovalKey, ApprovalStore, BeginOutcome, EndReason, NewApproval, Records};
use crate::verify::{ApprovalMode, Attempt, BoxError, DenyReason, Verdict};

impl<V, S> Approvals<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    S: ApprovalStore,
{
    pub(super) async fn verify(&mut self, attempt: Attempt) -> Result<Verdict, ApprovalError> {
        if attempt.otp().is_some() {
            return self.verify_otp(attempt).await;
        }
        match (attempt.approval_token().cloned(), BindingDigest::from_attempt(&attempt)) {
            (None, Some(binding)) => self.begin(&attempt, &binding).await,
            (Some(token), Some(binding)) => self.poll(&attempt, token, &binding).await,
            (Some(_), None) => Ok(INVALID),
            // There is no request that an approval could be bound to.
            (None, None) => self.call_verifier(attempt, ApprovalMode::Disallowed).await,
        }
    }

    /// The OTP alone decides. After a right OTP, no approval is needed any more.
    async fn verify_otp(&mut self, attempt: Attempt) -> Result<Verdict, ApprovalError> {
        // The token must belong to the user and the session, but not to this request: it grants nothing here.
        let claims = match (attempt.approval_token(), attempt.request()) {
            (Some(token), Some(request)) => {
                token::decrypt(&self.keys, token, &owner_hash(attempt.user(), request.session()))
            }
            _ => None,
        };
        let user = attempt.user().clone();
        let mode = claims.map_or(ApprovalMode::Disallowed, |claims| ApprovalMode::Poll(claims.approval.id().clone()));
        let verdict = self.call_verifier(attempt, mode).await?;
        match verdict {
            Verdict::Pending(_) => Err(ApprovalError::invalid_verdict()),
            Verdict::Granted(_) => {
                // The verifier counts failures and deletes them. A success at a verifier that does not, such as a
                // remote one, must not unlock an account that another verifier has locked in this store.
                //
                // If the deletion fails: an approval that the user allows later finds no request, or expires soon.
                self.store.clear(&user, Records::Approvals).await.ok();
                Ok(verdict)
            }
            Verdict::Denied(_) | Verdict::Bypassed(_) => Ok(verdict),
        }
    }

    /// The first request: begins an approval, and lets the verifier request it.
    async fn begin(&mut self, attempt: &Attempt, binding: &BindingDigest) -> Result<Verdict, ApprovalError> {
        let config = &self.config;
        let new = NewApproval::new(new_key().map_err(ApprovalError::token)?, binding.binding_hash())
            .with_joining(config.second_request == SecondRequest::Join && has_client_secret(attempt))
            .with_limit(config.limit)
            .with_lifetime(config.lifetime);
        let (user, now) = (attempt.user(), self.now()?);
        let begun = self.store.begin_approval(user, &new, &config.throttle, now).await.map_err(ApprovalError::store)?;
        match begun {
            // If the future is dropped from here on, the approval remains pending for a while: a client that closes its
            // connection does not get a second push at once.
            BeginOutcome::Begun => self.request(attempt, binding, new.key()).await,
            BeginOutcome::Join { key, id, until } => {
                let claims = TokenClaims::new(key, id, until, attempt.action(), binding);
                let token = token::encrypt(&self.keys, &claims, binding)?;
                self.wait(attempt, &claims, token, None).await
            }
            BeginOutcome::AlreadyPending { retry_after } => {
                // An approval of a user without a factor is pending too, for a moment. Every request of that user gets
                // the verdict for users without a factor.
                match self.call_verifier(attempt.clone(), ApprovalMode::Disallowed).await? {
                    verdict @ Verdict::Denied(DenyReason::NotEnrolled | DenyReason::UnknownUser) => Ok(verdict),
                    _ => Ok(Verdict::Denied(DenyReason::AlreadyPending { retry_after })),
                }
            }
            BeginOutcome::LimitReached => self.call_verifier(attempt.clone(), ApprovalMode::Disallowed).await,
            BeginOutcome::Throttled { retry_after } => Ok(Verdict::Denied(DenyReason::Throttled { retry_after })),
            BeginOutcome::LockedOut => Ok(Verdict::Denied(DenyReason::LockedOut)),
        }
    }

    /// Lets the verifier request the approval that was begun.
    async fn request(
        &mut self,
        attempt: &Attempt,
        binding: &BindingDigest,
        key: ApprovalKey,
    ) -> Result<Verdict, ApprovalError> {
        let user = attempt.user();
        let pending = match self.call_verifier(attempt.clone(), ApprovalMode::Request).await {
            Ok(Verdict::Pending(pending)) => pending,
            Ok(Verdict::Granted(factor)) => {
                // A rule of the user decided, and not the user. The failures remain: otherwise a client that such a
                // rule grants could reset the count of its guesses.
                self.store.clear(user, Records::Approvals).await.ok();
                return Ok(Verdict::Granted(factor));
            }
            Ok(Verdict::Denied(reason)) => {
                self.end(user, key, end_reason(reason)).await;
                return Ok(Verdict::Denied(reason));
            }
            Ok(bypassed @ Verdict::Bypassed(_)) => {
                self.end(user, key, EndReason::Uncertain).await;
                return Ok(bypassed);
            }
            Err(error) => {
                self.end(user, key, EndReason::Uncertain).await;
                return Err(error);
            }
        };
        let Some(id) = pending.id() else {
            self.end(user, key, EndReason::Sent).await;
            return Err(ApprovalError::invalid_verdict());
        };
        let until = self.now()? + self.config.lifetime;
        let claims = TokenClaims::new(key, id.clone(), until, attempt.action(), binding);
        let token = token::encrypt(&self.keys, &claims, binding)?;
        let still_pending = self.store.set_approval_id(user, key, id, until).await.map_err(ApprovalError::store)?;
        // If the call took too long, another approval may be pending. This one cannot be redeemed.
        if !still_pending {
            return Ok(INVALID);
        }
        self.wait(attempt, &claims, token, Some(pending)).await
    }
}

/// What a denial states about the push.
fn end_reason(reason: DenyReason) -> EndReason {
    match reason {
        DenyReason::NotEnrolled | DenyReason::UnknownUser | DenyReason::Throttled { .. } | DenyReason::LockedOut => {
            EndReason::NotSent
        }
        DenyReason::DeniedByUser => EndReason::Sent,
        // The verifier requires an OTP: it cannot send a push, or it failed while it sent one.
        _ => EndReason::Uncertain,
    }
}

/// Whether the request contains a value that another person does not know, and so cannot repeat.
fn has_client_secret(attempt: &Attempt) -> bool {
    let session = attempt.request().and_then(|request| request.session()).map(|session| session.as_str());
    let discriminator = attempt.terminal().and_then(|terminal| terminal.discriminator());
    session.into_iter().chain(discriminator).any(|secret| !secret.is_empty())
}
