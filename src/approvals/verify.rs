//! From an attempt to a verdict.

use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;
use tower::ServiceExt;
use tower_service::Service;

use super::places::Place;
use super::policy::SecondRequest;
use super::sealed::{Binding, Opened, new_ticket, owner};
use super::{ApprovalError, Approvals};
use crate::spent::SpentIn;
use crate::store::{BeginPush, FoundPush, NewPush, PushEnd, PushStore, Ticket};
use crate::{Approval, Attempt, BoxError, Challenge, DenyReason, Pending, UserId, Verdict};

/// Verifiers are not asked more often than this, whatever they say.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// A request that waits for the answer, as long as it is one of those that may.
struct Hold {
    wait: Duration,
    until: Instant,
    _place: Place,
}

impl<V, S> Approvals<V, S>
where
    V: Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    S: PushStore,
{
    pub(super) async fn verify(&mut self, attempt: Attempt) -> Result<Verdict, ApprovalError> {
        if attempt.otp().is_some() {
            return self.verify_otp(attempt).await;
        }
        let binding = bind(&attempt);
        match (attempt.challenge().cloned(), binding) {
            (Some(challenge), Some(binding)) => match self.open(&challenge, &binding)? {
                Some(opened) => self.wait_for(&attempt, &opened, challenge, None).await,
                None => Ok(UNKNOWN),
            },
            (Some(_), None) => Ok(UNKNOWN),
            (None, Some(binding)) => self.begin(&attempt, &binding).await,
            // Nothing that an approval could be bound to.
            (None, None) => self.ask(attempt, Approval::Unwanted).await,
        }
    }

    /// The OTP alone decides. A right one is the answer to whatever is waited for.
    async fn verify_otp(&mut self, attempt: Attempt) -> Result<Verdict, ApprovalError> {
        // Whose it is matters, and not for which request: nothing passes by it here.
        let opened = match (attempt.challenge(), attempt.request()) {
            (Some(challenge), Some(request)) => self.keys.open(challenge, &owner(attempt.user(), request.session())),
            _ => None,
        };
        let user = attempt.user().clone();
        let approval = opened.map_or(Approval::Unwanted, |opened| Approval::Asked(opened.push.id));
        let spent_in = self.store.keeps_in().map(|_| SpentIn::default());
        let verdict = self.ask(attempt.with_spent_in(spent_in.clone()), approval).await?;
        match verdict {
            Verdict::Pending(_) => Err(ApprovalError::answer()),
            Verdict::Granted(_) => {
                // Where it was spent in this very store, that has forgotten the pushes in the same step.
                let forgotten = spent_in.zip(self.store.keeps_in()).is_some_and(|(spent, store)| spent.is(store));
                if !forgotten {
                    // It counts. An approval that is given later finds its request gone, or is over soon.
                    self.store.clear_pushes(&user).await.ok();
                }
                Ok(verdict)
            }
            Verdict::Denied(_) => Ok(verdict),
        }
    }

    /// The first request: takes the user's place, and has the phone asked.
    async fn begin(&mut self, attempt: &Attempt, binding: &Binding) -> Result<Verdict, ApprovalError> {
        let policy = &self.policy;
        let new = NewPush {
            joins: policy.second == SecondRequest::Join && told_apart(attempt),
            budget: policy.budget,
            lifetime: policy.lifetime,
            ..NewPush::new(new_ticket()?, binding.about())
        };
        let (user, now) = (attempt.user(), self.now()?);
        let begun = self.store.begin_push(user, &new, &policy.throttle, now).await.map_err(ApprovalError::store)?;
        match begun {
            // Were the future dropped in here, the place stays taken for a while: hanging up does not ring twice.
            BeginPush::Begun => self.ask_phone(attempt, binding, new.ticket).await,
            BeginPush::Join { ticket, id, until } => {
                let opened = Opened::new(ticket, id, until, attempt.action(), binding);
                let challenge = self.keys.seal(&opened, binding)?;
                self.wait_for(attempt, &opened, challenge, None).await
            }
            BeginPush::AlreadyPending { retry_after } => {
                // Whoever has no factor at all takes the place as well, for a moment, and is told so whoever else comes.
                match self.ask(attempt.clone(), Approval::Unwanted).await? {
                    nothing @ Verdict::Denied(DenyReason::NotEnrolled | DenyReason::UnknownUser) => Ok(nothing),
                    _ => Ok(Verdict::Denied(DenyReason::AlreadyPending { retry_after })),
                }
            }
            BeginPush::BudgetSpent => self.ask(attempt.clone(), Approval::Unwanted).await,
            BeginPush::Throttled { retry_after } => Ok(Verdict::Denied(DenyReason::Throttled { retry_after })),
            BeginPush::LockedOut => Ok(Verdict::Denied(DenyReason::LockedOut)),
        }
    }

    async fn ask_phone(
        &mut self,
        attempt: &Attempt,
        binding: &Binding,
        ticket: Ticket,
    ) -> Result<Verdict, ApprovalError> {
        let user = attempt.user();
        let pending = match self.ask(attempt.clone(), Approval::Wanted).await {
            Ok(Verdict::Pending(pending)) => pending,
            Ok(Verdict::Granted(factor)) => {
                // A rule of the user's answered at once.
                self.store.clear_pushes(user).await.ok();
                return Ok(Verdict::Granted(factor));
            }
            Ok(Verdict::Denied(reason)) => {
                self.end(user, ticket, how_it_ended(reason)).await;
                return Ok(Verdict::Denied(reason));
            }
            Err(error) => {
                self.end(user, ticket, PushEnd::Uncertain).await;
                return Err(error);
            }
        };
        let Some(id) = pending.id() else {
            self.end(user, ticket, PushEnd::Asked).await;
            return Err(ApprovalError::answer());
        };
        let until = self.now()?.saturating_add(self.policy.lifetime);
        let opened = Opened::new(ticket, id.clone(), until, attempt.action(), binding);
        let challenge = self.keys.seal(&opened, binding)?;
        let kept = self.store.keep_push(user, ticket, id, until).await.map_err(ApprovalError::store)?;
        // The call took so long that the place was given away: nobody can redeem this one.
        if !kept {
            return Ok(UNKNOWN);
        }
        self.wait_for(attempt, &opened, challenge, Some(pending)).await
    }

    /// Looks what became of it, once, or for as long as the client would like. `known` is what was said just now.
    async fn wait_for(
        &mut self,
        attempt: &Attempt,
        opened: &Opened,
        challenge: Challenge,
        known: Option<Box<Pending>>,
    ) -> Result<Verdict, ApprovalError> {
        let hold = self.hold(attempt);
        let mut pending = match known {
            Some(pending) => pending,
            None => match self.look(attempt, opened).await? {
                Verdict::Pending(pending) => pending,
                decided => return Ok(decided),
            },
        };
        loop {
            let left =
                hold.as_ref().map_or(Duration::ZERO, |hold| hold.until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                let url = self.policy.status_path.as_ref().map(|path| format!("{path}/{}", challenge.as_str()).into());
                let retry_after = pending.retry_after().unwrap_or(self.policy.poll_every);
                let pending = pending.with_retry_after(Some(retry_after)).with_challenge(challenge, url);
                return Ok(pending.with_waited(hold.map(|hold| hold.wait)).into());
            }
            tokio::time::sleep(self.pause().min(left)).await;
            match self.look(attempt, opened).await {
                Ok(Verdict::Pending(still)) => pending = still,
                Ok(decided) => return Ok(decided),
                // The client may not have the challenge yet, and the phone has been asked: it is waited for.
                Err(_) => {}
            }
        }
    }

    /// Looks once. Whoever sees that it was allowed redeems it before anybody hears of it.
    async fn look(&mut self, attempt: &Attempt, opened: &Opened) -> Result<Verdict, ApprovalError> {
        let user = attempt.user();
        if let Some(verdict) = self.find(user, opened).await? {
            return Ok(verdict);
        }
        match self.ask(attempt.clone(), Approval::Asked(opened.push.id.clone())).await? {
            Verdict::Granted(factor) => {
                let now = self.now()?;
                if now >= opened.until {
                    return Ok(UNKNOWN);
                }
                let throttle = &self.policy.throttle;
                let redeemed = self.store.redeem_push(user, &opened.push, throttle, now).await;
                Ok(denial(redeemed.map_err(ApprovalError::store)?).unwrap_or(Verdict::Granted(factor)))
            }
            // Not now is no answer to it.
            Verdict::Denied(reason @ (DenyReason::Throttled { .. } | DenyReason::LockedOut)) => {
                Ok(Verdict::Denied(reason))
            }
            Verdict::Denied(reason) => {
                self.end(user, opened.push.ticket, PushEnd::Asked).await;
                // Who was asked a moment ago has a factor, or had one: nobody passes for having none.
                let gone = matches!(reason, DenyReason::NotEnrolled | DenyReason::UnknownUser);
                Ok(if gone { UNKNOWN } else { Verdict::Denied(reason) })
            }
            pending @ Verdict::Pending(_) => Ok(pending),
        }
    }

    /// What is to be said of it before the verifier is asked: nothing, while it is waited for.
    pub(super) async fn find(&mut self, user: &UserId, opened: &Opened) -> Result<Option<Verdict>, ApprovalError> {
        let now = self.now()?;
        if now >= opened.until {
            self.end(user, opened.push.ticket, PushEnd::Asked).await;
            return Ok(Some(UNKNOWN));
        }
        let found = self.store.find_push(user, &opened.push, &self.policy.throttle, now).await;
        Ok(denial(found.map_err(ApprovalError::store)?))
    }

    pub(super) async fn end(&mut self, user: &UserId, ticket: Ticket, end: PushEnd) {
        // What cannot be ended now is over soon.
        self.store.end_push(user, ticket, end).await.ok();
    }

    pub(super) async fn ask(&mut self, attempt: Attempt, approval: Approval) -> Result<Verdict, ApprovalError> {
        let verdict = self.verifier.clone().oneshot(attempt.with_approval(approval)).await;
        verdict.map_err(|error| ApprovalError::verifier(error.into()))
    }

    pub(super) fn pause(&self) -> Duration {
        self.policy.poll_every.max(MIN_PAUSE)
    }

    fn open(&self, challenge: &Challenge, binding: &Binding) -> Result<Option<Opened>, ApprovalError> {
        let now = self.now()?;
        let opened = self.keys.open(challenge, binding.owner());
        Ok(opened.filter(|opened| opened.is_for(binding) && now < opened.until))
    }

    fn hold(&self, attempt: &Attempt) -> Option<Hold> {
        let wait = attempt.request()?.wait()?.min(self.policy.longest_wait);
        if wait.is_zero() {
            return None;
        }
        let until = Instant::now().checked_add(wait)?;
        Some(Hold { wait, until, _place: self.held.take(attempt.user())? })
    }

    pub(super) fn now(&self) -> Result<Duration, ApprovalError> {
        (self.policy.clock)().duration_since(UNIX_EPOCH).map_err(ApprovalError::clock)
    }
}

