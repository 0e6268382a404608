//! How fresh a factor must be, and which ones of earlier a route takes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{Extensions, HeaderValue};

use super::grants::{Grants, Issued, Issuing};
use super::layer::ToopherLayer;
use super::observe::AuditOutcome;
use super::step_up::StepUp;
use crate::{Action, SecondFactor, UserId, WithoutSecondFactor};

/// So far a factor may lie in the future, since the clocks of two machines differ.
const SKEW: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub(super) struct Freshness {
    max_age: Duration,
    covered_by: Vec<Action>,
    grants: Option<Grants>,
    step_up: Option<StepUp>,
    /// What `step_up` says, made once.
    challenge: Option<Arc<HeaderValue>>,
}

impl Freshness {
    /// Says how a factor was shown that serves for this request, if one was. One that a grant speaks for is put into
    /// `parts`.
    ///
    /// `earlier_will_do` says whether one of an earlier request may be taken at all. An OTP in the request is no reason
    /// not to: were it taken here, none would be left for a gate further in that wants a fresher factor.
    pub(super) fn passes(
        &self,
        parts: &mut Parts,
        user: &UserId,
        action: &Action,
        earlier_will_do: bool,
    ) -> Option<AuditOutcome> {
        let shown = |parts: &Parts, when: &dyn Fn(Option<SystemTime>) -> bool| {
            let mut all = parts.extensions.get::<SecondFactor>().into_iter().flat_map(SecondFactor::all);
            let takes = |action_of: &Action| action_of == action || self.covered_by.contains(action_of);
            all.find(|shown| shown.user() == user && takes(shown.action()) && when(shown.shown_at())).cloned()
        };
        if let Some(shown) = shown(parts, &|at| at.is_none()) {
            put_first(&mut parts.extensions, shown);
            return Some(AuditOutcome::AlreadyPassed);
        }
        let max_age = self.max_age();
        if max_age.is_zero() || !earlier_will_do {
            return None;
        }
        let now = self.now()?;
        let is_fresh = |at| since_1970(at).and_then(|at| age(at, now)).is_some_and(|age| age <= max_age);
        if let Some(shown) = shown(parts, &|at| at.is_some_and(is_fresh)) {
            let factor = shown.factor();
            put_first(&mut parts.extensions, shown);
            return Some(AuditOutcome::GrantedEarlier(factor));
        }
        let actions = std::iter::once(action).chain(&self.covered_by);
        let shown = self.grants.as_ref()?.find(parts, user, actions, max_age, now)?;
        let factor = shown.factor();
        mark(&mut parts.extensions, shown);
        Some(AuditOutcome::GrantedEarlier(factor))
    }

    /// What a grant for the user of this request would be bound to; none where none can be issued.
    pub(super) fn issuing(&self, parts: &Parts, user: &UserId) -> Option<Issuing> {
        self.grants.as_ref()?.issuing(parts, user)
    }

    /// A grant for a factor that was just shown.
    pub(super) fn issue(&self, issuing: Issuing, shown: &SecondFactor, request: &mut Extensions) -> Option<Issued> {
        self.grants.as_ref()?.issue_here(issuing, shown, request)
    }

    /// The challenge of RFC 9470.
    pub(super) fn challenge(&self) -> Option<Arc<HeaderValue>> {
        self.challenge.clone()
    }

    fn max_age(&self) -> Duration {
        self.grants.as_ref().map_or(self.max_age, |grants| self.max_age.min(grants.max_age()))
    }

    fn now(&self) -> Option<Duration> {
        since_1970(self.grants.as_ref().map_or_else(SystemTime::now, Grants::now))
    }

    fn renew_challenge(&mut self) {
        self.challenge = self.step_up.as_ref().and_then(|step_up| step_up.challenge(self.max_age())).map(Arc::new);
    }
}

/// How long ago `at` was; none where it lies in the future.
pub(super) fn age(at: Duration, now: Duration) -> Option<Duration> {
    now.checked_sub(at).or_else(|| (at.saturating_sub(now) <= SKEW).then_some(Duration::ZERO))
}

/// None where the clock stands before 1970.
pub(super) fn since_1970(time: SystemTime) -> Option<Duration> {
    time.duration_since(UNIX_EPOCH).ok()
}

