//! The settings of a layer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use http::request::Parts;

use super::audit::Audit;
use super::response::{OTHER_VARY, Realm, RejectionHeaders, USUAL_VARY};
use super::reuse::Reuse;
use crate::verify::{Action, UserId};

type Identify = dyn Fn(&Parts) -> Option<UserId> + Send + Sync;
type ChooseAction = dyn Fn(&Parts) -> Action + Send + Sync;
type Skip = dyn Fn(&Parts) -> bool + Send + Sync;

#[derive(Clone)]
pub(super) struct Config {
    pub(super) identify: Option<Arc<Identify>>,
    pub(super) action: ActionConfig,
    pub(super) skip: Option<Arc<Skip>>,
    pub(super) allow_preflight: bool,
    /// Whether verifiers may request approvals.
    pub(super) approvals: bool,
    pub(super) not_enrolled: NotEnrolledPolicy,
    pub(super) profile: Profile,
    pub(super) reuse: Reuse,
    pub(super) audit: Audit,
    pub(super) realm: Realm,
    /// Built at the first request, because it depends on the extractor too.
    pub(super) headers: OnceLock<Headers>,
}

/// The headers that do not differ between the responses of a layer.
#[derive(Clone)]
pub(super) struct Headers {
    vary: HeaderValue,
    rejections: Arc<RejectionHeaders>,
}

impl Headers {
    /// The value of `Vary` on responses that depend on a factor.
    pub(super) fn vary(&self) -> &HeaderValue {
        &self.vary
    }

    pub(super) fn rejections(&self) -> &Arc<RejectionHeaders> {
        &self.rejections
    }
}

impl Config {
    /// Builds the headers at the first request. `otp` returns the names of the headers of the OTP.
    pub(super) fn build_headers(&self, otp: impl FnOnce() -> HeaderValue) -> &Headers {
        self.headers.get_or_init(|| {
            let vary = self.vary(otp());
            let step_up = self.reuse.step_up_challenge();
            Headers { rejections: Arc::new(RejectionHeaders::new(&self.realm, step_up.as_ref(), &vary)), vary }
        })
    }

    /// The headers of the first request. Without any request, responses vary by everything.
    pub(super) fn headers(&self) -> &Headers {
        self.build_headers(|| HeaderValue::from_static("*"))
    }

    fn vary(&self, otp: HeaderValue) -> HeaderValue {
        let grant = self.reuse.grant_header();
        if otp == "toopher-otp" && grant.is_none() {
            return USUAL_VARY;
        }
        if otp == "*" {
            return otp;
        }
        let otp = otp.to_str().unwrap_or("*");
        let names = match grant {
            None => format!("{otp}, {OTHER_VARY}"),
            Some(grant) => format!("{otp}, {grant}, {OTHER_VARY}"),
        };
        HeaderValue::try_from(names).unwrap_or(HeaderValue::from_static("*"))
    }
}

#[derive(Clone)]
pub(super) enum ActionConfig {
    Fixed(Action),
    PerRequest(Arc<ChooseAction>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            identify: None,
            action: ActionConfig::Fixed(Action::from("log in")),
            skip: None,
            allow_preflight: false,
            approvals: false,
            not_enrolled: NotEnrolledPolicy::default(),
            profile: Profile::default(),
            reuse: Reuse::default(),
            audit: Audit::default(),
            realm: Realm::default(),
            headers: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closure = |set: bool| if set { "<fn>" } else { "<default>" };
        f.debug_struct("Config")
            .field("identify", &closure(self.identify.is_some()))
            .field(
                "action",
                match &self.action {
                    ActionConfig::Fixed(action) => action,
                    ActionConfig::PerRequest(_) => &"<fn>",
                },
            )
            .field("skip", &closure(self.skip.is_some()))
            .field("allow_preflight", &self.allow_preflight)
            .field("approvals", &self.approvals)
            .field("not_enrolled", &self.not_enrolled)
            .field("profile", &self.profile)
            .field("reuse", &self.reuse)
            .finish_non_exhaustive()
    }
}

/// The recipient of the layer's responses: the client, or a proxy that asks on the client's behalf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The client. The response to a pending approval is 202.
    #[default]
    Api,
    /// A proxy such as nginx with `auth_request`, which forwards a request after any 2xx. The response to a pending
    /// approval is 401, and a 2xx of a [`Reject`](crate::middleware::Reject) hook is changed to 401.
    ForwardAuth,
}

/// What the layer does for users who have no second factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEnrolledPolicy {
    /// Reject. The response equals that to a wrong or missing OTP.
    #[default]
    Refuse,
    /// Reject with 403 `enrollment_required`. It enables an attack: a client with the first factor of an account learns
    /// that the account has no second factor, so an attacker learns which stolen passwords allow enrolling a factor of
    /// the attacker's own.
    RequireEnrollment,
    /// Forward, marked with [`Bypassed`](crate::verify::Bypassed). It enables an attack: **a stolen password is
    /// sufficient** for every account that has not enrolled.
    InsecureAllow,
}
