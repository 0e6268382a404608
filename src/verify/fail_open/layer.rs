use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bounds::{Bounds, Limits};
use crate::error::{ConfigError, ConfigErrorKind};
use crate::verify::error::error_chain;
use crate::verify::{ErrorClass, UserId};

const MAX_REQUESTS: u32 = 10_000;
const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// A layer around a verifier that forwards requests **with the first factor alone** while the verifier fails.
///
/// It enables an attack: **an attacker with a stolen password who can cause the failure needs no second factor,** and a
/// wrong code in the request makes no difference. Use it for the routes that must stay available, and for no others.
/// By default it opens for [`ErrorClass::Refused`] only, which a client that sends requests cannot cause.
///
/// It turns an error of the verifier into [`Verdict::Bypassed`](crate::Verdict::Bypassed) if all of this is true:
///
/// - the error has one of the configured classes;
/// - fewer than `limit` requests were forwarded in this way within the last `window`;
/// - the failure has not lasted longer than [`max_duration`](Self::max_duration);
/// - the attempt can neither request nor poll an approval: with
///   [`ToopherLayer::approvals`](crate::ToopherLayer::approvals) the request contains an OTP and no approval token;
/// - the user was not denied within the last day by this layer, without a verified factor since; nor has a pending
///   approval without a decision, nor dropped a request during verification. So a client that guesses codes, is
///   throttled or locked out, or was denied on the phone cannot pass by causing a failure next. While more than 10,000
///   users are in that state, no request is forwarded. A user without a second factor is not denied where
///   [`NotEnrolledPolicy::InsecureAllow`](crate::middleware::NotEnrolledPolicy::InsecureAllow) allows such users.
///
/// The request then carries [`Bypassed`](crate::verify::Bypassed) instead of a [`SecondFactor`](crate::SecondFactor),
/// and the audit event's outcome is `failed_open`. An OTP in the request is not verified, because the verifier failed.
///
/// Clones share the bounds, and so do all verifiers that a clone is applied to. The bounds apply to one process: with
/// ten replicas the total is ten times the limit. A restart resets the bounds and the denials.
///
/// ```
/// use std::time::Duration;
///
/// use tower::Layer;
/// use tower_toopher::ToopherLayer;
/// use tower_toopher::verify::FailOpenLayer;
/// # let verifier = tower::service_fn(|_: tower_toopher::Attempt| async {
/// #     Ok::<_, std::convert::Infallible>(tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp))
/// # });
///
/// // The page that on-call staff need while the server of the second factor is not running.
/// let fail_open = FailOpenLayer::insecure(5, Duration::from_secs(600))?;
/// let status_page = ToopherLayer::new(fail_open.layer(verifier.clone()));
/// // All other routes fail closed.
/// let all_others = ToopherLayer::new(verifier);
/// # let _ = (status_page, all_others);
/// # Ok::<(), tower_toopher::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct FailOpenLayer {
    classes: Arc<[ErrorClass]>,
    limits: Limits,
    classify: Option<Arc<Classify>>,
    clock: Arc<dyn Fn() -> Instant + Send + Sync>,
    bounds: Arc<Mutex<Bounds>>,
}

type Classify = dyn Fn(&(dyn Error + 'static)) -> Option<ErrorClass> + Send + Sync;

impl FailOpenLayer {
    /// Fails open while the backend refuses connections ([`ErrorClass::Refused`]), for at most `limit` requests within
    /// any `window`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] unless `1 <= limit <= 10,000` and `1 second <= window <= 24 hours`.
    pub fn insecure(limit: u32, window: Duration) -> Result<Self, ConfigError> {
        if !(1..=MAX_REQUESTS).contains(&limit) || !(Duration::from_secs(1)..=MAX_WINDOW).contains(&window) {
            return Err(ConfigError::new(ConfigErrorKind::FailOpen));
        }
        Ok(Self {
            classes: Arc::new([ErrorClass::Refused]),
            limits: Limits { requests: limit, window, max_duration: window },
            classify: None,
            clock: Arc::new(Instant::now),
            bounds: Arc::default(),
        })
    }

    /// Also fails open on errors of these classes. Default: none.
    ///
    /// It enables an attack: **an attacker with a stolen password causes an error of the class, and then needs no
    /// second factor.** [`ErrorClass`] says of each class who can cause it: of all of them, any client that can send
    /// enough requests, or open enough connections, to the application or to the backend. Use it only where the
    /// password alone is sufficient, or where no stranger can reach either of them.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for [`ErrorClass::Overloaded`]: the verifier is available to the next requests, so a code in the
    /// request can be verified a moment later, and would be forwarded unverified now.
    pub fn insecure_also(mut self, classes: impl IntoIterator<Item = ErrorClass>) -> Result<Self, ConfigError> {
        let classes: Vec<_> = self.classes.iter().copied().chain(classes).collect();
        if classes.contains(&ErrorClass::Overloaded) {
            return Err(ConfigError::new(ConfigErrorKind::FailOpen));
        }
        self.classes = classes.into();
        Ok(self)
    }

    /// Sets how long one failure may forward requests, from the first forwarded request. Default: `window`, so a
    /// failure forwards `limit` requests in total.
    ///
    /// A failure ends when a factor was verified and no error occurred for longer than `window`. (Some users may have a
    /// factor that still works.)
    pub fn max_duration(mut self, duration: Duration) -> Self {
        self.limits.max_duration = duration;
        self
    }

    /// Sets the class of errors that [`ErrorClass::from_error`] does not know, such as the error of a circuit breaker.
    /// The function is called with the verifier's error and each of its sources, outermost first, before
    /// `ErrorClass::from_error`. The audit event contains the class too. Default: no function.
    pub fn classify(
        mut self,
        classify: impl Fn(&(dyn Error + 'static)) -> Option<ErrorClass> + Send + Sync + 'static,
    ) -> Self {
        self.classify = Some(Arc::new(classify));
        self
    }

    /// Sets the monotonic clock. Default: `Instant::now`, which no user can set back.
    pub fn clock(mut self, now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now);
        self
    }

    /// The class that the function of [`classify`](Self::classify) assigns, if any.
    pub(super) fn custom_class(&self, error: &(dyn Error + 'static)) -> Option<ErrorClass> {
        let classify = self.classify.as_ref()?;
        error_chain(error).find_map(|error| classify(error))
    }

    /// Whether a request of `user` may be forwarded after an error of this class. If so, it is counted.
    pub(super) fn try_forward(&self, user: &UserId, class: ErrorClass) -> bool {
        self.classes.contains(&class) && self.lock().try_forward(user, self.limits, (self.clock)())
    }

    pub(super) fn record_granted(&self, user: &UserId) {
        self.lock().record_granted(user);
    }

    pub(super) fn record_denial(&self, user: &UserId) {
        let now = (self.clock)();
        self.lock().record_denial(user, now);
    }

    fn lock(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FailOpenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailOpenLayer")
            .field("classes", &self.classes)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
