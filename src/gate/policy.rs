//! What the layer was told to do, and the decisions that need only the head of a request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};

use super::challenge::{self, FindSession};
use super::extract::{ExtractError, Extracted, one_of};
use super::freshness::Freshness;
use super::observe::{AuditOutcome, Observe};
use super::problem::{self, Problem};
use super::reject::{Rejection, RejectionKind};
use crate::{
    Action, Attempt, BoxError, Challenge, DenyReason, Factor, Pending, RequestBinding, Terminal, Unavailable, UserId,
    WithoutReason, fault,
};

/// Who the gate answers: the client itself, or a proxy that asks on the client's behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The client itself. A pending approval is answered with 202.
    #[default]
    Api,
    /// A proxy such as nginx's `auth_request`, to which any 2xx means "let it in". A pending approval is answered with
    /// 401, and whatever a [`Reject`](crate::Reject) hook returns with a 2xx becomes 401.
    ForwardAuth,
}

/// What happens to a user whose verifier says that there is no second factor to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEnrolledPolicy {
    /// They are refused, and it looks like a wrong or missing OTP.
    #[default]
    Refuse,
    /// They are refused with 403 `enrolment_required`. It tells whoever has the first factor of an account that the
    /// account has no second one, that is, which stolen passwords are worth an enrolment of the thief's own.
    RequireEnrolment,
    /// They pass, marked with [`WithoutSecondFactor`](crate::WithoutSecondFactor). **A stolen password is then all
    /// that it takes**, for every account that has not enrolled.
    PassUnprotected,
}

/// The name of the protection space in `WWW-Authenticate` (RFC 9110 section 11.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// Takes a name of printable ASCII characters.
    ///
    /// # Errors
    ///
    /// [`InvalidRealm`] when another character is in it, or nothing.
    pub fn new(name: &str) -> Result<Self, InvalidRealm> {
        if name.is_empty() || !name.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(InvalidRealm);
        }
        Ok(Self(name.replace('\\', "\\\\").replace('"', "\\\"")))
    }
}

/// A text that cannot be a [`Realm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidRealm;

impl fmt::Display for InvalidRealm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a realm is one or more printable ASCII characters")
    }
}

impl std::error::Error for InvalidRealm {}

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
    challenges: Challenges,
}

