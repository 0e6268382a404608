//! A request between the check of its head and the decision.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Response};

use super::audit::{AuditScope, Outcome, SinkPanicked};
use super::config::{Config, NotEnrolledPolicy, Profile};
use super::extract::{Credentials, preferred_wait};
#[cfg(feature = "grants")]
use super::grants::{GrantContext, GrantHeader};
use super::response::{Reject, Rejection, denied, mark_dependent, pending, response, unavailable};
use super::reuse::{insert_bypassed, insert_second_factor};
use crate::verify::{
    Attempt, BoxError, BypassReason, Bypassed, ExtraBinding, Factor, RequestBinding, SecondFactor, SessionId, Subject,
    Verdict,
};

/// A request that is not decided yet.
pub(super) struct UndecidedRequest<S, R> {
    pub(super) parts: Parts,
    pub(super) subject: Subject,
    pub(super) inner: S,
    pub(super) reject: R,
    pub(super) config: Arc<Config>,
}

/// What is known of an attempt while the verifier runs.
#[derive(Default)]
pub(super) struct InFlight {
    scope: AuditScope,
    has_otp: bool,
    #[cfg(feature = "grants")]
    grant: Option<Box<GrantContext>>,
}

/// Why a request is forwarded.
pub(super) enum Forward {
    Granted(Factor),
    Bypassed(BypassReason),
}

/// The headers that the inner service's response will get.
#[derive(Default)]
pub(super) struct ResponseHeaders {
    /// With the value of `Vary`. `None` if the response does not depend on a factor.
    config: Option<Arc<Config>>,
    #[cfg(feature = "grants")]
    grant: Option<Box<GrantHeader>>,
}

impl InFlight {
    /// Polls the verifier inside the tracing span.
    pub(super) fn poll_in_scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.scope.in_scope(poll)
    }
}

impl ResponseHeaders {
    pub(super) fn new(config: Option<Arc<Config>>) -> Self {
        Self {
            config,
            #[cfg(feature = "grants")]
            grant: None,
        }
    }

    pub(super) fn insert(self, response: &mut HeaderMap) {
        if let Some(config) = self.config {
            mark_dependent(response, config.headers().vary());
        }
        #[cfg(feature = "grants")]
        if let Some(grant) = self.grant {
            grant.insert(response);
        }
    }
}

/// Records a decision that was made from the head of a request.
pub(super) fn record(
    config: &Config,
    parts: &Parts,
    subject: Option<&Subject>,
    outcome: Outcome,
) -> Result<(), SinkPanicked> {
    AuditScope::default().record(&config.audit, parts, subject, outcome)
}

impl<S, R> UndecidedRequest<S, R> {
    /// Builds the verifier's request from the credentials, and returns the body for the inner service.
    pub(super) fn build_attempt<B>(&self, credentials: Credentials<B>) -> (Attempt, B) {
        let Credentials { otp, approval_token, body_bytes, body } = credentials;
        let unenrolled_allowed = self.config.not_enrolled == NotEnrolledPolicy::InsecureAllow;
        let attempt = Attempt::from_subject(self.subject.clone()).with_unenrolled_allowed(unenrolled_allowed);
        if !self.config.approvals || (otp.is_some() && approval_token.is_none()) {
            return (attempt.with_otp(otp), body);
        }
        let binding = self.request_binding(body_bytes);
        (attempt.with_otp(otp).with_approval_token(approval_token).with_request(binding), body)
    }

    /// What an approval is bound to. `None` if a required part is missing.
    fn request_binding(&self, body: Option<bytes::Bytes>) -> Option<RequestBinding> {
        let extensions = &self.parts.extensions;
        let session = extensions.get::<SessionId>()?.clone();
        let extra = extensions.get::<ExtraBinding>().cloned();
        // The requests of a proxy are equal for all requests that it asks about.
        if extra.is_none() && self.config.profile == Profile::ForwardAuth {
            return None;
        }
        let wait = preferred_wait(&self.parts.headers);
        Some(RequestBinding::new(&self.parts, session, body).with_extra(extra).with_wait(wait))
    }

    /// Starts the audit scope. What a grant is bound to is read before the factor is verified.
    pub(super) fn start(&self, attempt: &Attempt) -> InFlight {
        InFlight {
            scope: AuditScope::start(&self.config.audit, &self.parts, &self.subject),
            has_otp: attempt.otp().is_some(),
            #[cfg(feature = "grants")]
            grant: self.config.reuse.grant_context(&self.parts, &self.subject.user).map(Box::new),
        }
    }

    /// Decides from the verdict.
    pub(super) fn decide(
        &self,
        in_flight: &InFlight,
        verdict: Result<Verdict, BoxError>,
    ) -> Result<Forward, Rejection> {
        match verdict {
            Ok(Verdict::Granted(factor)) => Ok(Forward::Granted(factor)),
            Ok(Verdict::Bypassed(reason)) => Ok(Forward::Bypassed(reason)),
            Ok(Verdict::Denied(reason)) => denied(&self.config, reason, in_flight.has_otp).map(Forward::Bypassed),
            Ok(Verdict::Pending(approval)) => Err(pending(&self.config, approval)),
            Err(error) => Err(unavailable(&self.config, error)),
        }
    }

    /// Records the decision and marks the request. A bypass that could not be recorded is rejected instead.
    pub(super) fn into_forwarded<ResBody>(
        self,
        in_flight: InFlight,
        forward: Forward,
    ) -> Result<(S, Parts, ResponseHeaders), Response<ResBody>>
    where
        R: Reject<ResBody>,
    {
        let Self { mut parts, subject, inner, reject, config } = self;
        let record = |outcome| in_flight.scope.record(&config.audit, &parts, Some(&subject), outcome);
        match forward {
            Forward::Granted(factor) => {
                // A verified factor is valid even if recording fails.
                record(Outcome::Granted(factor)).ok();
                let second_factor = SecondFactor::from_subject(subject, factor);
                #[cfg(feature = "grants")]
                let grant = in_flight.grant.and_then(|context| {
                    let header = config.reuse.issue_grant(*context, &second_factor, &mut parts.extensions)?;
                    Some(Box::new(header))
                });
                insert_second_factor(&mut parts.extensions, second_factor);
                let headers = ResponseHeaders {
                    config: Some(config),
                    #[cfg(feature = "grants")]
                    grant,
                };
                Ok((inner, parts, headers))
            }
            Forward::Bypassed(reason) => match record(Outcome::Bypassed(reason)) {
                Ok(()) => {
                    insert_bypassed(&mut parts.extensions, Bypassed::new(reason));
                    Ok((inner, parts, ResponseHeaders::new(Some(config))))
                }
                // It is recorded as `unavailable`.
                Err(SinkPanicked) => {
                    let rejection = unavailable(&config, "recording a bypass failed".into());
                    Err(response(&config, rejection, &mut parts, &reject))
                }
            },
        }
    }

    /// Records a rejection and builds the response.
    pub(super) fn into_rejected<ResBody>(mut self, in_flight: &InFlight, rejection: Rejection) -> Response<ResBody>
    where
        R: Reject<ResBody>,
    {
        let outcome = Outcome::Rejected(rejection.kind());
        in_flight.scope.record(&self.config.audit, &self.parts, Some(&self.subject), outcome).ok();
        response(&self.config, rejection, &mut self.parts, &self.reject)
    }

    /// Records that the request was dropped before the decision.
    pub(super) fn record_cancelled(&self, in_flight: &InFlight) {
        in_flight.scope.record(&self.config.audit, &self.parts, Some(&self.subject), Outcome::Cancelled).ok();
    }
}
