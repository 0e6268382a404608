//! Which refusal a request gets, and what is told of its reason.

use http::request::Parts;
use http::{Response, StatusCode, header};

use super::extract::ExtractError;
use super::policy::Policy;
use super::problem::{self, Problem};
use super::reject::{Reject, Rejection, RejectionKind};
use super::settings::{NotEnrolledPolicy, Profile};
use crate::{BoxError, DenyReason, Pending, Unavailable, WithoutReason, fault};

impl Policy {
    /// Makes the response to a refused request, whose true reason goes into its extensions.
    pub(super) fn refusal<R, ResBody>(&self, rejection: Rejection, parts: &Parts, reject: &R) -> Response<ResBody>
    where
        R: Reject<ResBody>,
    {
        let mut response = reject.reject(&rejection, parts);
        if self.profile == Profile::ForwardAuth && response.status().is_success() {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            // Every 401 has one (RFC 9110 section 15.5.2): its own, or the plain one.
            let own = rejection.www_authenticate.clone();
            if let Some(challenge) = own.or_else(|| self.challenges.of(&problem::OTP_REQUIRED)) {
                response.headers_mut().entry(header::WWW_AUTHENTICATE).or_insert(challenge);
            }
        }
        response.extensions_mut().insert(rejection);
        response
    }

    pub(super) fn unidentified(&self) -> Rejection {
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

    pub(super) fn denied(&self, reason: DenyReason, otp_given: bool) -> Result<WithoutReason, Rejection> {
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
                NotEnrolledPolicy::PassUnprotected => return Ok(WithoutReason::NotEnrolled),
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

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::time::Duration;

    use super::*;

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
