//! A verifier in trouble closes the gate. Where a route opens on that, it does so for named troubles, within bounds, for
//! nobody who was refused, and so that everybody sees it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use common::heard::{Events, listen};
use common::*;
use http::{Request, Response};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_toopher::gate::grants::SealingKey;
use tower_toopher::oauth1::Credentials;
use tower_toopher::store::{Admission, MemoryStore, Spend, Store, Throttle};
use tower_toopher::toopher::ToopherClient;
use tower_toopher::totp::{BackupCodeDigest, Lookup, MemoryPairings, Pairing, Pairings};
use tower_toopher::{
    Approval, ApprovalId, Approvals, Attempt, AuditOutcome, BoxError, DenyReason, Factor, Fault, FaultKind,
    FaultPolicy, Grants, HeaderOrForm, NotEnrolledPolicy, Pending, Rejection, SecondFactor, ToopherLayer,
    ToopherVerifier, TotpVerifier, UserId, Verdict, WithoutReason, WithoutSecondFactor,
};

const KINDS: [FaultKind; 6] = [
    FaultKind::Timeout,
    FaultKind::Unreachable,
    FaultKind::ServerError,
    FaultKind::Overloaded,
    FaultKind::Store,
    FaultKind::Users,
];
const HOUR: Duration = Duration::from_secs(3600);

/// A monotonic clock that tests set.
#[derive(Clone)]
struct Ticks(Clock, Instant);

impl Ticks {
    fn new() -> Self {
        Self(Clock::at(0), Instant::now())
    }

    fn read(&self) -> impl Fn() -> Instant + Send + Sync + 'static {
        let Self(clock, start) = self.clone();
        move || start + clock.now()
    }

    fn advance(&self, seconds: u64) {
        self.0.advance(seconds);
    }
}

/// A verifier whose answer tests change.
#[derive(Clone)]
struct Answer(Arc<Mutex<Result<Verdict, FaultKind>>>);

impl Answer {
    fn is(&self, answer: Result<Verdict, FaultKind>) {
        *self.0.lock().unwrap() = answer;
    }

    fn verifier(&self) -> Says {
        let this = self.clone();
        Says::new(move |_| this.0.lock().unwrap().clone().map_err(|kind| Fault::new(kind, "down").into()))
    }
}

/// An answer that can be changed; at first, nobody is reached.
fn unreachable() -> Answer {
    Answer(Arc::new(Mutex::new(Err(FaultKind::Unreachable))))
}

fn granted() -> Result<Verdict, FaultKind> {
    Ok(Verdict::Granted(Factor::Totp))
}

fn opens(at_most: u32, per: Duration) -> FaultPolicy {
    FaultPolicy::new([FaultKind::Unreachable], at_most, per).unwrap()
}

/// The status of a request, and whether it is the inner service's.
async fn status<V, X>(layer: &ToopherLayer<V, X>, request: Request<Body>) -> u16
where
    V: tower::Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
    X: tower_toopher::Extract<Body> + Clone,
{
    let calls = Calls::default();
    let status = layer.layer(Strict::new(&calls)).oneshot(request).await.unwrap().status().as_u16();
    assert_eq!(calls.count() == 1, status == 200);
    status
}

fn of(name: &str) -> Request<Body> {
    request_of(user(name), Some(CODE))
}

#[tokio::test]
async fn every_trouble_is_closed_and_each_opens_only_what_names_it() {
    for kind in KINDS {
        let verifier = Says::new(move |_| Err(Fault::new(kind, "down").into()));
        let closed = ToopherLayer::new(verifier);
        assert_eq!(status(&closed, of("alice")).await, 503);
        for named in KINDS {
            let layer = closed.clone().insecure_open_on(FaultPolicy::new([named], 5, HOUR).unwrap());
            assert_eq!(status(&layer, of("alice")).await == 200, named == kind, "{named:?} {kind:?}");
        }
        let none = closed.insecure_open_on(FaultPolicy::new([], 5, HOUR).unwrap());
        assert_eq!(status(&none, of("alice")).await, 503);
    }
    // A trouble that nobody knows opens nothing, whatever is named.
    let unknown = ToopherLayer::new(Says::new(|_| Err("timeout: unreachable, store overloaded".into())));
    let layer = unknown.insecure_open_on(FaultPolicy::new(KINDS, 5, HOUR).unwrap());
    assert_eq!(status(&layer, of("alice")).await, 503);
}

