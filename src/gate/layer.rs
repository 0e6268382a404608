use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::extract::Header;
use super::observe::AuditEvent;
use super::policy::{ActionPolicy, Policy};
use super::realm::Realm;
use super::reject::ProblemJson;
use super::service::ToopherService;
use super::settings::{NotEnrolledPolicy, Profile};
use crate::{Action, Terminal, UserId};

/// Wraps services with a second factor: see the [module docs](crate::gate).
///
/// `V` verifies, `X` finds the OTP, `R` makes the answer to a refused request.
#[derive(Clone)]
#[must_use]
pub struct ToopherLayer<V, X = Header, R = ProblemJson> {
    verifier: V,
    extractor: X,
    reject: R,
    policy: Arc<Policy>,
}

impl<V> ToopherLayer<V> {
    /// A layer that asks `verifier`, takes the OTP from the header `Toopher-OTP`, and refuses with problem documents.
    ///
    /// `verifier` is any `tower::Service<Attempt, Response = Verdict>` that is `Clone`: each request asks a clone of
    /// it. Time limits, retries, concurrency limits and load shedding are put around it with tower.
    pub fn new(verifier: V) -> Self {
        Self { verifier, extractor: Header::default(), reject: ProblemJson, policy: Arc::default() }
    }
}

impl<V, X, R> ToopherLayer<V, X, R> {
    /// Sets where the OTP is found. Default: [`Header`].
    pub fn extractor<X2>(self, extractor: X2) -> ToopherLayer<V, X2, R> {
        ToopherLayer { verifier: self.verifier, extractor, reject: self.reject, policy: self.policy }
    }

    /// Sets how refusals look. Default: [`ProblemJson`].
    pub fn reject_with<R2>(self, reject: R2) -> ToopherLayer<V, X, R2> {
        ToopherLayer { verifier: self.verifier, extractor: self.extractor, reject, policy: self.policy }
    }

