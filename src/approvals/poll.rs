//! Polling an approval, and redeeming it.

use std::time::Duration;

use tokio::time::Instant;
use tower::ServiceExt;
use tower_service::Service;

use super::error::ApprovalError;
use super::limiter::Permit;
use super::service::Approvals;
use super::token::{self, BindingDigest, TokenClaims};
use crate::store::{ApprovalKey, ApprovalStore, EndReason, FindOutcome};
use crate::time::UnixTime;
use crate::verify::{ApprovalMode, ApprovalToken, Attempt, BoxError, DenyReason, PendingApproval, UserId, Verdict};

/// The minimum of `poll_interval`.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) const INVALID: Verdict = Verdict::Denied(DenyReason::InvalidApproval);

/// A request that waits for the decision.
struct LongPoll {
    wait: Duration,
    until: Instant,
    _permit: Permit,
}

impl<V, S> Approvals<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    S: ApprovalStore,
{
    /// A repeated request, with the token.
    pub(super) async fn poll(
        &mut self,
        attempt: &Attempt,
        token: ApprovalToken,
        binding: &BindingDigest,
    ) -> Result<Verdict, ApprovalError> {
        let now = self.now()?;
        match token::decrypt(&self.keys, &token, binding.owner_hash()) {
            Some(claims) if claims.is_for(binding) && now < claims.until => {
                self.wait(attempt, &claims, token, None).await
            }
            _ => Ok(INVALID),
        }
    }

    /// Polls once, or until the client's preferred time has passed. `pending` is the state, if it is known already.
    pub(super) async fn wait(
        &mut self,
        attempt: &Attempt,
        claims: &TokenClaims,
        token: ApprovalToken,
        pending: Option<Box<PendingApproval>>,
    ) -> Result<Verdict, ApprovalError> {
        let long_poll = self.long_poll(attempt);
        let mut pending = match pending {
            Some(pending) => pending,
            None => match self.poll_once(attempt, claims).await? {
                Verdict::Pending(pending) => pending,
                decided => return Ok(decided),
            },
        };
        loop {
            let remaining = long_poll
                .as_ref()
                .map_or(Duration::ZERO, |long_poll| long_poll.until.saturating_duration_since(Instant::now()));
            if remaining.is_zero() {
                let url = self.config.status_path.as_ref().map(|path| format!("{path}/{}", token.as_str()).into());
                let retry_after = pending.retry_after().unwrap_or(self.config.poll_interval);
                let pending = pending.with_retry_after(retry_after).with_token(token, url);
                return Ok(pending.with_waited(long_poll.map(|long_poll| long_poll.wait)).into());
            }
            tokio::time::sleep(self.pause().min(remaining)).await;
            match self.poll_once(attempt, claims).await {
                Ok(Verdict::Pending(still)) => pending = still,
                Ok(decided) => return Ok(decided),
                // The client may not have the token yet, and the push was sent, so the approval remains pending.
                Err(_) => {}
            }
        }
    }

    /// Polls once. If the user allowed the approval, redeems it before the request is granted.
    async fn poll_once(&mut self, attempt: &Attempt, claims: &TokenClaims) -> Result<Verdict, ApprovalError> {
        let user = attempt.user();
        if let Some(denied) = self.find(user, claims).await? {
            return Ok(denied);
        }
        match self.call_verifier(attempt.clone(), ApprovalMode::Poll(claims.approval.id().clone())).await? {
            Verdict::Granted(factor) => {
                let now = self.now()?;
                if now >= claims.until {
                    return Ok(INVALID);
                }
                let throttle = &self.config.throttle;
                let redeemed = self.store.redeem_approval(user, &claims.approval, throttle, now).await;
                Ok(denied(redeemed.map_err(ApprovalError::store)?).unwrap_or(Verdict::Granted(factor)))
            }
            // The approval is not decided.
            Verdict::Denied(reason @ (DenyReason::Throttled { .. } | DenyReason::LockedOut)) => {
                Ok(Verdict::Denied(reason))
            }
            Verdict::Denied(reason) => {
                self.end(user, claims.approval.key(), EndReason::Sent).await;
                // The user had a factor a moment ago, so the request must not pass as one of a user without a factor.
                let gone = matches!(reason, DenyReason::NotEnrolled | DenyReason::UnknownUser);
                Ok(if gone { INVALID } else { Verdict::Denied(reason) })
            }
            pending @ Verdict::Pending(_) => Ok(pending),
            // For the same reason.
            Verdict::Bypassed(_) => Err(ApprovalError::invalid_verdict()),
        }
    }

    /// The denial of an approval that is not pending, or of a user with too many failures. `None` if it is pending.
    pub(super) async fn find(&mut self, user: &UserId, claims: &TokenClaims) -> Result<Option<Verdict>, ApprovalError> {
        let now = self.now()?;
        if now >= claims.until {
            self.end(user, claims.approval.key(), EndReason::Sent).await;
            return Ok(Some(INVALID));
        }
        let found = self.store.find_approval(user, &claims.approval, &self.config.throttle, now).await;
        Ok(denied(found.map_err(ApprovalError::store)?))
    }

    pub(super) async fn end(&mut self, user: &UserId, key: ApprovalKey, reason: EndReason) {
        // If this fails, the approval ends when it expires.
        self.store.end_approval(user, key, reason).await.ok();
    }

    pub(super) async fn call_verifier(
        &mut self,
        attempt: Attempt,
        mode: ApprovalMode,
    ) -> Result<Verdict, ApprovalError> {
        let verdict = self.verifier.clone().oneshot(attempt.with_approval_mode(mode)).await;
        verdict.map_err(|error| ApprovalError::verifier(error.into()))
    }

    pub(super) fn pause(&self) -> Duration {
        self.config.poll_interval.max(MIN_POLL_INTERVAL)
    }

    fn long_poll(&self, attempt: &Attempt) -> Option<LongPoll> {
        let wait = attempt.request()?.wait()?.min(self.config.max_wait);
        if wait.is_zero() {
            return None;
        }
        let until = Instant::now().checked_add(wait)?;
        Some(LongPoll { wait, until, _permit: self.limiter.try_acquire(attempt.user())? })
    }

    pub(super) fn now(&self) -> Result<UnixTime, ApprovalError> {
        Ok(self.config.clock.now()?)
    }
}

fn denied(found: FindOutcome) -> Option<Verdict> {
    Some(Verdict::Denied(match found {
        FindOutcome::Found => return None,
        FindOutcome::Unknown => DenyReason::InvalidApproval,
        FindOutcome::Throttled { retry_after } => DenyReason::Throttled { retry_after },
        FindOutcome::LockedOut => DenyReason::LockedOut,
    }))
}