/// A store, and a table of users, that are down.
struct Down;

impl Store for Down {
    type Error = &'static str;

    async fn count_attempt(&self, _: &UserId, _: &Throttle, _: Duration) -> Result<Admission, &'static str> {
        Err("down")
    }

    async fn take_back_attempt(&self, _: &UserId, _: &Throttle) -> Result<(), &'static str> {
        Err("down")
    }

    async fn spend_step(&self, _: &UserId, _: &str, _: u64, _: Duration, _: Duration) -> Result<Spend, &'static str> {
        Err("down")
    }

    async fn clear_failures(&self, _: &UserId) -> Result<(), &'static str> {
        Err("down")
    }
}

impl Pairings for Down {
    type Error = &'static str;

    async fn find(&self, _: &UserId) -> Result<Lookup, &'static str> {
        Err("down")
    }

    async fn redeem_backup_code(&self, _: &UserId, _: &BackupCodeDigest) -> Result<bool, &'static str> {
        Err("down")
    }
}

async fn kind_of<V>(verifier: V) -> Option<FaultKind>
where
    V: tower::Service<Attempt, Response = Verdict> + Clone,
    V::Error: Into<BoxError>,
{
    let gate = ToopherLayer::new(verifier).layer(Strict::new(&Calls::default()));
    let response = gate.oneshot(of("alice")).await.unwrap();
    assert_eq!(response.status(), 503);
    response.extensions().get::<Rejection>().unwrap().fault()
}