    /// Sets how a request's user is found. Default: the [`UserId`] in the request's extensions, put there by the first
    /// factor. A request without a user is refused with 401, and nothing is asked of anybody.
    ///
    /// What it reads must have been *proven* by the first factor. A name from a header or a path that the client
    /// chooses lets anyone use up, and lock, another user's attempts.
    pub fn identify(self, identify: impl Fn(&Parts) -> Option<UserId> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.identify = Some(Arc::new(identify)))
    }

    /// Lets a request that nobody has identified name its user in a form: `user` turns what was typed into the account.
    /// Default: such requests are refused. The extractor says in which field it stands
    /// ([`HeaderOrForm::user_field`](crate::HeaderOrForm::user_field)).
    ///
    /// It is for login pages where user name, password and OTP are sent together. Only an OTP is verified then, and no
    /// approval is ever asked for, since no first factor has been shown. Three things follow:
    ///
    /// - The handler must check the password **of the same account**: that of
    ///   [`SecondFactor::user`](crate::SecondFactor::user).
    /// - Anybody can use up the attempts of anybody, and have a name locked, without knowing a password.
    /// - `user` must lead every spelling of a name to one account, and give names that are nobody's an id too, so that
    ///   they are refused, throttled and timed like the others.
    ///   [`NotEnrolledPolicy::Refuse`](crate::NotEnrolledPolicy::Refuse) should stay, as every other policy tells
    ///   strangers who has no second factor.
    pub fn identify_by_form(self, user: impl Fn(&str) -> Option<UserId> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.identify_by_form = Some(Arc::new(user)))
    }

    /// Lets the verifier ask for approvals, as `Approvals` (feature `approvals`) does: a request without an OTP is then
    /// answered with 202 and a challenge in `Toopher-Challenge`, and the client sends the same request again with that
    /// challenge, or with an OTP. Default: nobody is asked.
    ///
    /// `session` names the session, or whatever tells apart what may not use each other's approvals. An approval that
    /// was asked for in one session counts for nothing in another; requests without one must bring an OTP. Where the
    /// name is not secret (a constant, say), **a thief with the password can send the same request while the user waits,
    /// and be let in by the user's approval.**
    ///
    /// The approval is bound to method, host, path, query, content type and body as the *gate* sees them. Inside a
    /// router's `nest` the prefix of the path is gone: give requests of different weight different
    /// [actions](Self::action_for).
    pub fn approvals(self, session: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.session = Some(Arc::new(session)))
    }

    /// Sets what else an approval is bound to, besides what [`approvals`](Self::approvals) lists: the tenant in a header,
    /// say, or, for a forward-auth proxy ([`Profile::ForwardAuth`]), the method and address that it asks about, without
    /// which no approval is asked for there. Requests for which it says nothing must bring an OTP. Default: nothing else.
    pub fn bind(self, also: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.bind = Some(Arc::new(also)))
    }

    /// Sets what the factor is asked for. Default: `log in`.
    pub fn action(self, action: impl Into<Action>) -> Self {
        let action = action.into();
        self.change(|policy| policy.action = ActionPolicy::Fixed(action))
    }

    /// Sets what the factor is asked for, request by request. Default: [`action`](Self::action).
    ///
    /// A factor that an outer gate took for the same action is not asked for again; where two requests of different
    /// weight get the same action, the lighter one's factor serves for the heavier one.
    pub fn action_for(self, choose: impl Fn(&Parts) -> Action + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.action = ActionPolicy::Chosen(Arc::new(choose)))
    }

    /// Sets how the terminal of a request is found. Default: there is none.
    pub fn terminal(self, find: impl Fn(&Parts) -> Option<Terminal> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.terminal = Some(Arc::new(find)))
    }

    /// Sets the realm of `WWW-Authenticate`. Default: `second factor`.
    pub fn realm(self, realm: &Realm) -> Self {
        self.change(|policy| policy.set_realm(realm))
    }

    /// Sets what happens to users who have no second factor. Default: [`NotEnrolledPolicy::Refuse`].
    pub fn not_enrolled(self, policy: NotEnrolledPolicy) -> Self {
        self.change(|p| p.not_enrolled = policy)
    }

    /// Sets who the gate answers. Default: [`Profile::Api`].
    pub fn profile(self, profile: Profile) -> Self {
        self.change(|policy| policy.profile = profile)
    }

    /// Lets requests through **without any factor, first or second,** where `skip` says so. Default: none.
    ///
    /// It opens an attack: paths have many spellings (`/health/`, `//health`, `/%68ealth`), and routers differ on
    /// which of them are one, so a test by prefix or after decoding can let through what the router then sends to a
    /// guarded handler. Compare whole paths for equality, and prefer not to put the layer on the route at all.
    pub fn insecure_skip(self, skip: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.skip = Some(Arc::new(skip)))
    }

    /// Lets CORS preflights through unasked: `OPTIONS` with both `Origin` and `Access-Control-Request-Method`. Default:
    /// they are guarded like any request.
    ///
    /// It is needed only where the CORS layer stands *inside* the gate; outside is the better place, since refusals
    /// then carry CORS headers too. A handler that does work on `OPTIONS` is open to everybody with this.
    pub fn insecure_pass_cors_preflight(self) -> Self {
        self.change(|policy| policy.pass_preflight = true)
    }

    /// Has every decision told to `sink`, in the order in which they are made. Default: nobody is told. With the feature
    /// `tracing` they are events, too, and with `metrics` they are counted.
    ///
    /// It is called in the middle of answering, so it must not block: clone the event into a channel, and write it
    /// elsewhere. A panic in it is caught, and the decision stands; only a request that would pass *without* a second
    /// factor is refused (503) when that could not be recorded. A second sink replaces the first one.
    pub fn audit(self, sink: impl Fn(&AuditEvent) + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.observe.sink = Some(Arc::new(sink)))
    }

    /// Sets how a request is called in audit events and in the span around the verifier. Default: it has no name. What
    /// the client chooses, such as a header that nobody in front sets anew, proves nothing.
    pub fn request_id(self, find: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.observe.request_id = Some(Arc::new(find)))
    }

    /// Sets what audit events say instead of the path of a request, where there is something to say; the route that
    /// axum's `MatchedPath` names, for example. Default: the path, without its query. It is for applications that put
    /// secrets into paths.
    pub fn audit_path(self, find: impl Fn(&Parts) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        self.change(|policy| policy.observe.path = Some(Arc::new(find)))
    }

    /// Lets requests through **with the first factor alone** while the verifier is in trouble of the kinds, and within
    /// the bounds, that `policy` names. Default: they are refused with 503.
    ///
    /// It opens an attack: **whoever has stolen a password and can bring that trouble about, be it by a flood of requests
    /// or by slowing a backend down, needs no second factor.** Give it to the routes that must go on, and to no other.
    /// See [`FaultPolicy`](crate::FaultPolicy).
    #[cfg(feature = "faults")]
    pub fn insecure_open_on(self, policy: super::FaultPolicy) -> Self {
        self.change(|p| p.faults = Some(policy))
    }

    pub(super) fn change(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(Arc::make_mut(&mut self.policy));
        self
    }
}

impl<S, V, X, R> Layer<S> for ToopherLayer<V, X, R>
where
    V: Clone,
    X: Clone,
    R: Clone,
{
    type Service = ToopherService<S, V, X, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ToopherService {
            inner,
            verifier: self.verifier.clone(),
            extractor: self.extractor.clone(),
            reject: self.reject.clone(),
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<V, X: fmt::Debug, R> fmt::Debug for ToopherLayer<V, X, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToopherLayer")
            .field("extractor", &self.extractor)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
