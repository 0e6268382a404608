use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use super::audit::AuditEvent;
use super::config::{ActionConfig, Config, NotEnrolledPolicy, Profile};
use super::extract::Header;
#[cfg(feature = "grants")]
use super::grants::Grants;
use super::response::{ProblemJson, Realm, StepUp};
use super::service::ToopherService;
use crate::verify::{Action, UserId};

/// Requires a second factor for the services that it wraps: see the [module docs](crate::middleware).
///
/// `V` verifies, `X` reads the OTP from a request, `R` builds the response to a rejected request.
#[derive(Clone)]
#[must_use]
pub struct ToopherLayer<V, X = Header, R = ProblemJson> {
    verifier: V,
    extractor: X,
    reject: R,
    config: Arc<Config>,
}

impl<V> ToopherLayer<V> {
    /// A layer that calls `verifier`, reads the OTP from the header `Toopher-OTP`, and rejects with problem documents.
    ///
    /// `verifier` is any `tower::Service<Attempt, Response = Verdict>` that is `Clone`: each request calls a clone of
    /// it. Add timeouts, retries, concurrency limits and load shedding around it with tower.
    pub fn new(verifier: V) -> Self {
        Self { verifier, extractor: Header::default(), reject: ProblemJson, config: Arc::default() }
    }
}

impl<V, X, R> ToopherLayer<V, X, R> {
    /// Sets the extractor of the OTP. Default: [`Header`].
    pub fn extractor<X2>(self, extractor: X2) -> ToopherLayer<V, X2, R> {
        let Self { verifier, reject, config, .. } = self.change(|_| ());
        ToopherLayer { verifier, extractor, reject, config }
    }

    /// Sets the format of rejections. Default: [`ProblemJson`].
    pub fn reject_with<R2>(self, reject: R2) -> ToopherLayer<V, X, R2> {
        ToopherLayer { verifier: self.verifier, extractor: self.extractor, reject, config: self.config }
    }

