//! What the layer was told to do, and the decisions that need only the head of a request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};

use super::challenge::{self, FindSession};
use super::extract::{ExtractError, Extracted, one_of};
use super::freshness::Freshness;
use super::observe::{AuditOutcome, Observe};
use super::realm::{Challenges, Realm};
use super::reject::Rejection;
use super::settings::{NotEnrolledPolicy, Profile};
use crate::{Action, Attempt, Challenge, RequestBinding, Terminal, UserId};

type Identify = dyn Fn(&Parts) -> Option<UserId> + Send + Sync;
type ChooseAction = dyn Fn(&Parts) -> Action + Send + Sync;
type FindTerminal = dyn Fn(&Parts) -> Option<Terminal> + Send + Sync;
type IdentifyByForm = dyn Fn(&str) -> Option<UserId> + Send + Sync;
type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

#[derive(Clone)]
pub(super) enum ActionPolicy {
    Fixed(Action),
    Chosen(Arc<ChooseAction>),
}

#[derive(Clone)]
pub(super) struct Policy {
    pub(super) identify: Option<Arc<Identify>>,
    pub(super) identify_by_form: Option<Arc<IdentifyByForm>>,
    /// Where it is set, verifiers may ask for approvals.
    pub(super) session: Option<Arc<FindSession>>,
    pub(super) bind: Option<Arc<FindSession>>,
    pub(super) action: ActionPolicy,
    pub(super) terminal: Option<Arc<FindTerminal>>,
    pub(super) skip: Option<Arc<Skip>>,
    pub(super) pass_preflight: bool,
    pub(super) not_enrolled: NotEnrolledPolicy,
    pub(super) profile: Profile,
    pub(super) freshness: Freshness,
    pub(super) observe: Observe,
    #[cfg(feature = "faults")]
    pub(super) faults: Option<super::FaultPolicy>,
    pub(super) challenges: Challenges,
}

/// What to do with a request, by its head alone.
pub(super) enum Admission {
    Pass,
    Ask(Asking),
    Refuse(Rejection),
}

/// What is to be asked, as far as the head of the request says.
pub(super) struct Asking {
    /// None as long as a form is to name the user.
    pub(super) user: Option<UserId>,
    named_in_form: bool,
    pub(super) action: Action,
    pub(super) terminal: Option<Terminal>,
    pub(super) challenge: Option<Challenge>,
}

impl Asking {
    /// Who it is by the first factor. Whoever is only named in a form has shown none.
    pub(super) fn identified(&self) -> Option<&UserId> {
        self.user.as_ref().filter(|_| !self.named_in_form)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            identify: None,
            identify_by_form: None,
            session: None,
            bind: None,
            action: ActionPolicy::Fixed(Action::from("log in")),
            terminal: None,
            skip: None,
            pass_preflight: false,
            not_enrolled: NotEnrolledPolicy::default(),
            profile: Profile::default(),
            freshness: Freshness::default(),
            observe: Observe::default(),
            #[cfg(feature = "faults")]
            faults: None,
            challenges: Challenges::default(),
        }
    }
}

impl Policy {
    pub(super) fn set_realm(&mut self, realm: &Realm) {
        self.challenges = Challenges::new(realm);
    }

