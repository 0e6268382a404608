//! Opening a route, within bounds, while its verifier is in trouble.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::observe::AuditOutcome;
use super::reject::RejectionKind;
use crate::fault::chain;
use crate::{FaultKind, UserId};

/// How long somebody who was refused is not let in on a fault, unless they have shown a factor since.
const DENIED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How many of those are remembered. While there are more, nobody is let in.
const MOST_DENIED: usize = 10_000;
const MOST_PASSES: u32 = 10_000;
/// How often room is made at the most, since it takes a look at all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// For which troubles of the verifier a route opens, how often, and for how long:
/// [`ToopherLayer::insecure_open_on`](crate::ToopherLayer::insecure_open_on).
///
/// A request that would be refused with 503 goes on if all of this is true:
///
/// - the trouble is of one of the kinds that were named;
/// - fewer requests than `at_most` have passed in this way within the last `per`;
/// - the trouble has not been open for [longer than this](Self::lasting);
/// - the first factor has said who it is, and not [a form alone](crate::ToopherLayer::identify_by_form);
/// - nobody's phone is asked by the request, and it brings no challenge: at a gate with
///   [approvals](crate::ToopherLayer::approvals) it brings an OTP;
/// - that user, named by the first factor, was not refused within the last day, here, without having shown a factor
///   since; nor asked on the phone without an answer that was seen here, nor gone while an answer was waited for. Whoever
///   guesses, is throttled or locked out, or was denied on the phone does not get in by breaking something next. While
///   more than 10,000 users are in that state, nobody gets in.
///
/// It then carries [`WithoutSecondFactor`](crate::WithoutSecondFactor) and no [`SecondFactor`](crate::SecondFactor), and
/// the [audit event](crate::AuditEvent) says `fault_let_pass`. Whether it brought an OTP makes no difference: nobody
/// could look at it, and six digits are typed as fast as none.
///
/// Clones share the bounds, and so do all layers that are given a clone. They are those of one process: with ten replicas
/// it is ten times as much. A restart forgets them, and who was refused.
///
/// ```
/// use std::time::Duration;
///
/// use tower_toopher::{FaultKind, FaultPolicy, ToopherLayer};
/// # let verifier = tower::service_fn(|_: tower_toopher::Attempt| async {
/// #     Ok::<_, std::convert::Infallible>(tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp))
/// # });
///
/// let gate = ToopherLayer::new(verifier);
/// // The page that on-call staff need when everything is down.
/// let opens = FaultPolicy::new([FaultKind::Unreachable, FaultKind::Timeout], 5, Duration::from_secs(600))?;
/// let status_page = gate.clone().insecure_open_on(opens);
/// // Everything else stays closed.
/// let everything_else = gate;
/// # let _: (ToopherLayer<_>, ToopherLayer<_>) = (status_page, everything_else);
/// # Ok::<(), tower_toopher::InvalidFaultPolicy>(())
/// ```
///
/// # Which kinds
///
/// [`FaultKind::Overloaded`], a store that is full ([`FaultKind::Store`]; in memory or shared, since wrong codes for
/// invented names fill it where anybody can name a user) and most of [`FaultKind::Timeout`] can be brought about by
/// sending requests. They are for routes where the password alone would do, and where the second factor is an addition.
/// [`FaultKind::ServerError`] is one more where what a request says, such as the name of a terminal, can make the other
/// side fail.
#[derive(Clone)]
#[must_use]
pub struct FaultPolicy {
    kinds: Arc<[FaultKind]>,
    at_most: u32,
    per: Duration,
    lasting: Duration,
    classify: Option<Arc<Classify>>,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
    state: Arc<Mutex<State>>,
}

