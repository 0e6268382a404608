//! Errors of the verifier: 503 by default, and `FailOpenLayer`, which forwards requests for configured classes of
//! errors, within bounds, for no user who was denied, and with a mark and an audit event.
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::support::*;
use http::{Request, Response};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_toopher::middleware::{AuditEvent, Extract, NotEnrolledPolicy, Outcome};
use tower_toopher::store::{Admission, MemoryStore, Records, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::time::UnixTime;
use tower_toopher::totp::{Lookup, MemoryPairings, Pairing, Pairings, RecoveryCodeDigest};
use tower_toopher::verify::{
    ApprovalId, ApprovalMode, BypassReason, Bypassed, ErrorClass, FailOpen, FailOpenLayer, PendingApproval,
    VerifierError,
};
use tower_toopher::{
    Approvals, Attempt, BoxError, ConfigErrorKind, DenyReason, Factor, RejectionKind, SecondFactor, ToopherLayer,
    TotpVerifier, UserId, Verdict,
};

const CLASSES: [ErrorClass; 7] = [
    ErrorClass::Refused,
    ErrorClass::Timeout,
    ErrorClass::Unreachable,
    ErrorClass::ServerError,
    ErrorClass::Overloaded,
    ErrorClass::Store,
    ErrorClass::Users,
];
/// Those that fail-open can be configured for.
const POSSIBLE: [ErrorClass; 6] = [
    ErrorClass::Refused,
    ErrorClass::Timeout,
    ErrorClass::Unreachable,
    ErrorClass::ServerError,
    ErrorClass::Store,
    ErrorClass::Users,
];
const HOUR: Duration = Duration::from_secs(3600);

/// A monotonic clock that a test sets.
#[derive(Clone)]
struct Ticks(Arc<AtomicU64>, Instant);

impl Ticks {
    fn new() -> Self {
        Self(Arc::default(), Instant::now())
    }

    fn clock(&self) -> impl Fn() -> Instant + Send + Sync + 'static {
        let Self(seconds, start) = self.clone();
        move || start + Duration::from_secs(seconds.load(Ordering::SeqCst))
    }

    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// The result of a verifier, which a test changes.
#[derive(Clone)]
struct Script(Arc<Mutex<Result<Verdict, ErrorClass>>>);

impl Script {
    fn set(&self, result: Result<Verdict, ErrorClass>) {
        *self.0.lock().unwrap() = result;
    }

    fn deny(&self, reason: DenyReason) {
        self.set(Ok(Verdict::Denied(reason)));
    }

    fn fail(&self) {
        self.set(Err(ErrorClass::Unreachable));
    }

    fn verifier(&self) -> ScriptedVerifier {
        let this = self.clone();
        ScriptedVerifier::new(move |_| this.0.lock().unwrap().clone().map_err(|class| error(class).into()))
    }

    /// The verifier with `fail_open` around it, and the layer around both.
    fn layer(&self, fail_open: &FailOpenLayer) -> ToopherLayer<FailOpen<ScriptedVerifier>> {
        ToopherLayer::new(fail_open.layer(self.verifier()))
    }
}

fn error(class: ErrorClass) -> VerifierError {
    VerifierError::new("down").with_class(class)
}

/// A verifier that fails at first.
fn unreachable() -> Script {
    Script(Arc::new(Mutex::new(Err(ErrorClass::Unreachable))))
}

fn granted() -> Result<Verdict, ErrorClass> {
    Ok(Verdict::Granted(Factor::Totp))
}

fn fail_open(limit: u32, window: Duration) -> FailOpenLayer {
    FailOpenLayer::insecure(limit, window).unwrap().insecure_also([ErrorClass::Unreachable]).unwrap()
}

/// The status of the response. 200 is the inner service's.
async fn status<V, X>(layer: &ToopherLayer<V, X>, request: Request<Body>) -> u16
where
    V: tower::Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    X: Extract<Body> + Clone,
    X::Body: Send,
{
    let calls = Calls::default();
    let status = layer.layer(OneShotService::new(&calls)).oneshot(request).await.unwrap().status().as_u16();
    assert_eq!(calls.count() == 1, status == 200);
    status
}

fn from_user(name: &str) -> Request<Body> {
    request_of(user(name), Some(CODE))
}

#[tokio::test]
async fn every_error_is_503_except_in_the_configured_classes() {
    for class in CLASSES {
        let verifier = ScriptedVerifier::new(move |_| Err(error(class).into()));
        assert_eq!(status(&ToopherLayer::new(verifier.clone()), from_user("alice")).await, 503);
        for configured in POSSIBLE {
            let fail_open = FailOpenLayer::insecure(5, HOUR).unwrap().insecure_also([configured]).unwrap();
            let layer = ToopherLayer::new(fail_open.layer(verifier.clone()));
            let forwarded = status(&layer, from_user("alice")).await == 200;
            assert_eq!(forwarded, configured == class || class == ErrorClass::Refused, "{configured:?} {class:?}");
        }
        // By default it opens only for the class that no client can cause.
        let default = FailOpenLayer::insecure(5, HOUR).unwrap();
        let status = status(&ToopherLayer::new(default.layer(verifier)), from_user("alice")).await;
        assert_eq!(status, if class == ErrorClass::Refused { 200 } else { 503 }, "{class:?}");
    }
    // A code that arrives while a limit is reached can be verified a moment later.
    let overloaded = FailOpenLayer::insecure(5, HOUR).unwrap().insecure_also([ErrorClass::Overloaded]);
    assert_eq!(overloaded.unwrap_err().kind(), ConfigErrorKind::FailOpen);
    // An error without a class forwards no request, whatever is configured.
    let unknown = ScriptedVerifier::new(|_| Err("timeout: unreachable, store overloaded".into()));
    let all = FailOpenLayer::insecure(5, HOUR).unwrap().insecure_also(POSSIBLE).unwrap();
    assert_eq!(status(&ToopherLayer::new(all.layer(unknown)), from_user("alice")).await, 503);
}

/// A store, and a user table, that fail.
struct Down;

impl Store for Down {
    type Error = &'static str;

    async fn count_attempt(&self, _: &UserId, _: &Throttle, _: UnixTime) -> Result<Admission, &'static str> {
        Err("down")
    }

    async fn release_attempt(&self, _: &UserId, _: &Throttle) -> Result<(), &'static str> {
        Err("down")
    }

    async fn record_step(&self, _: &UserId, _: &UsedStep, _: UnixTime) -> Result<StepOutcome, &'static str> {
        Err("down")
    }

    async fn clear(&self, _: &UserId, _: Records) -> Result<(), &'static str> {
        Err("down")
    }
}