/// The factor that a gate goes by is the one that handlers behind it see, whatever others were shown.
fn put_first(request: &mut Extensions, shown: SecondFactor) {
    if request.get::<SecondFactor>().is_some_and(|first| first.is_same(&shown)) {
        request.remove::<WithoutSecondFactor>();
    } else {
        mark(request, shown);
    }
}

/// Marks a request as one whose factor was shown.
pub(super) fn mark(request: &mut Extensions, shown: SecondFactor) {
    request.remove::<WithoutSecondFactor>();
    let earlier = request.insert(shown);
    if let Some((earlier, shown)) = earlier.zip(request.get_mut::<SecondFactor>()) {
        shown.put_before(earlier);
    }
}

impl<V, X, R> ToopherLayer<V, X, R> {
    /// Sets how long ago a factor may have been shown, so that the request passes unasked. Default: zero, which is *for
    /// this request only*.
    ///
    /// What was shown earlier is known from a grant (feature `grants`), whose own lifetime is above this, or from a
    /// [`SecondFactor`](crate::SecondFactor::with_shown_at) that code outside the gate has put into the request's
    /// extensions. Such a request goes on as it came, its body unread. **A code that comes with it is neither verified
    /// nor spent here:** it may be for a gate further in that wants a fresher factor. Where a code that somebody types
    /// must count, and where a factor is to be made fresh ahead of time, leave it at zero. Where a [form may name the
    /// user](Self::identify_by_form), no earlier factor is taken.
    ///
    /// It opens an attack: for so long, whoever takes over the session (at the open browser, by a stolen cookie, or by
    /// a page that has the browser send requests) needs no second factor. An approval on the phone, which showed *one*
    /// payment say, lets the next ones of the same action pass. Leave it at zero where each request is to be confirmed.
    pub fn max_age(self, age: Duration) -> Self {
        self.change(|policy| {
            policy.freshness.max_age = age;
            policy.freshness.renew_challenge();
        })
    }

    /// Sets the actions whose factor serves for this route as well as one for its own action: one of earlier, and one
    /// that a gate further out was shown for this request. Default: none but its own.
    ///
    /// Name heavier actions only: a factor for a lighter one, which people show without a thought, would let pass the
    /// heavier one.
    pub fn covered_by<A: Into<Action>>(self, actions: impl IntoIterator<Item = A>) -> Self {
        let actions = actions.into_iter().map(Into::into).collect();
        self.change(|policy| policy.freshness.covered_by = actions)
    }

    /// Lets the gate speak as an OAuth resource server: a 401 that asks for a factor also carries the challenge of
    /// RFC 9470, with [`max_age`](Self::max_age) in it. Default: it carries the gate's own challenge only.
    ///
    /// See [`StepUp`] for the way back.
    pub fn step_up(self, step_up: StepUp) -> Self {
        self.change(|policy| {
            policy.freshness.step_up = Some(step_up);
            policy.freshness.renew_challenge();
        })
    }

    /// Issues [grants](crate::gate::grants) after success, and takes them as [`max_age`](Self::max_age) says. Default:
    /// none is issued, and none is taken.
    #[cfg(feature = "grants")]
    pub fn grants(self, grants: Grants) -> Self {
        self.change(|policy| {
            policy.freshness.grants = Some(grants);
            policy.freshness.renew_challenge();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let seconds = Duration::from_secs;
        for (at, now, expected) in [
            (0, 0, Some(0)),
            (100, 160, Some(60)),
            (130, 100, Some(0)),
            (131, 100, None),
            (u64::MAX, 0, None),
            (0, u64::MAX, Some(u64::MAX)),
        ] {
            assert_eq!(age(seconds(at), seconds(now)), expected.map(seconds), "{at} {now}");
        }
        assert_eq!(since_1970(UNIX_EPOCH - seconds(1)), None);
    }

    #[test]
    fn whoever_has_shown_a_factor_is_not_marked_as_one_who_has_not() {
        let shown = SecondFactor::new(UserId::new("alice").unwrap(), "log in", crate::Factor::Totp);
        for before in [None, Some(shown.clone())] {
            let mut request = Extensions::new();
            request.insert(WithoutSecondFactor::new(crate::WithoutReason::NotEnrolled));
            before.map(|before| request.insert(before));
            put_first(&mut request, shown.clone());
            assert_eq!(request.get(), Some(&shown));
            assert_eq!(request.get::<WithoutSecondFactor>(), None);
        }
    }
}