type Classify = dyn Fn(&(dyn Error + 'static)) -> Option<FaultKind> + Send + Sync;

#[derive(Default)]
struct State {
    /// When requests passed, within the last `per`: `at_most` of them.
    passes: VecDeque<Instant>,
    /// The first pass in this trouble.
    open_since: Option<Instant>,
    /// The last request in trouble, of a kind that opens.
    met: Option<Instant>,
    /// Whether somebody has shown a factor since the first pass.
    shown: bool,
    denied: HashMap<UserId, Instant>,
    /// When there was last no room for one more.
    crowded: Option<Instant>,
    /// When those whose time is over were last removed to make room.
    swept: Option<Instant>,
}

impl FaultPolicy {
    /// Opens on troubles of these kinds, for `at_most` requests in any time as long as `per`.
    ///
    /// # Errors
    ///
    /// [`InvalidFaultPolicy`] unless `1 <= at_most <= 10,000` and `1 second <= per <= 24 hours`.
    pub fn new(
        kinds: impl IntoIterator<Item = FaultKind>,
        at_most: u32,
        per: Duration,
    ) -> Result<Self, InvalidFaultPolicy> {
        let bounded = (1..=MOST_PASSES).contains(&at_most) && (Duration::from_secs(1)..=LONGEST).contains(&per);
        if !bounded {
            return Err(InvalidFaultPolicy);
        }
        Ok(Self {
            kinds: kinds.into_iter().collect(),
            at_most,
            per,
            lasting: per,
            classify: None,
            clock: Arc::new(Instant::now),
            state: Arc::default(),
        })
    }

    /// Sets for how long one trouble lets requests in, from the first one that passed. Default: `per`. So by default it
    /// lets `at_most` of them in, and then none.
    ///
    /// A trouble is over when somebody has shown a factor, and no request has met it for longer than `per`. (Half of the
    /// users may have a factor that still works.)
    pub fn lasting(self, time: Duration) -> Self {
        Self { lasting: time, ..self }
    }

    /// Sets what kind an error is that [`FaultKind::of`] does not know: the error of a breaker, say. It is asked about
    /// the verifier's error and each of its sources, outermost first, and before `FaultKind::of`. Default: nothing more
    /// is known.
    pub fn classify(
        self,
        classify: impl Fn(&(dyn Error + 'static)) -> Option<FaultKind> + Send + Sync + 'static,
    ) -> Self {
        Self { classify: Some(Arc::new(classify)), ..self }
    }

    /// Sets the clock. Default: `Instant::now`, which nobody can set.
    pub fn clock(self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(now), ..self }
    }

    pub(super) fn kind(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        let classified = self.classify.as_ref().and_then(|classify| chain(error).find_map(|error| classify(error)));
        classified.or_else(|| FaultKind::of(error))
    }

    /// Whether a request of `user` passes although the verifier is in trouble. If so, it is counted.
    pub(super) fn open(&self, user: &UserId, kind: FaultKind) -> bool {
        if !self.kinds.contains(&kind) {
            return false;
        }
        let now = (self.clock)();
        let within = |then: &Instant, time: Duration| now.saturating_duration_since(*then) < time;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = state.met.replace(now).is_none_or(|then| now.saturating_duration_since(then) > self.per);
        if quiet && state.shown {
            state.open_since = None;
        }
        if state.denied.get(user).is_some_and(|then| within(then, DENIED_FOR))
            || state.crowded.is_some_and(|then| within(&then, DENIED_FOR))
            || state.open_since.is_some_and(|then| !within(&then, self.lasting))
        {
            return false;
        }
        while state.passes.front().is_some_and(|then| !within(then, self.per)) {
            state.passes.pop_front();
        }
        if state.passes.len() >= self.at_most as usize {
            return false;
        }
        state.passes.push_back(now);
        if state.open_since.is_none() {
            (state.open_since, state.shown) = (Some(now), false);
        }
        true
    }

    /// Learns from what became of a request of `user`, whom the first factor has identified.
    pub(super) fn heard(&self, user: &UserId, outcome: AuditOutcome) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            AuditOutcome::Granted(_) => {
                state.shown = true;
                state.denied.remove(user);
            }
            // Not refused: there is something left to do.
            AuditOutcome::Denied(RejectionKind::OtpRequired) => {}
            // Somebody who was asked may have said no, and nobody has come for the answer.
            AuditOutcome::Pending | AuditOutcome::Abandoned | AuditOutcome::Denied(_) => {
                state.deny(user, (self.clock)());
            }
            _ => {}
        }
    }
}

impl State {
    fn deny(&mut self, user: &UserId, now: Instant) {
        if self.denied.len() >= MOST_DENIED && !self.denied.contains_key(user) {
            if self.swept.is_none_or(|then| now.saturating_duration_since(then) >= SWEEP_EVERY) {
                self.denied.retain(|_, then| now.saturating_duration_since(*then) < DENIED_FOR);
                self.swept = Some(now);
            }
            if self.denied.len() >= MOST_DENIED {
                self.crowded = Some(now);
                return;
            }
        }
        self.denied.insert(user.clone(), now);
    }
}

impl fmt::Debug for FaultPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultPolicy")
            .field("kinds", &self.kinds)
            .field("at_most", &self.at_most)
            .field("per", &self.per)
            .field("lasting", &self.lasting)
            .finish_non_exhaustive()
    }
}

/// Numbers that are no bounds of a [`FaultPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidFaultPolicy;

impl fmt::Display for InvalidFaultPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("opening on a fault needs 1 <= at_most <= 10,000 and 1 second <= per <= 24 hours")
    }
}

impl Error for InvalidFaultPolicy {}