impl Pairings for Down {
    type Error = &'static str;

    async fn find(&self, _: &UserId) -> Result<Lookup, &'static str> {
        Err("down")
    }

    async fn redeem_recovery_code(&self, _: &UserId, _: &RecoveryCodeDigest) -> Result<bool, &'static str> {
        Err("down")
    }
}

/// The class in the rejection of a request whose verifier fails.
async fn class_of<V>(verifier: V) -> Option<ErrorClass>
where
    V: tower::Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
{
    let service = ToopherLayer::new(verifier).layer(OneShotService::new(&Calls::default()));
    let response = service.oneshot(from_user("alice")).await.unwrap();
    assert_eq!(response.status(), 503);
    match kind(&response) {
        Some(RejectionKind::Unavailable(class)) => class,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_this_crate_and_of_layers_of_tower_have_their_class() {
    let (totp, ..) = totp_verifier();
    assert_eq!(class_of(totp.clone().store(Down)).await, Some(ErrorClass::Store));
    assert_eq!(class_of(TotpVerifier::new(Down).unwrap()).await, Some(ErrorClass::Users));
    assert_eq!(class_of(Approvals::new(totp.store(Down)).unwrap()).await, Some(ErrorClass::Store));
    let before_1970 =
        || UnixTime::try_from(UNIX_EPOCH - Duration::from_secs(1)).map(|_| Verdict::Granted(Factor::Totp));
    let broken_clock = service_fn(move |_: Attempt| std::future::ready(before_1970()));
    assert_eq!(class_of(broken_clock).await, None);

    let hangs = service_fn(|_: Attempt| std::future::pending::<Result<Verdict, BoxError>>());
    let limited = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(HOUR).service(hangs);
    // A pending request has the only permit.
    let mut holds = limited.clone();
    let held = tower::Service::call(holds.ready().await.unwrap(), Attempt::new(alice(), "log in"));
    assert_eq!(class_of(limited.clone()).await, Some(ErrorClass::Overloaded));
    drop(held);
    assert_eq!(class_of(limited).await, Some(ErrorClass::Timeout));
}

#[cfg(any(feature = "client", feature = "client-hyper"))]
#[tokio::test(start_paused = true)]
async fn errors_of_the_client_have_their_class() {
    use tower_toopher::client::{Credentials, ToopherClient, ToopherVerifier};

    let api = |response: fn() -> Result<Response<Body>, BoxError>| {
        let transport = service_fn(move |_: Request<bytes::Bytes>| std::future::ready(response()));
        let base = "https://mfa.example.test/v1".parse().unwrap();
        ToopherVerifier::new(ToopherClient::with_transport(base, Credentials::new("key", "secret").unwrap(), transport))
    };
    assert_eq!(class_of(api(|| Err("connection refused".into()))).await, Some(ErrorClass::Unreachable));
    let busy = || Ok(Response::builder().status(503).header("retry-after", "9").body(Body::from("busy")).unwrap());
    assert_eq!(class_of(api(busy)).await, Some(ErrorClass::ServerError));
    // An invalid response may come from a machine in between, and an operator must replace a wrong key.
    assert_eq!(class_of(api(|| Ok(Response::new(Body::from("<html>"))))).await, None);
    let unknown_key = || {
        let body = r#"{"error_code":401,"error_message":"Not an authorized OAuth consumer"}"#;
        Ok(Response::builder().status(401).body(Body::from(body)).unwrap())
    };
    assert_eq!(class_of(api(unknown_key)).await, None);
    let transport = service_fn(|_: Request<bytes::Bytes>| std::future::pending::<Result<Response<Body>, BoxError>>());
    let base = "https://mfa.example.test/v1".parse().unwrap();
    let silent = ToopherClient::with_transport(base, Credentials::new("key", "secret").unwrap(), transport);
    assert_eq!(class_of(ToopherVerifier::new(silent)).await, Some(ErrorClass::Timeout));
    // An error with a class keeps its Retry-After.
    let service = ToopherLayer::new(api(busy)).layer(OneShotService::new(&Calls::default()));
    assert_eq!(service.oneshot(from_user("alice")).await.unwrap().headers()["retry-after"], "9");
}

#[tokio::test]
async fn at_most_limit_requests_are_forwarded_within_any_window() {
    let (ticks, script) = (Ticks::new(), unreachable());
    let fail_open = fail_open(3, Duration::from_secs(60)).max_duration(HOUR).clock(ticks.clock());
    let layer = script.layer(&fail_open);
    // A second route with a clone shares the bound.
    let other = script.layer(&fail_open.clone()).action("pay");
    let mut forwarded_at = Vec::new();
    for second in 0..200 {
        let layer = if second % 2 == 0 { layer.clone() } else { other.clone() };
        if status(&layer, from_user("alice")).await == 200 {
            forwarded_at.push(second);
        }
        ticks.advance(1);
    }
    // There is no burst of twice the limit at the end of one minute and the start of the next.
    assert_eq!(forwarded_at, [0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 181, 182]);
}

#[test]
fn the_limit_applies_to_concurrent_requests() {
    let layer = unreachable().layer(&fail_open(7, HOUR));
    let forwarded: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                let service = layer.clone().layer(OneShotService::new(&Calls::default()));
                scope.spawn(move || {
                    let response = futures_util::FutureExt::now_or_never(service.oneshot(from_user("alice")));
                    usize::from(response.unwrap().unwrap().status() == 200)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(forwarded, 7);
}

#[tokio::test]
async fn a_failure_that_lasts_forwards_no_more_requests_until_a_factor_is_verified() {
    let (ticks, script) = (Ticks::new(), unreachable());
    let layer = script.layer(&fail_open(2, Duration::from_secs(60)).clock(ticks.clock()));
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    ticks.advance(59);
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    // The maximum duration of a failure is the window by default. One more request would be within the limit of this
    // window, and not within the maximum duration.
    ticks.advance(1);
    assert_eq!(status(&layer, from_user("alice")).await, 503);
    ticks.advance(100_000);
    assert_eq!(status(&layer, from_user("bob")).await, 503);
    // A denial does not prove that the backend works again.
    for reason in [DenyReason::OtpRequired, DenyReason::WrongOtp] {
        script.deny(reason);
        assert_eq!(status(&layer, from_user("mallory")).await, 401);
        script.fail();
        assert_eq!(status(&layer, from_user("bob")).await, 503);
    }
    script.set(granted());
    assert_eq!(status(&layer, from_user("carol")).await, 200);
    script.fail();
    // This error belongs to the same failure, because the last one was a moment ago.
    assert_eq!(status(&layer, from_user("bob")).await, 503);
    ticks.advance(61);
    assert_eq!(status(&layer, from_user("bob")).await, 200);
}

#[tokio::test]
async fn a_denied_user_is_not_forwarded_for_24_hours() {
    use DenyReason::*;
    let wait = Duration::from_secs(1);
    let denials = [
        WrongOtp,
        ReplayedOtp,
        UnknownUser,
        NotEnrolled,
        DeniedByUser,
        InvalidApproval,
        AlreadyPending { retry_after: wait },
        Throttled { retry_after: wait },
        LockedOut,
    ];
    for reason in denials {
        let (ticks, script) = (Ticks::new(), unreachable());
        let layer = script.layer(&fail_open(100, HOUR).max_duration(Duration::MAX).clock(ticks.clock()));
        script.deny(reason);
        let denied = status(&layer, from_user("alice")).await;
        assert!(denied == 401 || denied == 429, "the verdict is unchanged: {reason:?}");
        script.fail();
        for _ in 0..3 {
            assert_eq!(status(&layer, from_user("alice")).await, 503, "{reason:?}");
            assert_eq!(status(&layer, request_of(alice(), None)).await, 503, "{reason:?}");
        }
        assert_eq!(status(&layer, from_user("bob")).await, 200);
        ticks.advance(24 * 3600 - 1);
        assert_eq!(status(&layer, from_user("alice")).await, 503);
        ticks.advance(1);
        assert_eq!(status(&layer, from_user("alice")).await, 200);

        // Or until a factor of the user is verified.
        script.deny(reason);
        status(&layer, from_user("alice")).await;
        script.set(granted());
        assert_eq!(status(&layer, from_user("alice")).await, 200);
        script.fail();
        assert_eq!(status(&layer, from_user("alice")).await, 200);
    }
    // A user who must send an OTP was not denied. A user with a pending approval may have denied it on the phone.
    let pending = || Verdict::from(PendingApproval::new());
    for (verdict, then, after_the_error) in [
        (Verdict::Denied(OtpRequired), 401, 200),
        (pending(), 202, 503),
        (Verdict::Denied(AlreadyPending { retry_after: wait }), 401, 503),
    ] {
        let script = unreachable();
        let layer = script.layer(&fail_open(100, HOUR));
        script.set(Ok(verdict.clone()));
        assert_eq!(status(&layer, from_user("alice")).await, then);
        script.fail();
        assert_eq!(status(&layer, from_user("alice")).await, after_the_error, "{verdict:?}");
    }
    // The result of a request that was dropped during verification is unknown.
    let (script, fail_open) = (unreachable(), fail_open(100, HOUR));
    let hangs = fail_open.layer(service_fn(|_| std::future::pending::<Result<Verdict, Infallible>>()));
    let service = ToopherLayer::new(hangs).layer(OneShotService::new(&Calls::default()));
    let dropped = service.oneshot(from_user("alice"));
    assert!(futures_util::FutureExt::now_or_never(dropped).is_none());
    let layer = script.layer(&fail_open);
    assert_eq!((status(&layer, from_user("alice")).await, status(&layer, from_user("bob")).await), (503, 200));
}

/// A verifier that bypasses on its own neither denies a user nor proves that the backend works again.
#[tokio::test]
async fn a_bypass_of_the_inner_verifier_changes_nothing() {
    let (ticks, script) = (Ticks::new(), unreachable());
    let layer = script.layer(&fail_open(1, Duration::from_secs(60)).clock(ticks.clock()));
    script.set(Ok(Verdict::Bypassed(BypassReason::NotEnrolled)));
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    script.fail();
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    ticks.advance(100_000);
    script.set(Ok(Verdict::Bypassed(BypassReason::NotEnrolled)));
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    script.fail();
    assert_eq!(status(&layer, from_user("alice")).await, 503);
}

/// While half of the users have a factor that works, the failure for the other half is one failure.
#[tokio::test]
async fn successes_of_other_users_do_not_end_a_failure() {
    let ticks = Ticks::new();
    let fail_open = fail_open(1, Duration::from_secs(60)).clock(ticks.clock());
    let verifier = ScriptedVerifier::new(|attempt| match attempt.user().as_str() {
        "bob" => Ok(Verdict::Granted(Factor::Totp)),
        _ => Err(error(ErrorClass::Unreachable).into()),
    });
    let layer = ToopherLayer::new(fail_open.layer(verifier));
    let mut forwarded = 0;
    for _ in 0..60 {
        forwarded += u32::from(status(&layer, from_user("alice")).await == 200);
        assert_eq!(status(&layer, from_user("bob")).await, 200);
        ticks.advance(60);
    }
    assert_eq!(forwarded, 1);
    // No error occurred for longer than the window, so the next one begins another failure.
    ticks.advance(1);
    assert_eq!(status(&layer, from_user("alice")).await, 200);
}

/// The client chooses how long the layer waits for an approval, so it can cause a timeout.
#[tokio::test(start_paused = true)]
async fn a_timeout_of_a_request_that_waits_for_an_approval_forwards_nothing() {
    let phones = ScriptedVerifier::new(|attempt| {
        Ok(match attempt.approval_mode() {
            ApprovalMode::Request => PendingApproval::new().with_id(ApprovalId::new("1").unwrap()).into(),
            _ => PendingApproval::new().into(),
        })
    });
    let verifier = ServiceBuilder::new()
        .layer(FailOpenLayer::insecure(5, HOUR).unwrap().insecure_also([ErrorClass::Timeout]).unwrap())
        .timeout(Duration::from_secs(15))
        .service(Approvals::new(phones).unwrap());
    let layer = ToopherLayer::new(verifier).approvals();
    let mut waits = with_session(request(None), "session");
    waits.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    assert_eq!(status(&layer, waits).await, 503);
}

#[tokio::test]
async fn no_request_is_forwarded_while_the_table_of_denials_is_full() {
    let (ticks, script) = (Ticks::new(), unreachable());
    let layer = script.layer(&fail_open(100, HOUR).max_duration(Duration::MAX).clock(ticks.clock()));
    script.deny(DenyReason::WrongOtp);
    for n in 0..10_000 {
        status(&layer, from_user(&format!("user {n}"))).await;
    }
    script.fail();
    assert_eq!(status(&layer, from_user("bob")).await, 200);
    ticks.advance(10);
    // A denial that the table has no space for must neither be forgotten nor replace another one.
    script.deny(DenyReason::WrongOtp);
    status(&layer, from_user("mallory")).await;
    script.fail();
    for name in ["mallory", "user 0", "user 9999", "bob"] {
        assert_eq!(status(&layer, from_user(name)).await, 503, "{name}");
    }
    ticks.advance(24 * 3600);
    assert_eq!(status(&layer, from_user("bob")).await, 200);
    // Denials that are older than a day are removed.
    script.deny(DenyReason::WrongOtp);
    status(&layer, from_user("mallory")).await;
    script.fail();
    assert_eq!(status(&layer, from_user("mallory")).await, 503);
    assert_eq!(status(&layer, from_user("bob")).await, 200);
}

#[tokio::test]
async fn no_request_is_forwarded_without_a_user_or_with_an_approval() {
    let layer = || unreachable().layer(&fail_open(100, HOUR));
    let mut unauthenticated = from_user("alice");
    unauthenticated.extensions_mut().clear();
    assert_eq!(status(&layer(), unauthenticated).await, 401);
    // The verifier is not called, so there is no error.
    assert_eq!(status(&layer(), request(Some("junk"))).await, 401);

    // The user may have denied the approval.
    let approvals = layer().approvals();
    for otp in [None, Some(CODE)] {
        let request = |otp| with_session(request(otp), "session");
        let mut with_token = request(otp);
        with_token.headers_mut().insert("toopher-approval", "abc".parse().unwrap());
        assert_eq!(status(&approvals, with_token).await, 503, "{otp:?}");
        // Without a code the verifier would request an approval, which may be the cause of the error.
        let expected = if otp.is_some() { 200 } else { 503 };
        assert_eq!(status(&approvals, request(otp)).await, expected, "{otp:?}");
    }
}

#[tokio::test]
async fn a_forwarded_request_is_marked_and_recorded_and_has_no_second_factor() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let events = events.clone();
        move |event: &AuditEvent| events.lock().unwrap().push(event.clone())
    };
    let take = || std::mem::take(&mut *events.lock().unwrap());
    let layer = unreachable().layer(&fail_open(2, HOUR)).audit(sink);
    let inner = service_fn(|request: Request<Body>| async move {
        let mark = request.extensions().get::<Bypassed>().copied();
        assert_eq!(mark.unwrap().reason(), BypassReason::FailOpen(ErrorClass::Unreachable));
        assert!(request.extensions().get::<SecondFactor>().is_none());
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let mut request = from_user("alice");
    // Not even a factor that was verified for another action.
    request.extensions_mut().insert(SecondFactor::new(alice(), "something else", Factor::Totp));
    assert_eq!(layer.clone().layer(inner).oneshot(request).await.unwrap().status(), 200);
    let recorded = take();
    let failed_open = Outcome::Bypassed(BypassReason::FailOpen(ErrorClass::Unreachable));
    assert_eq!((recorded.len(), recorded[0].outcome()), (1, failed_open));
    assert_eq!((recorded[0].outcome().name(), recorded[0].outcome().reason()), ("failed_open", Some("unreachable")));
    assert_eq!(recorded[0].user(), Some(&alice()));

    // An inner layer verifies the request.
    let inner_layer = ToopherLayer::new(ScriptedVerifier::always(Verdict::Denied(DenyReason::OtpRequired)));
    let calls = Calls::default();
    let both = layer.clone().layer(inner_layer.layer(OneShotService::new(&calls)));
    assert_eq!(both.oneshot(from_user("alice")).await.unwrap().status(), 401);
    assert_eq!(calls.count(), 0);
    take();

    // A request over the limit is rejected, with the class of the error.
    assert_eq!(status(&layer, from_user("alice")).await, 503);
    let unavailable = Outcome::Rejected(RejectionKind::Unavailable(Some(ErrorClass::Unreachable)));
    assert_eq!(take()[0].outcome(), unavailable);
}

/// A request that cannot be recorded is not forwarded, and it counts for the limit.
#[tokio::test]
async fn a_request_is_rejected_if_the_sink_panics() {
    let fail_open = fail_open(1, HOUR);
    let panics = unreachable().layer(&fail_open).audit(|_| panic!("the disk is full"));
    let service = panics.layer(OneShotService::new(&Calls::default()));
    let response = service.oneshot(from_user("alice")).await.unwrap();
    assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(RejectionKind::Unavailable(None))));
    assert_eq!(status(&unreachable().layer(&fail_open), from_user("bob")).await, 503);
}

/// A bypass is valid for one request: no grant extends it, neither at once nor after the failure.
#[cfg(feature = "grants")]
#[tokio::test]
async fn a_bypass_leads_to_no_grant() {
    use tower_toopher::crypto::SealingKey;
    use tower_toopher::middleware::grants::{Epoch, Grants};

    let script = unreachable();
    let grants = Grants::new(SealingKey::generate().unwrap());
    let layer = script.layer(&fail_open(5, HOUR)).grants(grants).max_age(HOUR);
    let sets_cookie = async || {
        let mut request = with_session(from_user("alice"), "session");
        request.extensions_mut().insert(Epoch::from(0_u64));
        let response = layer.layer(OneShotService::new(&Calls::default())).oneshot(request).await.unwrap();
        (response.status().as_u16(), response.headers().contains_key("set-cookie"))
    };
    assert_eq!(sets_cookie().await, (200, false));
    script.set(granted());
    assert_eq!(sets_cookie().await, (200, true));
}

#[tokio::test]
async fn a_user_who_is_not_enrolled_and_a_failure_are_independent() {
    let script = unreachable();
    // Whether the user is enrolled is unknown while the verifier fails.
    let closed = ToopherLayer::new(script.verifier()).not_enrolled(NotEnrolledPolicy::InsecureAllow);
    assert_eq!(status(&closed, from_user("alice")).await, 503);
    let layer = script.layer(&fail_open(1, HOUR)).not_enrolled(NotEnrolledPolicy::InsecureAllow);
    script.deny(DenyReason::NotEnrolled);
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    script.fail();
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    assert_eq!(status(&layer, from_user("alice")).await, 503);
}

/// A poll of the status service has neither a token nor a request, and the user may have denied the approval.
#[tokio::test]
async fn the_poll_of_an_approval_does_not_fail_open() {
    let fail_open = fail_open(1, HOUR);
    let verifier = fail_open.layer(unreachable().verifier());
    let attempt = || Attempt::new(UserId::new("alice").unwrap(), "pay");
    for mode in [ApprovalMode::Poll(ApprovalId::new("1").unwrap()), ApprovalMode::Request] {
        assert!(verifier.clone().oneshot(attempt().with_approval_mode(mode)).await.is_err());
    }
    let bypassed = Verdict::Bypassed(BypassReason::FailOpen(ErrorClass::Unreachable));
    assert_eq!(verifier.oneshot(attempt()).await.unwrap(), bypassed);
}

#[test]
fn the_limits_of_the_bounds() {
    let new = |limit, window| FailOpenLayer::insecure(limit, window).map(|_| ()).map_err(|error| error.kind());
    let second = Duration::from_secs(1);
    assert_eq!((new(1, second), new(10_000, 24 * HOUR)), (Ok(()), Ok(())));
    for (limit, window) in [
        (0, second),
        (10_001, second),
        (1, Duration::ZERO),
        (1, Duration::from_millis(999)),
        (1, 24 * HOUR + second),
        (1, Duration::MAX),
    ] {
        assert_eq!(new(limit, window), Err(ConfigErrorKind::FailOpen), "{limit} {window:?}");
    }
}

/// The circuit breaker of another crate. It hides the cause of an error, so a layer around it extracts the cause.
#[tokio::test]
async fn an_open_circuit_breaker_calls_no_verifier_and_its_error_can_have_a_class() {
    let script = Script(Arc::new(Mutex::new(granted())));
    let inner = script.verifier();
    let breaker =
        || CircuitBreakerLayer::builder().consecutive_failures(4).wait_duration_in_open(HOUR).build().unwrap();
    let verifier = ServiceBuilder::new()
        .map_err(|error: CircuitBreakerError<BoxError>| -> BoxError {
            match error {
                CircuitBreakerError::OpenCircuit => {
                    VerifierError::new("the breaker is open").with_class(ErrorClass::Unreachable).into()
                }
                CircuitBreakerError::Inner(error) => error,
            }
        })
        .layer(breaker())
        .service(inner.clone());
    // The number of previous successes makes no difference.
    for _ in 0..1000 {
        assert_eq!(status(&ToopherLayer::new(verifier.clone()), from_user("alice")).await, 200);
    }
    script.set(Err(ErrorClass::Timeout));
    for n in 0..10 {
        let class = class_of(verifier.clone()).await;
        assert_eq!(class, Some(if n < 4 { ErrorClass::Timeout } else { ErrorClass::Unreachable }));
    }
    assert_eq!(inner.calls(), 1004);

    // A denial is no failure, so guessing codes does not open the breaker.
    let denying = ScriptedVerifier::always(Verdict::Denied(DenyReason::WrongOtp));
    let breaking = ServiceBuilder::new().layer(breaker()).service(denying.clone());
    for _ in 0..10 {
        assert_eq!(status(&ToopherLayer::new(breaking.clone()), from_user("alice")).await, 401);
    }
    assert_eq!(denying.calls(), 10);
}

#[tokio::test]
async fn a_function_classifies_other_errors() {
    #[derive(Debug)]
    struct Maintenance;
    impl std::fmt::Display for Maintenance {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("maintenance")
        }
    }
    impl std::error::Error for Maintenance {}
    // It is among the sources of an error of a class that is not configured.
    let verifier = ScriptedVerifier::new(|_| {
        let error = VerifierError::new(Maintenance).with_class(ErrorClass::Store);
        Err(error.with_retry_after(Duration::from_secs(9)).into())
    });
    let classified = fail_open(1, HOUR).classify(|error| error.is::<Maintenance>().then_some(ErrorClass::Unreachable));
    let layer = ToopherLayer::new(classified.layer(verifier.clone()));
    assert_eq!(status(&layer, from_user("alice")).await, 200);
    let other = ToopherLayer::new(fail_open(1, HOUR).layer(verifier.clone()));
    assert_eq!(status(&other, from_user("alice")).await, 503);
    // The rejection of a request over the limit has the class of the function, and keeps the time.
    let response = layer.layer(OneShotService::new(&Calls::default())).oneshot(from_user("alice")).await.unwrap();
    let unavailable = RejectionKind::Unavailable(Some(ErrorClass::Unreachable));
    assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(unavailable)));
    assert_eq!(response.headers()["retry-after"], "9");
    assert_eq!(class_of(verifier).await, Some(ErrorClass::Store));
}