/// What a denial says of whether the phone rang.
fn how_it_ended(reason: DenyReason) -> PushEnd {
    match reason {
        DenyReason::NotEnrolled | DenyReason::UnknownUser | DenyReason::Throttled { .. } | DenyReason::LockedOut => {
            PushEnd::NotAsked
        }
        // The person has said no.
        DenyReason::Refused => PushEnd::Asked,
        // An OTP is wanted: because there is no way to ask, or because asking went wrong on the way.
        _ => PushEnd::Uncertain,
    }
}

const UNKNOWN: Verdict = Verdict::Denied(DenyReason::UnknownApproval);

fn denial(found: FoundPush) -> Option<Verdict> {
    Some(Verdict::Denied(match found {
        FoundPush::Open => return None,
        FoundPush::Unknown => DenyReason::UnknownApproval,
        FoundPush::Throttled { retry_after } => DenyReason::Throttled { retry_after },
        FoundPush::LockedOut => DenyReason::LockedOut,
    }))
}

fn bind(attempt: &Attempt) -> Option<Binding> {
    let request = attempt.request().filter(|request| request.is_whole())?;
    Some(Binding::of(attempt, request))
}

/// Whether a stranger could not make the same request: something in it is not theirs to know.
fn told_apart(attempt: &Attempt) -> bool {
    let session = attempt.request().and_then(|request| request.session());
    let discriminator = attempt.terminal().and_then(|terminal| terminal.discriminator());
    session.into_iter().chain(discriminator).any(|name| !name.is_empty())
}
