//! A request between the check of its head and the decision.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;

use super::audit::{AuditScope, Outcome, SinkPanicked};
use super::config::{Config, NotEnrolledPolicy, Profile};
use super::extract::{Credentials, preferred_wait};
#[cfg(feature = "grants")]
use super::grants::{GrantContext, GrantHeader};
use super::response::{Rejection, denied, mark_dependent, pending, unavailable};
use super::reuse::{insert_bypassed, insert_second_factor};
use crate::verify::{
    ApprovalToken, Attempt, BoxError, BypassReason, Bypassed, ExtraBinding, Factor, Otp, RequestBinding, SecondFactor,
    SessionId, Subject, Verdict,
};

/// A request that is not decided yet.
pub(super) struct UndecidedRequest<S, R, B> {
    pub(super) parts: Parts,
    /// The body for the inner service. `None` until the credentials are read.
    pub(super) body: Option<B>,
    pub(super) inner: S,
    pub(super) reject: R,
    pub(super) in_flight: InFlight,
}

/// What is known of an attempt while the verifier runs.
pub(super) struct InFlight {
    pub(super) config: Arc<Config>,
    subject: Subject,
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
    /// Keeps the body, and builds the verifier's request from the credentials.
    pub(super) fn start(&mut self, credentials: Credentials<B>) -> Attempt {
        let Credentials { otp, approval_token, body_bytes, body } = credentials;
        self.body = Some(body);
        self.in_flight.start(&self.parts, otp, approval_token, body_bytes)
    }

    /// Records that the request was dropped before the decision.
    pub(super) fn record_cancelled(&self) {
        self.in_flight.record(&self.parts, Outcome::Cancelled).ok();
    }
}

impl InFlight {
    pub(super) fn new(config: Arc<Config>, subject: Subject) -> Self {
        Self {
            config,
            subject,
            scope: AuditScope::default(),
            has_otp: false,
            #[cfg(feature = "grants")]
            grant: None,
        }
    }

    /// Starts the audit scope. What a grant is bound to is read before the factor is verified.
    fn start(
        &mut self,
        parts: &Parts,
        otp: Option<Otp>,
        approval_token: Option<ApprovalToken>,
        body: Option<Bytes>,
    ) -> Attempt {
        self.scope = AuditScope::start(&self.config.audit, parts, &self.subject);
        self.has_otp = otp.is_some();
        #[cfg(feature = "grants")]
        {
            self.grant = self.config.reuse.grant_context(parts, &self.subject.user).map(Box::new);
        }
        let unenrolled_allowed = self.config.not_enrolled == NotEnrolledPolicy::InsecureAllow;
        let attempt = Attempt::from_subject(self.subject.clone()).with_unenrolled_allowed(unenrolled_allowed);
        if !self.config.approvals || (self.has_otp && approval_token.is_none()) {
            return attempt.with_otp(otp);
        }
        let binding = self.request_binding(parts, body);
        attempt.with_otp(otp).with_approval_token(approval_token).with_request(binding)
    }

    /// What an approval is bound to. `None` if a required part is missing.
    fn request_binding(&self, parts: &Parts, body: Option<Bytes>) -> Option<RequestBinding> {
        let extensions = &parts.extensions;
        let session = extensions.get::<SessionId>()?.clone();
        let extra = extensions.get::<ExtraBinding>().cloned();
        // The requests of a proxy are equal for all requests that it asks about.
        if extra.is_none() && self.config.profile == Profile::ForwardAuth {
            return None;
        }
        let wait = preferred_wait(&parts.headers);
        Some(RequestBinding::new(parts, session, body).with_extra(extra).with_wait(wait))
    }

    /// Polls the verifier inside the tracing span.
    pub(super) fn poll_in_scope<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.scope.in_scope(poll)
    }

    /// Decides from the verdict.
    pub(super) fn decide(&self, verdict: Result<Verdict, BoxError>) -> Result<Forward, Rejection> {
        match verdict {
            Ok(Verdict::Granted(factor)) => Ok(Forward::Granted(factor)),
            Ok(Verdict::Bypassed(reason)) => Ok(Forward::Bypassed(reason)),
            Ok(Verdict::Denied(reason)) => denied(&self.config, reason, self.has_otp).map(Forward::Bypassed),
            Ok(Verdict::Pending(approval)) => Err(pending(&self.config, approval)),
            Err(error) => Err(unavailable(&self.config, error)),
        }
    }

    /// Records the decision and marks the request. A bypass that could not be recorded is rejected instead.
    pub(super) fn forward(
        self,
        parts: &mut Parts,
        forward: Forward,
    ) -> Result<ResponseHeaders, (Arc<Config>, Rejection)> {
        match forward {
            Forward::Granted(factor) => {
                // A verified factor is valid even if recording fails.
                self.record(parts, Outcome::Granted(factor)).ok();
                let second_factor = SecondFactor::from_subject(self.subject, factor);
                #[cfg(feature = "grants")]
                let grant = self.grant.and_then(|context| {
                    let header = self.config.reuse.issue_grant(*context, &second_factor, &mut parts.extensions)?;
                    Some(Box::new(header))
                });
                insert_second_factor(&mut parts.extensions, second_factor);
                Ok(ResponseHeaders {
                    config: Some(self.config),
                    #[cfg(feature = "grants")]
                    grant,
                })
            }
            Forward::Bypassed(reason) => match self.record(parts, Outcome::Bypassed(reason)) {
                Ok(()) => {
                    insert_bypassed(&mut parts.extensions, Bypassed::new(reason));
                    Ok(ResponseHeaders::new(Some(self.config)))
                }
                // It is recorded as `unavailable`.
                Err(SinkPanicked) => {
                    let rejection = unavailable(&self.config, "recording a bypass failed".into());
                    Err((self.config, rejection))
                }
            },
        }
    }

    /// Records a rejection.
    pub(super) fn record_rejected(&self, parts: &Parts, rejection: &Rejection) {
        self.record(parts, Outcome::Rejected(rejection.kind())).ok();
    }

    fn record(&self, parts: &Parts, outcome: Outcome) -> Result<(), SinkPanicked> {
        self.scope.record(&self.config.audit, parts, Some(&self.subject), outcome)
    }
}
