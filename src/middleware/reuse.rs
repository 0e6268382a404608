//! Reuse of previously verified factors (`max_age`, `also_accept`).

use std::time::Duration;

use http::request::Parts;
use http::{Extensions, HeaderName, HeaderValue};

use super::audit::Outcome;
#[cfg(feature = "grants")]
use super::grants::{GrantContext, GrantHeader, Grants};
use super::response::StepUp;
use crate::time::{Clock, UnixTime, age};
use crate::verify::{Action, Bypassed, SecondFactor, UserId};

#[derive(Clone, Debug, Default)]
pub(super) struct Reuse {
    pub(super) max_age: Duration,
    pub(super) also_accept: Vec<Action>,
    #[cfg(feature = "grants")]
    pub(super) grants: Option<Grants>,
    pub(super) step_up: Option<StepUp>,
}

impl Reuse {
    /// Makes a reusable factor of `user` for `action` the one that handlers find, and returns the outcome. Returns
    /// `None` if there is no such factor.
    ///
    /// An OTP in the request makes no difference: if it was verified here, no OTP would be left for an inner layer that
    /// requires a more recent factor.
    pub(super) fn insert_reusable(&self, parts: &mut Parts, user: &UserId, action: &Action) -> Option<Outcome> {
        let max_age = self.max_age();
        if max_age.is_zero() && parts.extensions.get::<SecondFactor>().is_none() {
            return None;
        }
        let accepted = |factor: &SecondFactor| {
            factor.user() == user && (factor.action() == action || self.also_accept.contains(factor.action()))
        };
        if let Some(first) = parts.extensions.get::<SecondFactor>() {
            let current = first.all().find(|factor| accepted(factor) && factor.auth_time().is_none());
            if let Some(factor) = current.cloned() {
                promote(&mut parts.extensions, factor);
                return Some(Outcome::AlreadyVerified);
            }
        }
        if max_age.is_zero() {
            return None;
        }
        let now = self.clock().now().ok()?;
        if let Some(first) = parts.extensions.get::<SecondFactor>() {
            let is_recent = |at: UnixTime| age(at, now).is_some_and(|age| age <= max_age);
            let earlier = first.all().find(|factor| accepted(factor) && factor.auth_time().is_some_and(is_recent));
            if let Some(factor) = earlier.cloned() {
                let kind = factor.factor();
                promote(&mut parts.extensions, factor);
                return Some(Outcome::Reused(kind));
            }
        }
        #[cfg(feature = "grants")]
        if let Some(grants) = &self.grants {
            let actions = std::iter::once(action).chain(&self.also_accept);
            let factor = grants.find(parts, user, actions, max_age, now)?;
            let kind = factor.factor();
            insert_second_factor(&mut parts.extensions, factor);
            return Some(Outcome::Reused(kind));
        }
        None
    }

    /// What a grant for the user of this request would be bound to. `None` if no grant can be issued.
    #[cfg(feature = "grants")]
    pub(super) fn grant_context(&self, parts: &Parts, user: &UserId) -> Option<GrantContext> {
        self.grants.as_ref()?.context(parts, user)
    }

    /// The header in which clients send grants, unless it is `Cookie`.
    #[cfg(feature = "grants")]
    pub(super) fn grant_header(&self) -> Option<&HeaderName> {
        self.grants.as_ref()?.header_name()
    }

    #[cfg(not(feature = "grants"))]
    pub(super) fn grant_header(&self) -> Option<&HeaderName> {
        None
    }

    /// Issues a grant for a factor that was verified for this request.
    #[cfg(feature = "grants")]
    pub(super) fn issue_grant(
        &self,
        context: GrantContext,
        factor: &SecondFactor,
        request: &mut Extensions,
    ) -> Option<GrantHeader> {
        self.grants.as_ref()?.issue_for_response(context, factor, request)
    }

    /// The challenge of RFC 9470, if configured and useful.
    pub(super) fn step_up_challenge(&self) -> Option<HeaderValue> {
        self.step_up.as_ref()?.challenge(self.max_age())
    }

    fn max_age(&self) -> Duration {
        #[cfg(feature = "grants")]
        if let Some(grants) = &self.grants {
            return self.max_age.min(grants.max_age());
        }
        self.max_age
    }

    fn clock(&self) -> &Clock {
        #[cfg(feature = "grants")]
        if let Some(grants) = &self.grants {
            return grants.time_source();
        }
        const SYSTEM: &Clock = &Clock::SYSTEM;
        SYSTEM
    }
}

/// Makes `factor`, which is already in the extensions, the first one, so that handlers see the factor that the layer
/// accepted.
fn promote(request: &mut Extensions, factor: SecondFactor) {
    if request.get::<SecondFactor>().is_some_and(|first| first.is_same(&factor)) {
        request.remove::<Bypassed>();
    } else {
        insert_second_factor(request, factor);
    }
}

/// Inserts `factor`, keeps the factors of outer layers behind it, and removes the mark of a bypass.
pub(super) fn insert_second_factor(request: &mut Extensions, factor: SecondFactor) {
    request.remove::<Bypassed>();
    if let Some(outer) = request.insert(factor)
        && let Some(factor) = request.get_mut::<SecondFactor>()
    {
        factor.set_outer(outer);
    }
}

/// Marks a request that is forwarded without a second factor, and removes the factors of other actions.
pub(super) fn insert_bypassed(request: &mut Extensions, bypassed: Bypassed) {
    request.remove::<SecondFactor>();
    request.insert(bypassed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{BypassReason, Factor};

    #[test]
    fn a_verified_factor_removes_the_mark_of_a_bypass() {
        let factor = SecondFactor::new(UserId::new("alice").unwrap(), "log in", Factor::Totp);
        for before in [None, Some(factor.clone())] {
            let mut request = Extensions::new();
            request.insert(Bypassed::new(BypassReason::NotEnrolled));
            before.map(|before| request.insert(before));
            promote(&mut request, factor.clone());
            assert_eq!(request.get(), Some(&factor));
            assert_eq!(request.get::<Bypassed>(), None);
        }
    }
}