/// A store whose `record_step` does not complete.
#[derive(Clone)]
struct Hangs(MemoryStore);

impl Store for Hangs {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, BoxError> {
        Ok(self.0.count_attempt(user, throttle, now).await?)
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        Ok(self.0.release_attempt(user, throttle).await?)
    }

    async fn record_step(&self, _: &UserId, _: &UsedStep, _: UnixTime) -> Result<StepOutcome, BoxError> {
        std::future::pending().await
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), BoxError> {
        Ok(self.0.clear(user, records).await?)
    }
}

/// The same store with a deadline of its own, as stores should have.
#[derive(Clone)]
struct Limited(Hangs);

impl Store for Limited {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, BoxError> {
        self.0.count_attempt(user, throttle, now).await
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        self.0.release_attempt(user, throttle).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, BoxError> {
        tokio::time::timeout(Duration::from_secs(1), self.0.record_step(user, used, now)).await?
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), BoxError> {
        self.0.clear(user, records).await
    }
}

/// A deadline outside the verifier counts the attempt, and a deadline inside the store does not.
#[tokio::test(start_paused = true)]
async fn a_deadline_outside_the_verifier_counts_the_attempt_and_one_inside_does_not() {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(rfc_totp()));
    let verifier = || TotpVerifier::new(users.clone()).unwrap().clock(|| UnixTime::from_secs(T));
    let outside = ServiceBuilder::new().timeout(Duration::from_secs(1));
    let outside = outside.service(verifier().store(Hangs(MemoryStore::new())));
    for _ in 0..5 {
        assert_eq!(class_of(outside.clone()).await, Some(ErrorClass::Timeout));
    }
    // The store that hangs has used all failures without a delay.
    assert_eq!(status(&ToopherLayer::new(outside), from_user("alice")).await, 429);

