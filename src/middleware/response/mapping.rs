//! Maps verdicts and errors to rejections, and rejections to responses.

use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode, header};

use super::caching::insert_vary;
use super::problem::{self, Problem};
use super::reject::Reject;
use super::rejection::{Rejection, RejectionKind};
use crate::middleware::config::{Config, NotEnrolledPolicy, Profile};
use crate::middleware::extract::ExtractError;
use crate::verify::{BoxError, BypassReason, DenyReason, ErrorClass, PendingApproval, VerifierError, error_chain};

/// Builds the response to a rejected request, and inserts `Vary` into its headers and the rejection into its
/// extensions. The request ends here, so its extensions are removed.
pub(in crate::middleware) fn response<R, ResBody>(
    config: &Config,
    rejection: Rejection,
    parts: &mut Parts,
    reject: &R,
) -> Response<ResBody>
where
    R: Reject<ResBody>,
{
    let mut response = reject.reject(&rejection, parts);
    if config.profile == Profile::ForwardAuth && response.status().is_success() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        // Every 401 has a challenge (RFC 9110 section 15.5.2).
        let usual = || rejection.headers.challenge(&problem::OTP_REQUIRED);
        if let Some(challenge) = rejection.challenge().or_else(usual) {
            response.headers_mut().entry(header::WWW_AUTHENTICATE).or_insert_with(|| challenge.clone());
        }
    }
    insert_vary(response.headers_mut(), config.headers().vary());
    let extensions = response.extensions_mut();
    if extensions.is_empty() {
        // The map of the request is reused without its values, because allocating another one costs more.
        *extensions = std::mem::take(&mut parts.extensions);
        extensions.clear();
    }
    extensions.insert(rejection);
    response
}

pub(in crate::middleware) fn unidentified(config: &Config) -> Rejection {
    rejection(config, RejectionKind::Unidentified, &problem::UNIDENTIFIED)
}

pub(in crate::middleware) fn extract_error(config: &Config, error: ExtractError) -> Rejection {
    let (kind, problem) = match &error {
        ExtractError::Malformed(_) => (RejectionKind::MalformedOtp, &problem::OTP_INVALID),
        ExtractError::Ambiguous => (RejectionKind::AmbiguousOtp, &problem::OTP_AMBIGUOUS),
        ExtractError::UnreadableBody(_) => (RejectionKind::UnreadableBody, &problem::BODY_UNREADABLE),
        ExtractError::BodyTooLarge => (RejectionKind::BodyTooLarge, &problem::BODY_TOO_LARGE),
    };
    let mut rejection = rejection(config, kind, problem);
    if let ExtractError::UnreadableBody(cause) = error {
        rejection.source = Some(cause.into());
    }
    rejection
}

/// Maps a denial to a rejection, or to a bypass if the layer allows users without a second factor.
pub(in crate::middleware) fn denied(
    config: &Config,
    reason: DenyReason,
    has_otp: bool,
) -> Result<BypassReason, Rejection> {
    // Without an OTP no OTP was wrong. Every user, known or unknown, receives the same response.
    let not_accepted = if has_otp { &problem::OTP_INVALID } else { &problem::OTP_REQUIRED };
    let problem = match reason {
        DenyReason::OtpRequired | DenyReason::AlreadyPending { .. } => &problem::OTP_REQUIRED,
        DenyReason::WrongOtp | DenyReason::ReplayedOtp | DenyReason::UnknownUser => not_accepted,
        DenyReason::NotEnrolled => match config.not_enrolled {
            NotEnrolledPolicy::Refuse => not_accepted,
            NotEnrolledPolicy::RequireEnrollment => &problem::ENROLLMENT_REQUIRED,
            NotEnrolledPolicy::InsecureAllow => return Ok(BypassReason::NotEnrolled),
        },
        DenyReason::DeniedByUser => &problem::DENIED,
        DenyReason::InvalidApproval => &problem::APPROVAL_INVALID,
        DenyReason::Throttled { .. } | DenyReason::LockedOut => &problem::TOO_MANY_FAILURES,
    };
    let mut rejection = rejection(config, RejectionKind::Denied(reason), problem);
    rejection.retry_after = reason.retry_after();
    Err(rejection)
}

pub(in crate::middleware) fn pending(config: &Config, pending: Box<PendingApproval>) -> Rejection {
    let problem = match config.profile {
        Profile::Api => &problem::PENDING,
        Profile::ForwardAuth => &problem::PENDING_NOT_GRANTED,
    };
    let mut rejection = rejection(config, RejectionKind::Pending, problem);
    rejection.retry_after = pending.retry_after();
    rejection.pending = Some(pending.into());
    rejection
}

pub(in crate::middleware) fn unavailable(config: &Config, error: BoxError) -> Rejection {
    let kind = RejectionKind::Unavailable(ErrorClass::from_error(&*error));
    let mut rejection = rejection(config, kind, &problem::UNAVAILABLE);
    rejection.retry_after =
        error_chain(&*error).find_map(|error| error.downcast_ref().and_then(VerifierError::retry_after));
    rejection.source = Some(error.into());
    rejection
}

fn rejection(config: &Config, kind: RejectionKind, problem: &'static Problem) -> Rejection {
    let headers = Arc::clone(config.headers().rejections());
    Rejection { kind, problem, headers, retry_after: None, pending: None, source: None }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_401_has_a_challenge() {
        let config = Config { profile: Profile::ForwardAuth, ..Config::default() };
        let reasons = [
            DenyReason::OtpRequired,
            DenyReason::WrongOtp,
            DenyReason::ReplayedOtp,
            DenyReason::DeniedByUser,
            DenyReason::InvalidApproval,
            DenyReason::AlreadyPending { retry_after: Duration::ZERO },
        ];
        for reason in reasons {
            let rejection = denied(&config, reason, true).unwrap_err();
            assert!(rejection.challenge().is_some(), "{reason:?}");
        }
        assert!(pending(&config, Box::default()).challenge().is_some());
        assert!(unavailable(&config, "down".into()).challenge().is_none());
    }

    #[test]
    fn a_response_has_no_extension_of_the_request_and_keeps_those_of_the_hook() {
        #[derive(Clone)]
        struct OfRequest;
        #[derive(Clone)]
        struct OfHook;
        let config = Config::default();
        let hook = |rejection: &Rejection, request: &Parts| {
            assert!(request.extensions.get::<OfRequest>().is_some());
            let mut response = rejection.response(());
            if request.method == http::Method::POST {
                response.extensions_mut().insert(OfHook);
            }
            response
        };
        for method in ["GET", "POST"] {
            let request = http::Request::builder().method(method).extension(OfRequest).body(()).unwrap();
            let mut parts = request.into_parts().0;
            let response = response(&config, unidentified(&config), &mut parts, &hook);
            let extensions = response.extensions();
            assert!(extensions.get::<OfRequest>().is_none());
            assert_eq!(extensions.get::<OfHook>().is_some(), method == "POST");
            assert_eq!(extensions.get::<Rejection>().unwrap().kind(), RejectionKind::Unidentified);
        }
    }

    #[test]
    fn the_cause_of_an_error_can_set_retry_after() {
        #[derive(Debug)]
        struct Outer(VerifierError);
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
        let (config, wait) = (Config::default(), Duration::from_secs(7));
        let outer = Outer(VerifierError::new("down").with_retry_after(wait));
        assert_eq!(unavailable(&config, Box::new(outer)).retry_after, Some(wait));
        assert_eq!(unavailable(&config, "down".into()).retry_after, None);
    }
}