    pub(super) fn admit(&self, parts: &mut Parts) -> Admission {
        if self.skip.as_ref().is_some_and(|skip| skip(parts)) || (self.pass_preflight && is_preflight(parts)) {
            return self.pass(parts, None, AuditOutcome::Skipped);
        }
        let user = match &self.identify {
            None => parts.extensions.get::<UserId>().cloned(),
            Some(identify) => identify(parts),
        };
        if user.is_none() && self.identify_by_form.is_none() {
            return self.refuse(parts, None, self.unidentified());
        }
        let action = match &self.action {
            ActionPolicy::Fixed(action) => action.clone(),
            ActionPolicy::Chosen(choose) => choose(parts),
        };
        if let Some(user) = &user {
            // A form may name somebody else, and is not read where a factor of earlier will do.
            let earlier_will_do = self.identify_by_form.is_none();
            if let Some(outcome) = self.freshness.passes(parts, user, &action, earlier_will_do) {
                return self.pass(parts, Some((user, &action)), outcome);
            }
        }
        let terminal = self.terminal.as_ref().and_then(|find| find(parts));
        let challenge = match self.session {
            None => Ok(None),
            Some(_) => challenge::take(&mut parts.headers),
        };
        match challenge {
            Ok(challenge) => Admission::Ask(Asking { user, named_in_form: false, action, terminal, challenge }),
            Err(error) => self.refuse(parts, user.as_ref().map(|user| (user, &action)), self.extract_error(error)),
        }
    }

    /// What the verifier is asked, and who is asked about.
    pub(super) fn attempt<B>(
        &self,
        asking: &mut Asking,
        found: Extracted<B>,
        parts: &Parts,
    ) -> Result<(Attempt, B), Rejection> {
        let Extracted { otp, challenge: in_form, user: typed, whole, body } = found;
        // Who is only named in a form has shown no first factor: nobody's phone rings for them.
        let may_wait = asking.user.is_some() && self.session.is_some();
        let named = self.identify_by_form.as_ref().zip(typed.as_deref().filter(|typed| !typed.is_empty()));
        let named = named.map(|(identify, typed)| identify(typed));
        let user = match (&asking.user, named) {
            // Two names for whom it is about must agree: the handler may go by either.
            (Some(user), Some(named)) if named.as_ref() != Some(user) => {
                return Err(self.extract_error(ExtractError::Ambiguous));
            }
            (Some(user), _) => user,
            (None, named) => {
                let named = named.flatten().ok_or_else(|| self.unidentified())?;
                asking.named_in_form = true;
                asking.user.insert(named)
            }
        };
        let attempt = Attempt::new(user.clone(), asking.action.clone()).with_terminal(asking.terminal.take());
        let challenge = one_of(asking.challenge.take(), in_form).map_err(|error| self.extract_error(error))?;
        if !may_wait || (otp.is_some() && challenge.is_none()) {
            return Ok((attempt.with_otp(otp), body));
        }
        let request = self.bind(parts, whole);
        Ok((attempt.with_otp(otp).with_challenge(challenge).with_request(request), body))
    }

    /// What an approval is bound to; none where something of it is missing.
    fn bind(&self, parts: &Parts, whole: Option<Bytes>) -> Option<RequestBinding> {
        let session = self.session.as_ref()?(parts)?;
        let also = match (&self.bind, self.profile) {
            (Some(bind), _) => Some(bind(parts)?),
            (None, Profile::Api) => None,
            // What the proxy asks is the same for every request that it asks about.
            (None, Profile::ForwardAuth) => return None,
        };
        let wait = challenge::wait(&parts.headers);
        Some(RequestBinding::new(parts, Some(session), whole).with_also(also).with_wait(wait))
    }
}

/// A CORS preflight, as the Fetch standard defines it: not just any `OPTIONS`, and not just any with an `Origin`.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closure = |set: bool| if set { "<fn>" } else { "<default>" };
        f.debug_struct("Policy")
            .field("identify", &closure(self.identify.is_some()))
            .field("identify_by_form", &closure(self.identify_by_form.is_some()))
            .field("session", &closure(self.session.is_some()))
            .field(
                "action",
                match &self.action {
                    ActionPolicy::Fixed(action) => action,
                    ActionPolicy::Chosen(_) => &"<fn>",
                },
            )
            .field("terminal", &closure(self.terminal.is_some()))
            .field("skip", &closure(self.skip.is_some()))
            .field("pass_preflight", &self.pass_preflight)
            .field("not_enrolled", &self.not_enrolled)
            .field("profile", &self.profile)
            .field("freshness", &self.freshness)
            .finish_non_exhaustive()
    }
}
