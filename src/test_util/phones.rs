use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::verify::{ApprovalId, ApprovalMode, Attempt, BoxError, DenyReason, Factor, PendingApproval, Verdict};

/// The user's decision about an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// There is no decision yet.
    Undecided,
    /// The user allows it.
    Allowed,
    /// The user denies it.
    Denied,
    /// There will be no decision: the phone was removed from the account after the push.
    Gone,
}

/// A verifier that sends pushes to simulated phones, whose decisions the test makes. Clones are the same phones.
///
/// ```
/// use tower::ServiceExt;
/// use tower_toopher::test_util::{Decision, FakePhones, block_on};
/// use tower_toopher::verify::ApprovalMode;
/// use tower_toopher::{Attempt, Factor, UserId, Verdict};
///
/// # block_on(async {
/// let phones = FakePhones::new();
/// let attempt = Attempt::new(UserId::new("alice")?, "pay");
/// let verdict = phones.clone().oneshot(attempt.clone().with_approval_mode(ApprovalMode::Request)).await?;
/// let Verdict::Pending(pending) = verdict else { return Err("not pending".into()) };
/// assert_eq!(phones.push_count(), 1);
///
/// phones.decide(Decision::Allowed);
/// let id = pending.id().unwrap().clone();
/// let attempt = attempt.with_approval_mode(ApprovalMode::Poll(id));
/// assert_eq!(phones.oneshot(attempt).await?, Verdict::Granted(Factor::Push));
/// # Ok::<(), tower_toopher::BoxError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct FakePhones {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The decision about each push.
    pushes: Vec<Decision>,
    polls: usize,
    failures: usize,
    cancelled: usize,
    rule: Option<Verdict>,
}

impl FakePhones {
    /// The right OTP of all users, which is never a replay.
    pub const OTP: &str = "081804";

    /// Phones that received no push.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The number of pushes.
    #[must_use]
    pub fn push_count(&self) -> usize {
        self.state().pushes.len()
    }

    /// How often an approval was polled.
    #[must_use]
    pub fn poll_count(&self) -> usize {
        self.state().polls
    }

    /// The number of approvals that were cancelled, because an OTP decided.
    #[must_use]
    pub fn cancelled_count(&self) -> usize {
        self.state().cancelled
    }

    /// Decides all approvals that are undecided.
    pub fn decide(&self, decision: Decision) {
        for of_push in &mut self.state().pushes {
            if *of_push == Decision::Undecided {
                *of_push = decision;
            }
        }
    }

    /// Makes the next `times` calls fail.
    pub fn fail(&self, times: usize) {
        self.state().failures = times;
    }

    /// Responds with `verdict` instead of a push, as an automation does. With `None`, sends pushes again.
    pub fn set_rule(&self, verdict: Option<Verdict>) {
        self.state().rule = verdict;
    }
}

impl Service<Attempt> for FakePhones {
    type Response = Verdict;
    type Error = BoxError;
    type Future = Ready<Result<Verdict, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// When it polls an approval that was never requested.
    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut state = self.state();
        if state.failures > 0 {
            state.failures -= 1;
            return ready(Err("unreachable".into()));
        }
        ready(Ok(match (attempt.otp(), attempt.approval_mode()) {
            (Some(otp), mode) if otp.as_str() == Self::OTP => {
                state.cancelled += usize::from(matches!(mode, ApprovalMode::Poll(_)));
                Verdict::Granted(Factor::Totp)
            }
            (Some(_), _) => Verdict::Denied(DenyReason::WrongOtp),
            (None, ApprovalMode::Request) => match &state.rule {
                Some(verdict) => verdict.clone(),
                None => {
                    let id = format!("approval {}", state.pushes.len());
                    state.pushes.push(Decision::Undecided);
                    pending().with_id(ApprovalId::new(id).unwrap()).into()
                }
            },
            (None, ApprovalMode::Poll(id)) => {
                state.polls += 1;
                match state.pushes[index_of(id)] {
                    Decision::Allowed => Verdict::Granted(Factor::Push),
                    Decision::Denied => Verdict::Denied(DenyReason::DeniedByUser),
                    Decision::Gone => Verdict::Denied(DenyReason::NotEnrolled),
                    Decision::Undecided => pending().into(),
                }
            }
            (None, ApprovalMode::Disallowed) => Verdict::Denied(DenyReason::OtpRequired),
        }))
    }
}

fn pending() -> PendingApproval {
    PendingApproval::new().with_number(7).unwrap()
}

fn index_of(id: &ApprovalId) -> usize {
    id.as_str().strip_prefix("approval ").unwrap().parse().unwrap()
}