/// `WWW-Authenticate`, made once, for each problem that carries it.
#[derive(Clone)]
struct Challenges(Vec<(&'static str, HeaderValue)>);

impl Challenges {
    fn new(realm: &Realm) -> Self {
        let challenged = [
            &problem::UNIDENTIFIED,
            &problem::OTP_REQUIRED,
            &problem::OTP_INVALID,
            &problem::REFUSED,
            &problem::CHALLENGE_INVALID,
            &problem::PENDING_NOT_GRANTED,
        ];
        let challenge = |problem: &&Problem| {
            let text = format!("Toopher realm=\"{}\", error=\"{}\"", realm.0, problem.code);
            Some((problem.code, HeaderValue::try_from(text).ok()?))
        };
        Self(challenged.iter().filter_map(challenge).collect())
    }

    fn of(&self, problem: &Problem) -> Option<HeaderValue> {
        if problem.status != http::StatusCode::UNAUTHORIZED {
            return None;
        }
        self.0.iter().find(|(code, _)| *code == problem.code).map(|(_, value)| value.clone())
    }
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

/// Why a request goes on after its verifier was asked.
#[derive(Clone, Copy)]
pub(super) enum Pass {
    Granted(Factor),
    Without(WithoutReason),
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
            challenges: Challenges::new(&Realm("second factor".into())),
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

    fn unidentified(&self) -> Rejection {
        self.rejection(RejectionKind::Unidentified, &problem::UNIDENTIFIED)
    }

    pub(super) fn extract_error(&self, error: ExtractError) -> Rejection {
        let (kind, problem) = match &error {
            ExtractError::Malformed(_) => (RejectionKind::MalformedOtp, &problem::OTP_INVALID),
            ExtractError::Ambiguous => (RejectionKind::AmbiguousOtp, &problem::OTP_AMBIGUOUS),
            ExtractError::UnreadableBody(_) => (RejectionKind::UnreadableBody, &problem::BODY_UNREADABLE),
            ExtractError::BodyTooLarge => (RejectionKind::BodyTooLarge, &problem::BODY_TOO_LARGE),
        };
        let mut rejection = self.rejection(kind, problem);
        if let ExtractError::UnreadableBody(cause) = error {
            rejection.source = Some(cause.into());
        }
        rejection
    }

    pub(super) fn denied(&self, reason: DenyReason, otp_given: bool) -> Result<Pass, Rejection> {
        // Without an OTP none was wrong; every user, known or not, is told the same.
        let not_accepted = if otp_given { &problem::OTP_INVALID } else { &problem::OTP_REQUIRED };
        let (kind, problem) = match reason {
            DenyReason::OtpRequired => (RejectionKind::OtpRequired, &problem::OTP_REQUIRED),
            DenyReason::WrongOtp => (RejectionKind::WrongOtp, not_accepted),
            DenyReason::ReplayedOtp => (RejectionKind::ReplayedOtp, not_accepted),
            DenyReason::UnknownUser => (RejectionKind::UnknownUser, not_accepted),
            DenyReason::NotEnrolled => match self.not_enrolled {
                NotEnrolledPolicy::Refuse => (RejectionKind::NotEnrolled, not_accepted),
                NotEnrolledPolicy::RequireEnrolment => (RejectionKind::NotEnrolled, &problem::ENROLMENT_REQUIRED),
                NotEnrolledPolicy::PassUnprotected => return Ok(Pass::Without(WithoutReason::NotEnrolled)),
            },
            DenyReason::Refused => (RejectionKind::Refused, &problem::REFUSED),
            DenyReason::UnknownApproval => (RejectionKind::UnknownApproval, &problem::CHALLENGE_INVALID),
            DenyReason::AlreadyPending { .. } => (RejectionKind::AlreadyPending, &problem::OTP_REQUIRED),
            DenyReason::Throttled { .. } => (RejectionKind::Throttled, &problem::TOO_MANY_FAILURES),
            DenyReason::LockedOut => (RejectionKind::LockedOut, &problem::TOO_MANY_FAILURES),
        };
        let mut rejection = self.rejection(kind, problem);
        if let DenyReason::Throttled { retry_after } | DenyReason::AlreadyPending { retry_after } = reason {
            rejection.retry_after = Some(retry_after);
        }
        Err(rejection)
    }

    pub(super) fn pending(&self, pending: Box<Pending>) -> Rejection {
        let problem = match self.profile {
            Profile::Api => &problem::PENDING,
            Profile::ForwardAuth => &problem::PENDING_NOT_GRANTED,
        };
        let retry_after = pending.retry_after();
        let rejection = self.rejection(RejectionKind::Pending, problem);
        Rejection { retry_after, pending: Some(pending.into()), ..rejection }
    }

    pub(super) fn unavailable(&self, error: BoxError) -> Rejection {
        let mut rejection = self.rejection(RejectionKind::Unavailable, &problem::UNAVAILABLE);
        let unavailable = fault::chain(&*error).find_map(|error| error.downcast_ref::<Unavailable>());
        rejection.retry_after = unavailable.map(Unavailable::retry_after);
        rejection.fault = self.fault_kind(&*error);
        rejection.source = Some(error.into());
        rejection
    }

    /// The challenge of `rejection`, or the plain one where it has none of its own.
    pub(super) fn challenge_at_least(&self, rejection: &Rejection) -> Option<HeaderValue> {
        rejection.www_authenticate.clone().or_else(|| self.challenges.of(&problem::OTP_REQUIRED))
    }

    fn rejection(&self, kind: RejectionKind, problem: &'static Problem) -> Rejection {
        let www_authenticate = self.challenges.of(problem);
        // A wrong code is no reason to go elsewhere, and nobody is told to who has not logged in yet.
        // Nor where it would not help: a form may name somebody else, so that no factor of earlier is taken.
        let needs_factor = problem.code == problem::OTP_REQUIRED.code && self.identify_by_form.is_none();
        let step_up = if needs_factor { self.freshness.challenge() } else { None };
        Rejection {
            kind,
            problem,
            retry_after: None,
            www_authenticate,
            step_up,
            pending: None,
            fault: None,
            source: None,
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn realms_cannot_break_out_of_their_quotes() {
        let mut policy = Policy::default();
        policy.set_realm(&Realm::new(r#"a"b\c"#).unwrap());
        let rejection = policy.rejection(RejectionKind::OtpRequired, &problem::OTP_REQUIRED);
        assert_eq!(rejection.www_authenticate.unwrap(), r#"Toopher realm="a\"b\\c", error="otp_required""#);
        for bad in ["", "a\r\nb", "caf\u{e9}", "\u{7f}"] {
            assert_eq!(Realm::new(bad), Err(InvalidRealm), "{bad:?}");
        }
    }

    #[test]
    fn every_401_has_a_challenge() {
        let policy = Policy { profile: Profile::ForwardAuth, ..Policy::default() };
        let reasons = [
            DenyReason::OtpRequired,
            DenyReason::WrongOtp,
            DenyReason::ReplayedOtp,
            DenyReason::Refused,
            DenyReason::UnknownApproval,
            DenyReason::AlreadyPending { retry_after: Duration::ZERO },
        ];
        for reason in reasons {
            let Err(rejection) = policy.denied(reason, true) else { panic!("passed {reason:?}") };
            assert!(rejection.www_authenticate.is_some(), "{reason:?}");
        }
        assert!(policy.pending(Box::default()).www_authenticate.is_some());
        assert!(policy.unavailable("down".into()).www_authenticate.is_none());
    }

    #[test]
    fn an_unavailable_cause_says_when_to_come_back() {
        #[derive(Debug)]
        struct Outer(Unavailable);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let wait = Duration::from_secs(7);
        let outer = Outer(Unavailable::new("down", wait));
        assert_eq!(Policy::default().unavailable(Box::new(outer)).retry_after, Some(wait));
        assert_eq!(Policy::default().unavailable("down".into()).retry_after, None);
    }
}