    /// Sets how the user of a request is identified. Default: the [`UserId`] in the request's extensions, which the
    /// first factor inserts. The layer rejects a request without a user with 401 and calls neither verifier nor store.
    ///
    /// The first factor must have *proven* what the function reads. It enables an attack otherwise: with a name from a
    /// header or a path that the client chooses, any client can use up another user's attempts and lock the account.
    pub fn identify(self, identify: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> Self {
        self.change(|config| config.identify = Some(Arc::new(identify)))
    }

    /// Allows the verifier to request approvals, as `Approvals` (feature `approvals`) does. The response to a
    /// request without an OTP is then 202 with a token in `Toopher-Approval`, and the client repeats the request with
    /// that token, or with an OTP. Default: no approval is requested.
    ///
    /// It requires a [`SessionId`](crate::verify::SessionId) in the request's extensions. Requests without one must
    /// contain an OTP. An approval that was requested in one session is not valid in another one.
    ///
    /// An approval is bound to method, host, path, query, content type and body as the *layer* sees them, to the
    /// session, and to the [`ExtraBinding`](crate::verify::ExtraBinding), if one is in the extensions. Inside a
    /// router's `nest` the path has no prefix, so use different [actions](Self::action_for) for requests of different
    /// importance.
    pub fn approvals(self) -> Self {
        self.change(|config| config.approvals = true)
    }

    /// Sets the action that the factor is required for. Default: `log in`.
    pub fn action(self, action: impl Into<Action>) -> Self {
        let action = action.into();
        self.change(|config| config.action = ActionConfig::Fixed(action))
    }

    /// Sets the action per request. Default: [`action`](Self::action).
    ///
    /// A factor that an outer layer has verified for the same action is not required again. If two requests of
    /// different importance have the same action, the factor of the less important one is valid for the other.
    pub fn action_for(self, choose: impl Fn(&Parts) -> Action + Send + Sync + 'static) -> Self {
        self.change(|config| config.action = ActionConfig::PerRequest(Arc::new(choose)))
    }

    /// Sets the realm of `WWW-Authenticate`. Default: `second factor`.
    pub fn realm(self, realm: &Realm) -> Self {
        self.change(|config| config.realm = realm.clone())
    }

    /// Sets the policy for users who have no second factor. Default: [`NotEnrolledPolicy::Refuse`].
    pub fn not_enrolled(self, policy: NotEnrolledPolicy) -> Self {
        self.change(|config| config.not_enrolled = policy)
    }

    /// Sets the recipient of the layer's responses. Default: [`Profile::Api`].
    pub fn profile(self, profile: Profile) -> Self {
        self.change(|config| config.profile = profile)
    }

    /// Forwards requests **without any factor, first or second,** for which `skip` returns true. Default: none.
    ///
    /// It enables an attack: paths have many spellings (`/health/`, `//health`, `/%68ealth`), and routers differ in
    /// which of them are equal, so a test by prefix or after decoding can forward a request that the router sends to a
    /// protected handler. Compare complete paths, and prefer not to apply the layer to the route at all.
    pub fn insecure_skip(self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.change(|config| config.skip = Some(Arc::new(skip)))
    }

    /// Forwards CORS preflights without verification: `OPTIONS` with both `Origin` and `Access-Control-Request-Method`.
    /// Default: they are verified like any request.
    ///
    /// It is needed only if the CORS layer is *inside* this layer. Put it outside instead, so that rejections have CORS
    /// headers too. It enables an attack if a handler performs work on `OPTIONS`: every client can call it.
    pub fn insecure_allow_cors_preflight(self) -> Self {
        self.change(|config| config.allow_preflight = true)
    }

    /// Calls `sink` with an [`AuditEvent`] for every decision, in their order. Default: no sink. With the feature
    /// `tracing` decisions are events too, and with `metrics` they are counted.
    ///
    /// The layer calls it before it responds, so it must not block: send a clone of the event to a channel. The layer
    /// catches a panic of the sink and keeps its decision, except that it rejects a request that would be forwarded
    /// *without* a second factor (503), because that was not recorded. A second sink replaces the first one.
    pub fn audit(self, sink: impl Fn(&AuditEvent) + Send + Sync + 'static) -> Self {
        self.change(|config| config.audit.sink = Some(Arc::new(sink)))
    }

    /// Sets the maximum age of a factor, so that a request with a recent factor is forwarded without verification.
    /// Default: zero: each request needs its own factor.
    ///
    /// An earlier factor is known from a grant (feature `grants`), whose lifetime limits this setting, or from a
    /// [`SecondFactor`](crate::SecondFactor::with_auth_time) that code outside the layer inserts. Such a request is
    /// forwarded unchanged, with its body unread. **A code in it is neither verified nor recorded as used here:** it
    /// may be for an inner layer that requires a more recent factor. Keep zero where each submitted code must be
    /// verified.
    ///
    /// It enables an attack: for this time an attacker with the session (at the open browser, with a stolen cookie, or
    /// from a page that makes the browser send requests) needs no second factor. An approval of *one* payment is then
    /// valid for the next payments of the same action. Keep zero where each request must be confirmed.
    pub fn max_age(self, age: Duration) -> Self {
        self.change(|config| config.reuse.max_age = age)
    }

    /// Sets actions whose factors are also accepted on this route, verified earlier or, by an outer layer, for this
    /// request. Default: only its own action.
    ///
    /// Use more important actions only. It enables an attack otherwise: a factor that users show without thinking would
    /// be valid for the more important action.
    pub fn also_accept<A: Into<Action>>(self, actions: impl IntoIterator<Item = A>) -> Self {
        let actions = actions.into_iter().map(Into::into).collect();
        self.change(|config| config.reuse.also_accept = actions)
    }

    /// Adds the challenge of RFC 9470, with [`max_age`](Self::max_age), to a 401 that requires a factor, as an OAuth
    /// resource server does. Default: only the layer's own challenge. See [`StepUp`].
    pub fn step_up(self, step_up: StepUp) -> Self {
        self.change(|config| config.reuse.step_up = Some(step_up))
    }

    /// Issues [grants](crate::middleware::grants) after success, and accepts them as [`max_age`](Self::max_age) allows.
    /// Default: no grants.
    #[cfg(feature = "grants")]
    pub fn grants(self, grants: Grants) -> Self {
        self.change(|config| config.reuse.grants = Some(grants))
    }

    fn change(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let config = Arc::make_mut(&mut self.config);
        // They depend on other settings.
        config.headers.take();
        change(config);
        self
    }
}

impl<S, V: Clone, X: Clone, R: Clone> Layer<S> for ToopherLayer<V, X, R> {
    type Service = ToopherService<S, V, X, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let config = Arc::clone(&self.config);
        ToopherService::new(inner, self.verifier.clone(), self.extractor.clone(), self.reject.clone(), config)
    }
}

impl<V, X: fmt::Debug, R> fmt::Debug for ToopherLayer<V, X, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherLayer")
            .field("extractor", &self.extractor)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
