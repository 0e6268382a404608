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
pub(super) struct UndecidedRequest<S, R, B> {
    pub(super) parts: Parts,
    pub(super) subject: Subject,
    pub(super) inner: S,
    pub(super) reject: R,
    pub(super) config: Arc<Config>,
    in_flight: InFlight<B>,
}

/// What is known of an attempt while the verifier runs.
struct InFlight<B> {
    scope: AuditScope,
    has_otp: bool,
    /// The body for the inner service. `None` until the credentials are read.
    body: Option<B>,
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

impl<S, R, B> UndecidedRequest<S, R, B> {
    pub(super) fn new(parts: Parts, subject: Subject, inner: S, reject: R, config: Arc<Config>) -> Self {
        let in_flight = InFlight {
            scope: AuditScope::default(),
            has_otp: false,
            body: None,
            #[cfg(feature = "grants")]
            grant: None,
        };
        Self { parts, subject, inner, reject, config, in_flight }
    }

    /// Builds the verifier's request from the credentials, and starts the audit scope. What a grant is bound to is read
    /// before the factor is verified.
    pub(super) fn start(&mut self, credentials: Credentials<B>) -> Attempt {
        let Credentials { otp, approval_token, body_bytes, body } = credentials;
        self.in_flight = InFlight {
            scope: AuditScope::start(&self.config.audit, &self.parts, &self.subject),
            has_otp: otp.is_some(),
            body: Some(body),
            #[cfg(feature = "grants")]
            grant: self.config.reuse.grant_context(&self.parts, &self.subject.user).map(Box::new),
        };
        let unenrolled_allowed = self.config.not_enrolled == NotEnrolledPolicy::InsecureAllow;
        let attempt = Attempt::from_subject(self.subject.clone()).with_unenrolled_allowed(unenrolled_allowed);
        if !self.config.approvals || (otp.is_some() && approval_token.is_none()) {
            return attempt.with_otp(otp);
        }
        let binding = self.request_binding(body_bytes);
        attempt.with_otp(otp).with_approval_token(approval_token).with_request(binding)
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

    /// Polls the verifier inside the tracing span.
    pub(super) fn poll_in_scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.in_flight.scope.in_scope(poll)
    }

    /// Decides from the verdict.
    pub(super) fn decide(&self, verdict: Result<Verdict, BoxError>) -> Result<Forward, Rejection> {
        match verdict {
            Ok(Verdict::Granted(factor)) => Ok(Forward::Granted(factor)),
            Ok(Verdict::Bypassed(reason)) => Ok(Forward::Bypassed(reason)),
            Ok(Verdict::Denied(reason)) => denied(&self.config, reason, self.in_flight.has_otp).map(Forward::Bypassed),
            Ok(Verdict::Pending(approval)) => Err(pending(&self.config, approval)),
            Err(error) => Err(unavailable(&self.config, error)),
        }
    }

    /// Records the decision and marks the request. A bypass that could not be recorded is rejected instead.
    pub(super) fn into_forwarded<ResBody>(
        self,
        forward: Forward,
    ) -> Result<(S, Parts, Option<B>, ResponseHeaders), Response<ResBody>>
    where
        R: Reject<ResBody>,
    {
        let Self { mut parts, subject, inner, reject, config, in_flight } = self;
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
                Ok((inner, parts, in_flight.body, headers))
            }
            Forward::Bypassed(reason) => match record(Outcome::Bypassed(reason)) {
                Ok(()) => {
                    insert_bypassed(&mut parts.extensions, Bypassed::new(reason));
                    Ok((inner, parts, in_flight.body, ResponseHeaders::new(Some(config))))
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
    pub(super) fn into_rejected<ResBody>(mut self, rejection: Rejection) -> Response<ResBody>
    where
        R: Reject<ResBody>,
    {
        let outcome = Outcome::Rejected(rejection.kind());
        self.record(outcome);
        response(&self.config, rejection, &mut self.parts, &self.reject)
    }

    /// Records that the request was dropped before the decision.
    pub(super) fn record_cancelled(&self) {
        self.record(Outcome::Cancelled);
    }

    fn record(&self, outcome: Outcome) {
        self.in_flight.scope.record(&self.config.audit, &self.parts, Some(&self.subject), outcome).ok();
    }
}
