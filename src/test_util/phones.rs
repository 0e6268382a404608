use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::{Approval, ApprovalId, Attempt, BoxError, DenyReason, Factor, Pending, Verdict};

/// What a person does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is not answered yet.
    Nothing,
    /// It is allowed.
    Yes,
    /// It is denied.
    No,
    /// It will never be answered: the phone has been taken out of the account since it rang.
    Gone,
}

/// A verifier that asks people, whose answers the test gives. Clones are the same phones.
///
/// ```
/// use tower::ServiceExt;
/// use tower_toopher::test_util::{Answer, FakePhones, block_on};
/// use tower_toopher::{Approval, Attempt, Factor, UserId, Verdict};
///
/// # block_on(async {
/// let phones = FakePhones::new();
/// let attempt = Attempt::new(UserId::new("alice")?, "pay");
/// let asked = phones.clone().oneshot(attempt.clone().with_approval(Approval::Wanted)).await?;
/// let Verdict::Pending(pending) = asked else { panic!() };
/// assert_eq!(phones.rings(), 1);
///
/// phones.answer(Answer::Yes);
/// let id = pending.id().unwrap().clone();
/// let attempt = attempt.with_approval(Approval::Asked(id));
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
    asked: Vec<Answer>,
    polls: usize,
    failing: usize,
    taken_back: usize,
    rule: Option<Verdict>,
}

impl FakePhones {
    /// The OTP that is right, for everybody and as often as it comes.
    pub const OTP: &str = "081804";

    /// Phones that nobody has asked anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often any phone rang.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.state().asked.len()
    }

    /// How often somebody looked whether a question was answered.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.state().polls
    }

    /// How many questions were taken back, because the OTP came after all.
    #[must_use]
    pub fn taken_back(&self) -> usize {
        self.state().taken_back
    }

    /// Answers whatever is open.
    pub fn answer(&self, answer: Answer) {
        for given in &mut self.state().asked {
            if *given == Answer::Nothing {
                *given = answer;
            }
        }
    }

    /// Fails so many times, beginning with the next call.
    pub fn fail(&self, times: usize) {
        self.state().failing = times;
    }

    /// Decides without asking anybody, as an automation does; with none, asks again.
    pub fn rule(&self, verdict: Option<Verdict>) {
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
    /// When it is asked for a question that nobody has begun.
    fn call(&mut self, attempt: Attempt) -> Self::Future {
        let mut state = self.state();
        if state.failing > 0 {
            state.failing -= 1;
            return ready(Err("out of reach".into()));
        }
        ready(Ok(match (attempt.otp(), attempt.approval()) {
            (Some(otp), approval) if otp.as_str() == Self::OTP => {
                state.taken_back += usize::from(matches!(approval, Approval::Asked(_)));
                Verdict::Granted(Factor::Totp)
            }
            (Some(_), _) => Verdict::Denied(DenyReason::WrongOtp),
            (None, Approval::Wanted) => match &state.rule {
                Some(verdict) => verdict.clone(),
                None => {
                    let id = format!("question {}", state.asked.len());
                    state.asked.push(Answer::Nothing);
                    Pending::new().with_id(ApprovalId::new(id).unwrap()).with_number(Some(7)).into()
                }
            },
            (None, Approval::Asked(id)) => {
                state.polls += 1;
                match question(id).and_then(|at| state.asked.get(at)) {
                    Some(Answer::Yes) => Verdict::Granted(Factor::Push),
                    Some(Answer::No) => Verdict::Denied(DenyReason::Refused),
                    Some(Answer::Gone) => Verdict::Denied(DenyReason::NotEnrolled),
                    Some(Answer::Nothing) => Pending::new().with_number(Some(7)).into(),
                    None => panic!("asked for {id:?}, which nobody has begun"),
                }
            }
            (None, Approval::Unwanted) => Verdict::Denied(DenyReason::OtpRequired),
        }))
    }
}

fn question(id: &ApprovalId) -> Option<usize> {
    id.as_str().strip_prefix("question ")?.parse().ok()
}