    let inside = verifier().store(Limited(Hangs(MemoryStore::new())));
    for _ in 0..20 {
        assert_eq!(class_of(inside.clone()).await, Some(ErrorClass::Store));
    }
}

/// A client that can reach the API keeps it busy: connections are accepted and get no response, or are closed. A
/// request with a wrong code is not forwarded then. If no process listens, it is.
#[cfg(feature = "client")]
#[tokio::test]
async fn by_default_only_a_refused_connection_opens() {
    use tokio::net::TcpListener;
    use tower_toopher::client::{Credentials, ToopherClient, ToopherVerifier};

    let layer = |address: std::net::SocketAddr, deadline| {
        let base = format!("http://{address}/v1").parse().unwrap();
        let client = ToopherClient::new(base, Credentials::new("key", "secret").unwrap()).unwrap().timeout(deadline);
        ToopherLayer::new(FailOpenLayer::insecure(5, HOUR).unwrap().layer(ToopherVerifier::new(client)))
    };
    // The system accepts the connection, and no process reads it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let layer_of_silent = layer(silent.local_addr().unwrap(), Duration::from_millis(200));
    assert_eq!(status(&layer_of_silent, from_user("alice")).await, 503);

    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let layer_of_closing = layer(closing.local_addr().unwrap(), HOUR);
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = closing.accept().await {
            drop(stream);
        }
    });
    assert_eq!(status(&layer_of_closing, from_user("alice")).await, 503);
    accepting.abort();

    let stopped = test_support::ClosedPort::new();
    assert_eq!(status(&layer(stopped.address, HOUR), from_user("alice")).await, 200);
}