#[tokio::test(start_paused = true)]
async fn the_crates_own_troubles_and_those_of_towers_layers_have_their_kind() {
    let (totp, _, users) = totp_verifier();
    assert_eq!(kind_of(totp.clone().store(Down)).await, Some(FaultKind::Store));
    assert_eq!(kind_of(TotpVerifier::new(Down).unwrap()).await, Some(FaultKind::Users));
    assert_eq!(kind_of(Approvals::new(totp.store(Down)).unwrap()).await, Some(FaultKind::Store));
    let before_1970 = TotpVerifier::new(users).unwrap().clock(|| UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(kind_of(before_1970).await, None);

    let api = |answer: fn() -> Result<Response<Body>, BoxError>| {
        let transport = service_fn(move |_: Request<bytes::Bytes>| std::future::ready(answer()));
        let base = "https://mfa.example.test/v1".parse().unwrap();
        ToopherVerifier::new(ToopherClient::with_transport(base, Credentials::new("key", "secret").unwrap(), transport))
    };
    assert_eq!(kind_of(api(|| Err("connection refused".into()))).await, Some(FaultKind::Unreachable));
    let busy = || Ok(Response::builder().status(503).header("retry-after", "9").body(Body::from("busy")).unwrap());
    assert_eq!(kind_of(api(busy)).await, Some(FaultKind::ServerError));
    // An answer that makes no sense may come from whoever sits in between, and a wrong key is an operator's to mend.
    assert_eq!(kind_of(api(|| Ok(Response::new(Body::from("<html>"))))).await, None);
    let unknown_key = || {
        let body = r#"{"error_code":401,"error_message":"Not an authorized OAuth consumer"}"#;
        Ok(Response::builder().status(401).body(Body::from(body)).unwrap())
    };
    assert_eq!(kind_of(api(unknown_key)).await, None);
    let transport = service_fn(|_: Request<bytes::Bytes>| std::future::pending::<Result<Response<Body>, BoxError>>());
    let base = "https://mfa.example.test/v1".parse().unwrap();
    let silent = ToopherClient::with_transport(base, Credentials::new("key", "secret").unwrap(), transport);
    assert_eq!(kind_of(ToopherVerifier::new(silent)).await, Some(FaultKind::Timeout));

    let hangs = service_fn(|_: Attempt| std::future::pending::<Result<Verdict, BoxError>>());
    let limited = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(HOUR).service(hangs);
    // The one place is taken by a request that waits.
    let mut holds = limited.clone();
    let held = tower::Service::call(holds.ready().await.unwrap(), Attempt::new(alice(), "log in"));
    assert_eq!(kind_of(limited.clone()).await, Some(FaultKind::Overloaded));
    drop(held);
    assert_eq!(kind_of(limited).await, Some(FaultKind::Timeout));
    // Retry-After survives the kind's being known, and the other way round.
    let gate = ToopherLayer::new(api(busy)).layer(Strict::new(&Calls::default()));
    assert_eq!(gate.oneshot(of("alice")).await.unwrap().headers()["retry-after"], "9");
}

#[tokio::test]
async fn so_many_in_any_time_of_that_length_and_then_none() {
    let (ticks, answer) = (Ticks::new(), unreachable());
    let policy = opens(3, Duration::from_secs(60)).lasting(HOUR).clock(ticks.read());
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(policy.clone());
    // Another route, with the same policy, has the same bound.
    let other = ToopherLayer::new(answer.verifier()).action("pay").insecure_open_on(policy);
    let mut passed_at = Vec::new();
    for second in 0..200 {
        let layer = if second % 2 == 0 { layer.clone() } else { other.clone() };
        if status(&layer, of("alice")).await == 200 {
            passed_at.push(second);
        }
        ticks.advance(1);
    }
    // No burst of twice as many where one minute ends and the next begins.
    assert_eq!(passed_at, [0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 181, 182]);
}

#[test]
fn the_bound_holds_for_requests_at_once() {
    let answer = unreachable();
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(opens(7, HOUR));
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                let gate = layer.clone().layer(Strict::new(&Calls::default()));
                scope.spawn(move || {
                    let status = futures_util::FutureExt::now_or_never(gate.oneshot(of("alice")));
                    usize::from(status.unwrap().unwrap().status() == 200)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 7);
}

#[tokio::test]
async fn a_trouble_that_lasts_closes_until_somebody_has_shown_a_factor() {
    let (ticks, answer) = (Ticks::new(), unreachable());
    let layer =
        ToopherLayer::new(answer.verifier()).insecure_open_on(opens(2, Duration::from_secs(60)).clock(ticks.read()));
    assert_eq!(status(&layer, of("alice")).await, 200);
    ticks.advance(59);
    assert_eq!(status(&layer, of("alice")).await, 200);
    // By default as long as the bound: one more would fit into this minute, and none into this trouble.
    ticks.advance(1);
    assert_eq!(status(&layer, of("alice")).await, 503);
    ticks.advance(100_000);
    assert_eq!(status(&layer, of("bob")).await, 503);
    // Being asked for an OTP, or refused, shows nothing of what works again.
    for reason in [DenyReason::OtpRequired, DenyReason::WrongOtp] {
        answer.is(Ok(Verdict::Denied(reason)));
        assert_eq!(status(&layer, of("mallory")).await, 401);
        answer.is(Err(FaultKind::Unreachable));
        assert_eq!(status(&layer, of("bob")).await, 503);
    }
    answer.is(granted());
    assert_eq!(status(&layer, of("carol")).await, 200);
    answer.is(Err(FaultKind::Unreachable));
    // That one belongs to the trouble that was met just now.
    assert_eq!(status(&layer, of("bob")).await, 503);
    ticks.advance(61);
    assert_eq!(status(&layer, of("bob")).await, 200);
}

#[tokio::test]
async fn who_was_refused_stays_out() {
    use DenyReason::*;
    let wait = Duration::from_secs(1);
    let refusals = [
        WrongOtp,
        ReplayedOtp,
        UnknownUser,
        NotEnrolled,
        Refused,
        UnknownApproval,
        Throttled { retry_after: wait },
        LockedOut,
    ];
    for reason in refusals {
        let (ticks, answer) = (Ticks::new(), unreachable());
        let policy = opens(100, HOUR).lasting(Duration::MAX).clock(ticks.read());
        let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(policy);
        answer.is(Ok(Verdict::Denied(reason)));
        let refused = status(&layer, of("alice")).await;
        assert!(refused == 401 || refused == 429, "the verdict stands: {reason:?}");
        answer.is(Err(FaultKind::Unreachable));
        for _ in 0..3 {
            assert_eq!(status(&layer, of("alice")).await, 503, "{reason:?}");
            assert_eq!(status(&layer, request_of(alice(), None)).await, 503, "{reason:?}");
        }
        assert_eq!(status(&layer, of("bob")).await, 200);
        ticks.advance(24 * 3600 - 1);
        assert_eq!(status(&layer, of("alice")).await, 503);
        ticks.advance(1);
        assert_eq!(status(&layer, of("alice")).await, 200);

        // Or until they have shown one.
        answer.is(Ok(Verdict::Denied(reason)));
        status(&layer, of("alice")).await;
        answer.is(granted());
        assert_eq!(status(&layer, of("alice")).await, 200);
        answer.is(Err(FaultKind::Unreachable));
        assert_eq!(status(&layer, of("alice")).await, 200);
    }
    // Who was asked for an OTP was not refused; who was asked on the phone may have said no, unseen.
    let pending = || Verdict::from(Pending::new());
    let asked = [Verdict::Denied(OtpRequired), pending(), Verdict::Denied(AlreadyPending { retry_after: wait })];
    for (said, seen, then) in asked.into_iter().zip([401, 202, 401]).zip([200, 503, 503]).map(|((a, b), c)| (a, b, c)) {
        let answer = unreachable();
        let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(opens(100, HOUR));
        answer.is(Ok(said.clone()));
        assert_eq!(status(&layer, of("alice")).await, seen);
        answer.is(Err(FaultKind::Unreachable));
        assert_eq!(status(&layer, of("alice")).await, then, "{said:?}");
    }
    // Nor is it known of who has gone meanwhile.
    let answer = unreachable();
    let policy = opens(100, HOUR);
    let hangs = ToopherLayer::new(service_fn(|_| std::future::pending::<Result<Verdict, Infallible>>()));
    let hangs = hangs.insecure_open_on(policy.clone()).layer(Strict::new(&Calls::default()));
    let gone = hangs.oneshot(of("alice"));
    assert!(futures_util::FutureExt::now_or_never(gone).is_none());
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(policy);
    assert_eq!((status(&layer, of("alice")).await, status(&layer, of("bob")).await), (503, 200));
}

/// A form is filled in by anybody: what is guessed there keeps nobody out of where the first factor has been shown.
#[tokio::test]
async fn strangers_keep_nobody_out() {
    let (answer, policy) = (unreachable(), opens(100, HOUR));
    let login = ToopherLayer::new(answer.verifier())
        .extractor(HeaderOrForm::default().user_field("user"))
        .identify_by_form(|typed| UserId::new(typed).ok())
        .insecure_open_on(policy.clone());
    let form = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
    answer.is(Ok(Verdict::Denied(DenyReason::WrongOtp)));
    assert_eq!(status(&login, form.body(Body::from("user=alice&otp=000000")).unwrap()).await, 401);
    answer.is(Err(FaultKind::Unreachable));
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(policy);
    assert_eq!(status(&layer, of("alice")).await, 200);
}

/// While half of the users have a factor that works, the trouble of the other half is one trouble.
#[tokio::test]
async fn a_trouble_of_some_is_not_ended_by_the_others() {
    let ticks = Ticks::new();
    let policy = opens(1, Duration::from_secs(60)).clock(ticks.read());
    let verifier = Says::new(|attempt| match attempt.user().as_str() {
        "bob" => Ok(Verdict::Granted(Factor::Totp)),
        _ => Err(Fault::new(FaultKind::Unreachable, "down").into()),
    });
    let layer = ToopherLayer::new(verifier).insecure_open_on(policy);
    let mut passed = 0;
    for _ in 0..60 {
        passed += u32::from(status(&layer, of("alice")).await == 200);
        assert_eq!(status(&layer, of("bob")).await, 200);
        ticks.advance(60);
    }
    assert_eq!(passed, 1);
    // Nobody has met it for longer than that: the next one is another trouble.
    ticks.advance(1);
    assert_eq!(status(&layer, of("alice")).await, 200);
}

/// The client says how long it waits for the phone, so it can bring about a timeout at will.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_phone_meets_no_timeout_that_opens() {
    let phones = Says::new(|attempt| {
        Ok(match attempt.approval() {
            Approval::Wanted => Pending::new().with_id(ApprovalId::new("1").unwrap()).into(),
            _ => Pending::new().into(),
        })
    });
    let verifier = ServiceBuilder::new().timeout(Duration::from_secs(15)).service(Approvals::new(phones).unwrap());
    let layer = ToopherLayer::new(verifier)
        .approvals(|_| Some("session".into()))
        .insecure_open_on(FaultPolicy::new([FaultKind::Timeout], 5, HOUR).unwrap());
    let mut waits = request(None);
    waits.headers_mut().insert("prefer", "wait=30".parse().unwrap());
    assert_eq!(status(&layer, waits).await, 503);
}

#[tokio::test]
async fn while_more_were_refused_than_are_remembered_nobody_gets_in() {
    let (ticks, answer) = (Ticks::new(), unreachable());
    let policy = opens(100, HOUR).lasting(Duration::MAX).clock(ticks.read());
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(policy);
    answer.is(Ok(Verdict::Denied(DenyReason::WrongOtp)));
    for n in 0..10_000 {
        status(&layer, of(&format!("user {n}"))).await;
    }
    answer.is(Err(FaultKind::Unreachable));
    assert_eq!(status(&layer, of("bob")).await, 200);
    ticks.advance(10);
    // The one that does not fit must not be the one who gets in; nor must it push another one out.
    answer.is(Ok(Verdict::Denied(DenyReason::WrongOtp)));
    status(&layer, of("mallory")).await;
    answer.is(Err(FaultKind::Unreachable));
    for name in ["mallory", "user 0", "user 9999", "bob"] {
        assert_eq!(status(&layer, of(name)).await, 503, "{name}");
    }
    ticks.advance(24 * 3600);
    assert_eq!(status(&layer, of("bob")).await, 200);
    // Those whose day is over make room.
    answer.is(Ok(Verdict::Denied(DenyReason::WrongOtp)));
    status(&layer, of("mallory")).await;
    answer.is(Err(FaultKind::Unreachable));
    assert_eq!(status(&layer, of("mallory")).await, 503);
    assert_eq!(status(&layer, of("bob")).await, 200);
}

#[tokio::test]
async fn who_has_shown_no_first_factor_or_comes_with_a_challenge_never_gets_in() {
    let layer = || ToopherLayer::new(unreachable().verifier()).insecure_open_on(opens(100, HOUR));
    let form = |extension: bool, body: &str| {
        let builder = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
        let builder = if extension { builder.extension(alice()) } else { builder };
        builder.body(Body::from(body.to_owned())).unwrap()
    };
    let by_form =
        layer().extractor(HeaderOrForm::default().user_field("user")).identify_by_form(|typed| UserId::new(typed).ok());
    assert_eq!(status(&by_form, form(false, "user=alice&otp=081804")).await, 503);
    assert_eq!(status(&by_form, form(true, "user=alice&otp=081804")).await, 200);
    assert_eq!(status(&by_form, form(true, "user=bob&otp=081804")).await, 400);

    let mut nobody = of("alice");
    nobody.extensions_mut().clear();
    assert_eq!(status(&layer(), nobody).await, 401);
    // What was never asked is not in trouble.
    assert_eq!(status(&layer(), request(Some("junk"))).await, 401);

    // The person who was asked may have said no.
    let approvals = layer().approvals(|_| Some("session".into()));
    for otp in [None, Some(CODE)] {
        let mut waiting = request(otp);
        waiting.headers_mut().insert("toopher-challenge", "abc".parse().unwrap());
        assert_eq!(status(&approvals, waiting).await, 503, "{otp:?}");
        // Without a code the phone would be asked, which may be what failed.
        let opens = if otp.is_some() { 200 } else { 503 };
        assert_eq!(status(&approvals, request(otp)).await, opens, "{otp:?}");
    }
}

#[tokio::test]
async fn a_pass_is_marked_and_told_and_is_no_second_factor() {
    let events = Events::default();
    let layer = ToopherLayer::new(unreachable().verifier()).audit(events.sink()).insecure_open_on(opens(2, HOUR));
    let inner = service_fn(|request: Request<Body>| async move {
        let mark = request.extensions().get::<WithoutSecondFactor>().copied();
        assert_eq!(mark.unwrap().reason(), WithoutReason::Fault(FaultKind::Unreachable));
        assert!(request.extensions().get::<SecondFactor>().is_none());
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let mut request = of("alice");
    // Not even one that was shown for something else.
    request.extensions_mut().insert(SecondFactor::new(alice(), "something else", Factor::Totp));
    assert_eq!(layer.clone().layer(inner).oneshot(request).await.unwrap().status(), 200);
    let told = events.take();
    assert_eq!((told.len(), told[0].outcome()), (1, AuditOutcome::FaultLetPass(FaultKind::Unreachable)));
    assert_eq!(told[0].user(), Some(&alice()));

    // An inner gate asks again.
    let inner_gate = ToopherLayer::new(Says::always(Verdict::Denied(DenyReason::OtpRequired)));
    let calls = Calls::default();
    let both = layer.clone().layer(inner_gate.layer(Strict::new(&calls)));
    assert_eq!(both.oneshot(of("alice")).await.unwrap().status(), 401);
    assert_eq!(calls.count(), 0);
    events.take();

    // One too many is a refusal, with its kind.
    assert_eq!(status(&layer, of("alice")).await, 503);
    assert_eq!(events.take()[0].outcome(), AuditOutcome::Unavailable(Some(FaultKind::Unreachable)));
}

/// A pass on a fault is for one request: no grant makes it last, neither there nor once the trouble is over.
#[tokio::test]
async fn a_pass_leads_to_no_grant() {
    let answer = unreachable();
    let grants = Grants::new(SealingKey::generate().unwrap(), |_| Some("session".into()), |_, _| Some(0_u64));
    let layer = ToopherLayer::new(answer.verifier()).insecure_open_on(opens(5, HOUR)).grants(grants).max_age(HOUR);
    let set = async |request| {
        let response = layer.layer(Strict::new(&Calls::default())).oneshot(request).await.unwrap();
        (response.status().as_u16(), response.headers().contains_key("set-cookie"))
    };
    assert_eq!(set(of("alice")).await, (200, false));
    answer.is(granted());
    assert_eq!(set(of("alice")).await, (200, true));
}

#[test]
fn a_pass_that_is_not_recorded_is_none() {
    let layer = ToopherLayer::new(unreachable().verifier())
        .audit(|_| panic!("the disk is full"))
        .insecure_open_on(opens(10, HOUR));
    let send = || futures_util::FutureExt::now_or_never(status(&layer, of("alice"))).unwrap();
    let (seen, heard) = listen(send);
    assert_eq!(seen, 503);
    assert_eq!(heard.decisions()[0]["fields"]["outcome"], "unavailable");
    assert!(heard.metrics.keys().all(|key| !key.contains("fault_let_pass")), "{:?}", heard.metrics);

    let quiet = ToopherLayer::new(unreachable().verifier()).insecure_open_on(opens(10, HOUR));
    let (seen, heard) = listen(|| futures_util::FutureExt::now_or_never(status(&quiet, of("alice"))).unwrap());
    assert_eq!((seen, heard.decisions()[0]["level"].as_str()), (200, Some("ERROR")));
    let count = "tower_toopher_decisions_total{outcome=\"fault_let_pass\",reason=\"unreachable\",factor=\"none\"}";
    assert_eq!(heard.metrics[count], 1);
}

#[tokio::test]
async fn not_being_enrolled_and_a_fault_are_two_things() {
    let answer = unreachable();
    let layer = ToopherLayer::new(answer.verifier()).not_enrolled(NotEnrolledPolicy::PassUnprotected);
    // Whether somebody is enrolled is not known while the verifier is in trouble.
    assert_eq!(status(&layer, of("alice")).await, 503);
    let layer = layer.insecure_open_on(opens(1, HOUR));
    answer.is(Ok(Verdict::Denied(DenyReason::NotEnrolled)));
    assert_eq!(status(&layer, of("alice")).await, 200);
    answer.is(Err(FaultKind::Unreachable));
    assert_eq!(status(&layer, of("alice")).await, 200);
    assert_eq!(status(&layer, of("alice")).await, 503);
}

#[test]
fn bounds_are_bounds() {
    let new = |at_most, per| FaultPolicy::new(KINDS, at_most, per).map(|_| ());
    let second = Duration::from_secs(1);
    assert_eq!((new(1, second), new(10_000, 24 * HOUR)), (Ok(()), Ok(())));
    for (at_most, per) in [
        (0, second),
        (10_001, second),
        (1, Duration::ZERO),
        (1, Duration::from_millis(999)),
        (1, 24 * HOUR + second),
        (1, Duration::MAX),
    ] {
        assert!(new(at_most, per).is_err(), "{at_most} {per:?}");
    }
}

/// The breaker of a crate that is kept well. It hides its cause, so what stands around it takes the cause out again.
#[tokio::test]
async fn a_breaker_spares_the_verifier_and_its_refusals_can_have_a_kind() {
    let answer = Answer(Arc::new(Mutex::new(granted())));
    let asked = answer.verifier();
    let breaker =
        || CircuitBreakerLayer::builder().consecutive_failures(4).wait_duration_in_open(HOUR).build().unwrap();
    let verifier = ServiceBuilder::new()
        .map_err(|error: CircuitBreakerError<BoxError>| -> BoxError {
            match error {
                CircuitBreakerError::OpenCircuit => Fault::new(FaultKind::Unreachable, "the breaker is open").into(),
                CircuitBreakerError::Inner(error) => error,
            }
        })
        .layer(breaker())
        .service(asked.clone());
    // However long it went well before.
    for _ in 0..1000 {
        assert_eq!(status(&ToopherLayer::new(verifier.clone()), of("alice")).await, 200);
    }
    answer.is(Err(FaultKind::Timeout));
    for n in 0..10 {
        let kind = kind_of(verifier.clone()).await;
        assert_eq!(kind, Some(if n < 4 { FaultKind::Timeout } else { FaultKind::Unreachable }));
    }
    assert_eq!(asked.calls(), 1004);

    // A denial is no failure: nobody opens the breaker by guessing.
    let denying = Says::always(Verdict::Denied(DenyReason::WrongOtp));
    let guarded = ServiceBuilder::new().layer(breaker()).service(denying.clone());
    for _ in 0..10 {
        assert_eq!(status(&ToopherLayer::new(guarded.clone()), of("alice")).await, 401);
    }
    assert_eq!(denying.calls(), 10);
}

#[tokio::test]
async fn a_trouble_of_ones_own_is_named_by_a_function() {
    #[derive(Debug)]
    struct Maintenance;
    impl std::fmt::Display for Maintenance {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("maintenance")
        }
    }
    impl std::error::Error for Maintenance {}
    // Among the sources, under an error of a kind that is not named.
    let layer = ToopherLayer::new(Says::new(|_| Err(Fault::new(FaultKind::Store, Maintenance).into())));
    let policy = opens(1, HOUR).classify(|error| error.is::<Maintenance>().then_some(FaultKind::Unreachable));
    assert_eq!(status(&layer.clone().insecure_open_on(policy), of("alice")).await, 200);
    assert_eq!(status(&layer.insecure_open_on(opens(1, HOUR)), of("alice")).await, 503);
}

/// A store that hangs while it is told to.
#[derive(Clone)]
struct Hangs(MemoryStore);

impl Store for Hangs {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        Ok(self.0.count_attempt(user, throttle, now).await?)
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        Ok(self.0.take_back_attempt(user, throttle).await?)
    }

    async fn spend_step(&self, _: &UserId, _: &str, _: u64, _: Duration, _: Duration) -> Result<Spend, BoxError> {
        std::future::pending().await
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), BoxError> {
        Ok(self.0.clear_failures(user).await?)
    }
}

/// The same with a deadline of its own, as a store should have.
#[derive(Clone)]
struct Limited(Hangs);

impl Store for Limited {
    type Error = BoxError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, BoxError> {
        self.0.count_attempt(user, throttle, now).await
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), BoxError> {
        self.0.take_back_attempt(user, throttle).await
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep: Duration,
        now: Duration,
    ) -> Result<Spend, BoxError> {
        tokio::time::timeout(Duration::from_secs(1), self.0.spend_step(user, device, step, keep, now)).await?
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), BoxError> {
        self.0.clear_failures(user).await
    }
}

/// What docs/faults.md says of deadlines: outside the verifier they count the attempt, inside the store they do not.
#[tokio::test(start_paused = true)]
async fn a_deadline_outside_the_verifier_counts_the_attempt_and_one_inside_does_not() {
    let users = MemoryPairings::new();
    users.insert(alice(), Pairing::confirmed(k20()));
    let verifier = || TotpVerifier::new(users.clone()).unwrap().clock(|| UNIX_EPOCH + Duration::from_secs(T));
    let outside = ServiceBuilder::new().timeout(Duration::from_secs(1));
    let outside = outside.service(verifier().store(Hangs(MemoryStore::new())));
    for _ in 0..5 {
        assert_eq!(kind_of(outside.clone()).await, Some(FaultKind::Timeout));
    }
    // The free failures are used up by a store that hangs.
    assert_eq!(status(&ToopherLayer::new(outside), of("alice")).await, 429);

    let inside = verifier().store(Limited(Hangs(MemoryStore::new())));
    for _ in 0..20 {
        assert_eq!(kind_of(inside.clone()).await, Some(FaultKind::Store));
    }
}
