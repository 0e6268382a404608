//! Who hears what was decided, and what becomes of a request whose verifier is in trouble.

use http::Extensions;
use http::request::Parts;

use super::observe::{AuditOutcome, Told, Watch};
use super::policy::{Admission, Asking, Policy};
use super::reject::Rejection;
use crate::{Action, BoxError, Factor, FaultKind, SecondFactor, UserId, WithoutReason, WithoutSecondFactor};

/// Who it is about, and what they want, as far as the head of a request says.
type Who<'a> = Option<(&'a UserId, &'a Action)>;

impl Policy {
    pub(super) fn pass(&self, parts: &Parts, who: Who<'_>, outcome: AuditOutcome) -> Admission {
        let watch = self.watch_head(parts, who);
        // Nobody is let in by this who would not be without it, so it need not be recorded to happen.
        let _ = self.observe.tell(&watch, &parts.method, &parts.uri, outcome);
        Admission::Pass
    }

    pub(super) fn refuse(&self, parts: &Parts, who: Who<'_>, rejection: Rejection) -> Admission {
        let watch = self.watch_head(parts, who);
        self.refused(&watch, parts, &rejection);
        Admission::Refuse(rejection)
    }

    fn watch_head(&self, parts: &Parts, who: Who<'_>) -> Watch {
        Watch::new(&self.observe, parts).about(who.map(|who| who.0), who.map(|who| who.1), None)
    }

    /// What is kept of a request for those who hear of its end.
    pub(super) fn watch(&self, parts: &Parts, asking: &Asking) -> Watch {
        let Asking { user, action, terminal, .. } = asking;
        Watch::new(&self.observe, parts).about(user.as_ref(), Some(action), terminal.as_ref())
    }

    pub(super) fn refused(&self, watch: &Watch, parts: &Parts, rejection: &Rejection) {
        let _ = self.observe.tell(watch, &parts.method, &parts.uri, rejection.into());
    }

    /// `asked` has been asked for a factor, and nobody knows what came of it.
    pub(super) fn abandoned(&self, watch: &Watch, parts: &Parts, asked: Option<&UserId>) {
        self.heard(asked, AuditOutcome::Abandoned);
        let _ = self.observe.tell(watch, &parts.method, &parts.uri, AuditOutcome::Abandoned);
    }

    /// Whom the first factor has identified, and what became of the second one.
    fn heard(&self, user: Option<&UserId>, outcome: AuditOutcome) {
        #[cfg(feature = "faults")]
        if let (Some(faults), Some(user)) = (&self.faults, user) {
            faults.heard(user, outcome);
        }
        #[cfg(not(feature = "faults"))]
        let _ = (user, outcome);
    }

    /// Tells that a factor was shown. Whoever has shown one passes, recorded or not.
    pub(super) fn granted(&self, identified: Option<&UserId>, watch: &Watch, parts: &Parts, factor: Factor) {
        self.heard(identified, AuditOutcome::Granted(factor));
        let _ = self.observe.tell(watch, &parts.method, &parts.uri, AuditOutcome::Granted(factor));
    }

    /// Tells what becomes of a request for which none was shown. One that would pass all the same is refused if that
    /// could not be recorded.
    pub(super) fn not_granted(
        &self,
        identified: Option<&UserId>,
        watch: &Watch,
        parts: &Parts,
        denied: Result<WithoutReason, Rejection>,
    ) -> Result<WithoutReason, Rejection> {
        let outcome = denied.as_ref().map_or_else(AuditOutcome::from, |reason| AuditOutcome::from(*reason));
        self.heard(identified, outcome);
        match self.observe.tell(watch, &parts.method, &parts.uri, outcome) {
            Told::No if denied.is_ok() => {
                Err(self.unavailable("a pass without a second factor could not be recorded".into()))
            }
            _ => denied,
        }
    }

    /// What to do with a request whose verifier is in trouble. `may_open` says for whom, where nothing speaks
    /// against it.
    pub(super) fn fault(&self, error: BoxError, may_open: Option<&UserId>) -> Result<WithoutReason, Rejection> {
        let rejection = self.unavailable(error);
        #[cfg(feature = "faults")]
        if let (Some(user), Some(faults), Some(kind)) = (may_open, &self.faults, rejection.fault)
            && faults.open(user, kind)
        {
            return Ok(WithoutReason::Fault(kind));
        }
        #[cfg(not(feature = "faults"))]
        let _ = may_open;
        Err(rejection)
    }

    pub(super) fn fault_kind(&self, error: &(dyn std::error::Error + 'static)) -> Option<FaultKind> {
        #[cfg(feature = "faults")]
        if let Some(faults) = &self.faults {
            return faults.kind(error);
        }
        FaultKind::of(error)
    }
}

/// Marks a request that goes on although nobody has shown a factor for it, in place of whatever was shown for another
/// action.
pub(super) fn mark(request: &mut Extensions, reason: WithoutReason) {
    request.remove::<SecondFactor>();
    request.insert(WithoutSecondFactor::new(reason));
}

impl From<WithoutReason> for AuditOutcome {
    fn from(reason: WithoutReason) -> Self {
        match reason {
            WithoutReason::NotEnrolled => Self::PassedUnprotected,
            WithoutReason::Fault(kind) => Self::FaultLetPass(kind),
        }
    }
}
