//! Each decision emits one event to the sink, to `tracing` and to `metrics`, with its fields and without a secret.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(clippy::unwrap_used, reason = "a failure is the result of a test")]

mod capture;
mod fail_open;
mod support;

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use self::capture::{Captured, Events, Lines, capture};
use self::support::*;
use http::{HeaderName, Request, Response};
use http_body_util::StreamBody;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::grants::{Epoch, Grants};
use tower_toopher::middleware::{AuditEvent, NotEnrolledPolicy, Outcome, ReplayBody};
use tower_toopher::store::MemoryStore;
use tower_toopher::time::UnixTime;
use tower_toopher::verify::{
    ApprovalId, ApprovalMode, AuditPath, BypassReason, ErrorClass, FallbackVerifier, PendingApproval, RequestId,
    SessionId, VerifierError,
};
use tower_toopher::{
    Approvals, Attempt, BoxError, DenyReason, Factor, HeaderOrForm, RejectionKind as Kind, SecondFactor, Terminal,
    ToopherLayer, UserId, Verdict,
};

type Layered = ToopherLayer<ScriptedVerifier, HeaderOrForm>;

const CLASSES: [ErrorClass; 7] = [
    ErrorClass::Refused,
    ErrorClass::Timeout,
    ErrorClass::Unreachable,
    ErrorClass::ServerError,
    ErrorClass::Overloaded,
    ErrorClass::Store,
    ErrorClass::Users,
];

/// The texts of a request that no event may contain.
const SECRETS: [&str; 8] =
    [CODE, "081 804", "Basic", "YWxpY2U6", "sessionid", "discriminator", "s3cret-token", "s3cret-grant"];

/// A request with a secret in every place that can contain one.
fn secretive(otp: Option<&str>) -> Request<Body> {
    let mut request = request(otp);
    *request.uri_mut() = "/account?code=081804&token=s3cret-token".parse().unwrap();
    for (name, value) in [
        ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA=="),
        ("cookie", "id=sessionid; __Host-second-factor=s3cret-grant"),
        ("toopher-approval", "s3cret-token"),
    ] {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let extensions = request.extensions_mut();
    extensions.insert(SessionId::new("sessionid").unwrap());
    extensions.insert(Terminal::new("laptop").with_discriminator("discriminator"));
    extensions.insert(RequestId::new("request-7").unwrap());
    request
}

fn layer(verify: impl Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync + 'static) -> Layered {
    ToopherLayer::new(ScriptedVerifier::new(verify)).extractor(HeaderOrForm::default()).action("transfer")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Sends a request, and returns the status and the one event.
fn send(layer: Layered, request: Request<Body>) -> (u16, AuditEvent, Captured) {
    let events = Events::default();
    let service = layer.audit(events.sink()).layer(OneShotService::new(&Calls::default()));
    let (status, captured) = capture(|| block_on(service.oneshot(request)).unwrap().status().as_u16());
    let mut events = events.take();
    assert_eq!(events.len(), 1, "{events:?}");
    (status, events.remove(0), captured)
}

struct Case {
    layer: Layered,
    request: Request<Body>,
    status: u16,
    outcome: Outcome,
    /// The name of the outcome, its reason and its factor.
    names: [Option<&'static str>; 3],
    /// Whether the verifier is called.
    verified: bool,
}

fn cases() -> Vec<Case> {
    let always = |verdict: Verdict| layer(move |_| Ok(verdict.clone()));
    let never = || layer(|_| panic!("the verifier must not be called"));
    let case =
        |layer, request, status, outcome, names, verified| Case { layer, request, status, outcome, names, verified };
    let mut cases = Vec::new();
    for (factor, name) in [
        (Factor::Totp, "totp"),
        (Factor::RecoveryCode, "recovery_code"),
        (Factor::Push, "push"),
        (Factor::other("081804").unwrap(), "other"),
    ] {
        let names = [Some("granted"), None, Some(name)];
        let granted = always(Verdict::Granted(factor));
        cases.push(case(granted, secretive(Some(CODE)), 200, Outcome::Granted(factor), names, true));
    }
    let mut verified = secretive(None);
    verified.extensions_mut().insert(SecondFactor::new(alice(), "transfer", Factor::Totp));
    cases.push(case(never(), verified, 200, Outcome::AlreadyVerified, [Some("already_verified"), None, None], false));
    for (factor, name) in [
        (Factor::Totp, "totp"),
        (Factor::RecoveryCode, "recovery_code"),
        (Factor::Push, "push"),
        (Factor::other("081804").unwrap(), "other"),
    ] {
        let mut earlier = secretive(None);
        let now = UnixTime::try_from(SystemTime::now()).unwrap();
        earlier.extensions_mut().insert(SecondFactor::new(alice(), "transfer", factor).with_auth_time(now));
        let reusing = never().max_age(Duration::from_secs(3600));
        let names = [Some("reused"), None, Some(name)];
        cases.push(case(reusing, earlier, 200, Outcome::Reused(factor), names, false));
    }
    let skipping = never().insecure_skip(|_| true);
    cases.push(case(skipping, secretive(Some(CODE)), 200, Outcome::Skipped, [Some("skipped"), None, None], false));
    let unenrolled = always(Verdict::Denied(DenyReason::NotEnrolled)).not_enrolled(NotEnrolledPolicy::InsecureAllow);
    for layer in [unenrolled, always(Verdict::Bypassed(BypassReason::NotEnrolled))] {
        let names = [Some("allowed_unenrolled"), None, None];
        let outcome = Outcome::Bypassed(BypassReason::NotEnrolled);
        cases.push(case(layer, secretive(Some(CODE)), 200, outcome, names, true));
    }
    for class in CLASSES {
        let names = [Some("failed_open"), Some(class.name()), None];
        let reason = BypassReason::FailOpen(class);
        let layer = always(Verdict::Bypassed(reason));
        cases.push(case(layer, secretive(Some(CODE)), 200, Outcome::Bypassed(reason), names, true));
    }

    let wait = Duration::from_secs(7);
    for (reason, status, name) in [
        (DenyReason::OtpRequired, 401, "otp_required"),
        (DenyReason::WrongOtp, 401, "wrong_otp"),
        (DenyReason::ReplayedOtp, 401, "replayed_otp"),
        (DenyReason::UnknownUser, 401, "unknown_user"),
        (DenyReason::NotEnrolled, 401, "not_enrolled"),
        (DenyReason::DeniedByUser, 401, "denied_by_user"),
        (DenyReason::InvalidApproval, 401, "invalid_approval"),
        (DenyReason::AlreadyPending { retry_after: wait }, 401, "already_pending"),
        (DenyReason::Throttled { retry_after: wait }, 429, "throttled"),
        (DenyReason::LockedOut, 429, "locked_out"),
    ] {
        let names = [Some("denied"), Some(name), None];
        let outcome = Outcome::Rejected(Kind::Denied(reason));
        cases.push(case(always(Verdict::Denied(reason)), secretive(Some(CODE)), status, outcome, names, true));
    }
    let form = |body: &str| {
        let mut request = secretive(None);
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *request.body_mut() = Body::from(body.to_owned());
        request
    };
    let mut unauthenticated = secretive(Some(CODE));
    unauthenticated.extensions_mut().remove::<UserId>();
    let mut compressed = form("otp=081804");
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    for (request, status, kind, name) in [
        (unauthenticated, 401, Kind::Unidentified, "unidentified"),
        (secretive(Some("081804x")), 401, Kind::MalformedOtp, "malformed_otp"),
        (form("otp=081804&otp=000000"), 400, Kind::AmbiguousOtp, "ambiguous_otp"),
        (compressed, 400, Kind::UnreadableBody, "unreadable_body"),
        (form(&"081804".repeat(20_000)), 413, Kind::BodyTooLarge, "body_too_large"),
    ] {
        let names = [Some("denied"), Some(name), None];
        cases.push(case(never(), request, status, Outcome::Rejected(kind), names, false));
    }
    // Two approval tokens.
    let mut two = secretive(None);
    two.headers_mut().append("toopher-approval", "another".parse().unwrap());
    let names = [Some("denied"), Some("ambiguous_otp"), None];
    cases.push(case(never().approvals(), two, 400, Outcome::Rejected(Kind::AmbiguousOtp), names, false));

    let names = [Some("pending"), None, None];
    let pending = always(Verdict::pending(Some(Duration::from_secs(2))));
    cases.push(case(pending, secretive(None), 202, Outcome::Rejected(Kind::Pending), names, true));
    for class in [None].into_iter().chain(CLASSES.map(Some)) {
        // The error of a backend may contain what was sent to it.
        let failing = layer(move |_| {
            let cause: BoxError = "cannot parse 081804".into();
            Err(class.map_or(cause, |class| VerifierError::new("cannot parse 081804").with_class(class).into()))
        });
        let names = [Some("unavailable"), class.map(ErrorClass::name), None];
        let outcome = Outcome::Rejected(Kind::Unavailable(class));
        cases.push(case(failing, secretive(Some(CODE)), 503, outcome, names, true));
    }
    cases
}

#[test]
fn every_outcome_is_one_event_one_line_and_one_count() {
    for Case { layer, request, status, outcome, names: [name, reason, factor], verified } in cases() {
        let identified = outcome != Outcome::Skipped && outcome != Outcome::Rejected(Kind::Unidentified);
        // The terminal is read only if a factor must be verified.
        let verified_before = matches!(outcome, Outcome::AlreadyVerified | Outcome::Reused(_));
        let terminal = identified && !verified_before;
        let (seen, event, captured) = send(layer, request);
        assert_eq!((seen, event.outcome()), (status, outcome));
        assert_eq!([Some(outcome.name()), outcome.reason(), outcome.factor()], [name, reason, factor]);
        assert_eq!(event.user().map(|user| user.as_str()), identified.then_some("alice"), "{outcome:?}");
        assert_eq!(event.action().map(|action| action.as_str()), identified.then_some("transfer"), "{outcome:?}");
        assert_eq!((event.method().as_str(), event.path()), ("GET", "/account"));
        assert_eq!(event.request_id(), Some("request-7"));
        assert_eq!(event.verifier_duration().is_some(), verified);
        assert_eq!(event.terminal().map(Terminal::name), terminal.then_some("laptop"), "{outcome:?}");

        let decisions = captured.decisions();
        assert_eq!(decisions.len(), 1, "{}", captured.json);
        let fields = &decisions[0]["fields"];
        let field = |name: &str| fields[name].as_str();
        assert_eq!([field("outcome"), field("reason"), field("factor")], [name, reason, factor]);
        assert_eq!(field("user"), identified.then_some("alice"));
        assert_eq!(field("action"), identified.then_some("transfer"));
        assert_eq!(field("terminal"), event.terminal().map(Terminal::name));
        assert_eq!([field("method"), field("path")], [Some("GET"), Some("/account")]);
        assert_eq!(field("request_id"), Some("request-7"));
        assert_eq!(fields["verifier_duration"].is_f64(), verified);

        let (name, reason, factor) = (outcome.name(), reason.unwrap_or("none"), factor.unwrap_or("none"));
        let mut expected =
            vec![(format!("tower_toopher_decisions_total{{outcome={name:?},reason={reason:?},factor={factor:?}}}"), 1)];
        if verified {
            expected.push((format!("tower_toopher_verifier_duration_seconds{{outcome={name:?}}}"), 1));
        }
        match outcome {
            Outcome::Rejected(Kind::Denied(DenyReason::ReplayedOtp)) => {
                expected.push(("tower_toopher_replays_total{}".into(), 1))
            }
            Outcome::Rejected(Kind::Denied(DenyReason::Throttled { .. } | DenyReason::LockedOut)) => {
                expected.push((format!("tower_toopher_throttled_total{{reason={reason:?}}}"), 1));
            }
            _ => {}
        }
        assert_eq!(captured.metrics, expected.into_iter().collect());
    }
}

#[test]
fn no_event_line_or_metric_contains_a_secret() {
    let untimed = |event: &AuditEvent| {
        let time = format!("{:?}", event.verifier_duration().unwrap_or_default());
        format!("{event:?} {event:#?}").replace(&time, "")
    };
    let check = |shown: &str| {
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    };
    for Case { layer, request, .. } in cases() {
        let (_, event, captured) = send(layer, request);
        // The name of a factor is the verifier's text. It is in `Debug` of the event, and in no line and no metric.
        if !matches!(event.outcome(), Outcome::Granted(Factor::Other(_)) | Outcome::Reused(Factor::Other(_))) {
            check(&untimed(&event));
        }
        check(&captured.untimed());
        check(&format!("{:?}", captured.metrics));
    }

    // The real verifiers, and an approval: neither the client's token nor the verifier's id.
    let (totp, ..) = totp_verifier();
    let phones = service_fn(|attempt: Attempt| async move {
        Ok::<_, BoxError>(match attempt.approval_mode() {
            ApprovalMode::Disallowed => Verdict::Denied(DenyReason::OtpRequired),
            _ => {
                PendingApproval::new().with_id(ApprovalId::new("s3cret-token").unwrap()).with_number(42).unwrap().into()
            }
        })
    });
    let both = FallbackVerifier::new(totp, phones);
    let approvals = Approvals::new(both).unwrap().store(MemoryStore::new());
    let events = Events::default();
    let service =
        ToopherLayer::new(approvals).approvals().audit(events.sink()).layer(OneShotService::new(&Calls::default()));
    let (token, captured) = capture(|| {
        block_on(async {
            let send = |request| service.clone().oneshot(request);
            let mut first = secretive(None);
            first.headers_mut().remove("toopher-approval");
            let response = send(first).await.unwrap();
            assert_eq!(response.status(), 202);
            let token = response.headers()["toopher-approval"].to_str().unwrap().to_owned();
            let mut again = secretive(None);
            again.headers_mut().insert("toopher-approval", token.parse().unwrap());
            assert_eq!(send(again).await.unwrap().status(), 202);
            for (otp, status) in [("000000", 401), (CODE, 200), (CODE, 401)] {
                assert_eq!(send(secretive(Some(otp))).await.unwrap().status(), status);
            }
            token
        })
    });
    let events: String = events.take().iter().map(untimed).collect();
    assert_eq!(captured.decisions().len(), 5);
    for shown in [events, captured.untimed(), format!("{:?}", captured.metrics)] {
        check(&shown);
        assert!(!shown.contains(&token), "{shown}");
    }

    // A grant: the request that it is issued for, one that it is accepted for, and an altered one.
    let (totp, clock, _) = totp_verifier();
    let events = Events::default();
    let grants = Grants::new(SealingKey::generate().unwrap()).clock(&clock);
    let service = ToopherLayer::new(totp)
        .grants(grants)
        .max_age(Duration::from_secs(60))
        .audit(events.sink())
        .layer(OneShotService::new(&Calls::default()));
    let (grant, captured) = capture(|| {
        block_on(async {
            let send = |cookie: String, otp| {
                let mut request = secretive(otp);
                request.headers_mut().insert("cookie", cookie.parse().unwrap());
                request.extensions_mut().insert(Epoch::from(7_u64));
                service.clone().oneshot(request)
            };
            let response = send("id=sessionid".into(), Some(CODE)).await.unwrap();
            assert_eq!(response.status(), 200);
            let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
            assert_eq!(send(cookie.clone(), None).await.unwrap().status(), 200);
            assert_eq!(send(format!("{cookie}x"), None).await.unwrap().status(), 401);
            cookie.split_once('=').unwrap().1.to_owned()
        })
    });
    let events: String = events.take().iter().map(untimed).collect();
    assert!(grant.len() > 40 && events.contains("Reused"), "{events}");
    for shown in [events, captured.untimed(), format!("{:?}", captured.metrics)] {
        check(&shown);
        assert!(!shown.contains(&grant), "{shown}");
    }
}

#[test]
fn text_of_clients_cannot_forge_a_line() {
    let hostile =
        "mallory\n2026-01-01T00:00:00Z  INFO tower_toopher::audit: granted user=\"admin\" \u{1b}[2J\u{202e}\r";
    let request = || {
        // The types of `http` allow these characters in a path.
        let path = "/a\u{85}b\u{2028}c\u{202e}d\u{9b}31m";
        let mut request = request_of(user(hostile), Some(CODE));
        *request.uri_mut() = http::Uri::from_maybe_shared(path.as_bytes()).unwrap();
        request.extensions_mut().insert(RequestId::new(hostile).unwrap());
        request.extensions_mut().insert(Terminal::new(hostile));
        request
    };
    let layer = || layer(|_| Ok(Verdict::Denied(DenyReason::WrongOtp))).action(hostile);
    let harmless = |shown: &str| {
        let hidden =
            |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{200b}'..='\u{200f}');
        assert!(!shown.contains(hidden), "{shown:?}");
    };
    // As text, where each event is one line.
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let service = layer().layer(OneShotService::new(&Calls::default()));
    tracing::subscriber::with_default(subscriber, || block_on(service.oneshot(request())).unwrap());
    let text = lines.text();
    assert_eq!(text.lines().filter(|line| line.contains("tower_toopher::audit:")).count(), text.lines().count());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r"mallory\") && text.contains(r"/a\"), "{text}");
    harmless(&text);

    // As JSON, where the decoded values are harmless too, because a screen may display them.
    let (_, event, captured) = send(layer(), request());
    for line in captured.lines() {
        harmless(&line.to_string());
        let fields = line["fields"].as_object().unwrap().values();
        for value in fields.chain(line["span"].as_object().into_iter().flat_map(|span| span.values())) {
            value.as_str().inspect(|text| assert!(!text.contains('\n'))).map(harmless);
        }
    }
    // The event contains the text as it is, and `Debug` escapes it.
    assert_eq!(event.user().unwrap().as_str(), hostile);
    harmless(&format!("{event:?}"));
    assert!(!format!("{event:?}").contains('\n'));

    // No label of a metric contains text of clients, and a long path is truncated.
    assert!(
        captured.metrics.keys().all(|key| !key.contains("mallory") && !key.contains("/a")),
        "{:?}",
        captured.metrics
    );
    let mut long = request();
    *long.uri_mut() = format!("/{}", "x".repeat(5000)).parse().unwrap();
    assert_eq!(send(layer(), long).1.path().len(), 1024);
}

#[test]
fn a_sink_that_panics_changes_a_decision_only_to_a_rejection() {
    let (granted, wrong) = (Ok(Verdict::Granted(Factor::Totp)), Ok(Verdict::Denied(DenyReason::WrongOtp)));
    let not_enrolled = Ok(Verdict::Denied(DenyReason::NotEnrolled));
    let bypassed = Ok(Verdict::Bypassed(BypassReason::FailOpen(ErrorClass::Store)));
    let cases: [(Result<Verdict, &str>, u16, &str); 5] = [
        (granted, 200, "granted"),
        (wrong, 401, "denied"),
        (Err("down"), 503, "unavailable"),
        // A request without a factor that cannot be recorded is rejected.
        (not_enrolled, 503, "unavailable"),
        (bypassed, 503, "unavailable"),
    ];
    for (result, status, outcome) in cases {
        let layer = layer(move |_| result.clone().map_err(Into::into))
            .not_enrolled(NotEnrolledPolicy::InsecureAllow)
            .audit(|event| panic!("cannot record {:?}", event.outcome()));
        let calls = Calls::default();
        let service = layer.layer(OneShotService::new(&calls));
        let (seen, captured) =
            capture(|| block_on(service.clone().oneshot(request(Some(CODE)))).unwrap().status().as_u16());
        assert_eq!((seen, calls.count()), (status, usize::from(status == 200)));
        assert_eq!(captured.decisions().len(), 1);
        assert_eq!(captured.decisions()[0]["fields"]["outcome"], outcome);
        assert_eq!(captured.metrics["tower_toopher_audit_panics_total{}"], 1);
        assert!(captured.json.contains("the audit sink panicked"));
        // The sink is called for the next request too.
        assert_eq!(block_on(service.oneshot(request(Some(CODE)))).unwrap().status().as_u16(), status);
    }
    // Decisions from the head of the request.
    for (layer, request, status) in [
        (layer(|_| panic!()).insecure_skip(|_| true), request(None), 200),
        (layer(|_| panic!()).identify(|_| None), request(None), 401),
    ] {
        let service = layer.audit(|_| panic!("full")).layer(OneShotService::new(&Calls::default()));
        assert_eq!(block_on(service.oneshot(request)).unwrap().status().as_u16(), status);
    }
}

#[test]
fn a_request_that_is_dropped_before_the_decision_is_recorded_as_cancelled() {
    let outcomes = |events: &Events| events.take().iter().map(AuditEvent::outcome).collect::<Vec<_>>();
    let poll = |future: std::pin::Pin<&mut dyn Future<Output = _>>| {
        let _: Poll<Result<Response<Body>, std::convert::Infallible>> =
            future.poll(&mut Context::from_waker(Waker::noop()));
    };
    let events = Events::default();
    let verifier = service_fn(|_: Attempt| pending::<Result<Verdict, BoxError>>());
    let layer = ToopherLayer::new(verifier).action("transfer").audit(events.sink());

    // While the verifier runs.
    let mut service = layer.clone().layer(OneShotService::new(&Calls::default()));
    let ((), captured) = capture(|| {
        let mut future = Box::pin(service.call(request(Some(CODE))));
        poll(future.as_mut());
        assert_eq!(outcomes(&events), []);
    });
    let recorded = events.take();
    assert_eq!((recorded.len(), recorded[0].outcome()), (1, Outcome::Cancelled));
    assert_eq!((recorded[0].user(), recorded[0].path()), (Some(&alice()), "/account"));
    assert!(recorded[0].verifier_duration().is_some());
    assert_eq!(captured.decisions()[0]["fields"]["outcome"], "cancelled");
    assert_eq!(captured.metrics["tower_toopher_verifier_duration_seconds{outcome=\"cancelled\"}"], 1);

    // Before it was polled at all.
    drop(service.call(request(Some(CODE))));
    assert_eq!(outcomes(&events), [Outcome::Cancelled]);

    // While the form is read.
    let stalled = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, BoxError>>());
    let slow = layer.clone().extractor(HeaderOrForm::default().wrapping());
    let mut slow = slow.layer(service_fn(|_: Request<ReplayBody<_>>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
    }));
    let form = Request::post("/pay").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
    let mut future = Box::pin(slow.call(form.body(stalled).unwrap()));
    poll(future.as_mut());
    drop(future);
    let recorded = events.take();
    assert_eq!((recorded.len(), recorded[0].outcome(), recorded[0].path()), (1, Outcome::Cancelled, "/pay"));
    assert_eq!((recorded[0].user(), recorded[0].verifier_duration()), (Some(&alice()), None));

    // A decision is recorded once, however long the inner service takes.
    let granted = ToopherLayer::new(ScriptedVerifier::always(Verdict::Granted(Factor::Totp))).audit(events.sink());
    let mut service = granted.layer(service_fn(|_: Request<Body>| pending()));
    let mut future = Box::pin(service.call(request(Some(CODE))));
    poll(future.as_mut());
    drop(future);
    assert_eq!(outcomes(&events), [Outcome::Granted(Factor::Totp)]);

    // A verifier that panics forwards no request, and an event is emitted.
    let panics = ToopherLayer::new(ScriptedVerifier::new(|_| panic!("a bug"))).audit(events.sink());
    let service = panics.layer(OneShotService::new(&Calls::default()));
    let panicked =
        std::panic::catch_unwind(AssertUnwindSafe(|| block_on(service.oneshot(request(Some(CODE)))).is_ok()));
    assert!(panicked.is_err());
    assert_eq!(outcomes(&events), [Outcome::Cancelled]);
}

#[test]
fn the_verifier_runs_in_the_span_and_its_duration_is_measured() {
    let began = Instant::now();
    let layer = layer(|_| {
        let called = Instant::now();
        while called.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        tracing::info!("from the verifier");
        Ok(Verdict::Granted(Factor::Totp))
    });
    let (_, event, captured) = send(layer, secretive(Some(CODE)));
    let time = event.verifier_duration().unwrap();
    assert!(time >= Duration::from_millis(2) && time <= began.elapsed(), "{time:?}");
    let lines = captured.lines();
    let inner = lines.iter().find(|line| line["fields"]["message"] == "from the verifier").unwrap();
    assert_eq!(inner["span"]["name"], "second_factor");
    assert_eq!(inner["span"]["user"], "alice");
    assert_eq!(inner["span"]["action"], "transfer");
    assert_eq!(inner["span"]["request_id"], "request-7");
}

#[test]
fn an_audit_path_replaces_a_path_that_contains_a_secret() {
    let layer = layer(|_| Ok(Verdict::Granted(Factor::Totp)));
    for (path, replaced, recorded) in
        [("/reset/s3cret-token?otp=081804", Some("/reset/{token}"), "/reset/{token}"), ("/account", None, "/account")]
    {
        let mut request = secretive(Some(CODE));
        *request.uri_mut() = path.parse().unwrap();
        if let Some(replaced) = replaced {
            request.extensions_mut().insert(AuditPath::new(replaced).unwrap());
        }
        let (_, event, captured) = send(layer.clone(), request);
        assert_eq!(event.path(), recorded);
        assert_eq!(captured.decisions()[0]["fields"]["path"], recorded);
        assert!(!captured.json.contains("s3cret-token"), "{}", captured.json);
    }
}

/// Without a `RequestId` neither the event nor the span contains one.
#[test]
fn the_request_id_is_optional() {
    for id in [None, Some("request-8")] {
        let mut request = secretive(Some(CODE));
        request.extensions_mut().remove::<RequestId>();
        if let Some(id) = id {
            request.extensions_mut().insert(RequestId::new(id).unwrap());
        }
        let layer = layer(|_| {
            tracing::info!("from the verifier");
            Ok(Verdict::Granted(Factor::Totp))
        });
        let (_, event, captured) = send(layer, request);
        assert_eq!(event.request_id(), id);
        assert_eq!(captured.decisions()[0]["fields"]["request_id"].as_str(), id);
        let lines = captured.lines();
        let inner = lines.iter().find(|line| line["fields"]["message"] == "from the verifier").unwrap();
        assert_eq!(inner["span"]["request_id"].as_str(), id);
    }
}

#[test]
fn the_documentation_lists_every_name() {
    let table = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/auditing.md")).unwrap();
    let listed = |name: &str| assert!(table.contains(&format!("`{name}`")), "{name} is not in docs/auditing.md");
    for Case { layer, request, outcome, .. } in cases() {
        let (_, _, captured) = send(layer, request);
        [Some(outcome.name()), outcome.reason(), outcome.factor()].into_iter().flatten().for_each(listed);
        captured.decisions()[0]["fields"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "message")
            .for_each(|n| listed(n));
        captured.metrics.keys().for_each(|key| listed(key.split('{').next().unwrap()));
    }
    for name in
        ["cancelled", "failed_open", "tower_toopher::audit", "second_factor", "tower_toopher_audit_panics_total"]
    {
        listed(name);
    }
}

#[test]
fn metrics_can_be_described() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        tower_toopher::middleware::describe_metrics();
        let service =
            layer(|_| Ok(Verdict::Denied(DenyReason::ReplayedOtp))).layer(OneShotService::new(&Calls::default()));
        block_on(service.oneshot(request(Some(CODE)))).unwrap();
    });
    let described = recorder.snapshotter().snapshot().into_vec();
    assert_eq!(described.len(), 3);
    for (key, unit, description, _) in described {
        assert!(unit.is_some() && description.is_some_and(|text| text.ends_with('.')), "{key:?}");
    }
}

/// A second panic while the future is dropped would end the process.
#[test]
fn a_request_that_a_panic_drops_is_recorded_as_cancelled() {
    let events = Events::default();
    let layer = layer(|_| Ok(Verdict::Granted(Factor::Totp)));
    let recording = layer.clone().audit(events.sink()).layer(OneShotService::new(&Calls::default()));
    let panicking = layer.audit(|_| panic!("the disk is full")).layer(OneShotService::new(&Calls::default()));
    for service in [recording, panicking] {
        let unwinding = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut form = secretive(None);
            form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
            let _dropped_by_the_panic = service.clone().call(form);
            panic!("elsewhere");
        }));
        assert_eq!(*unwinding.unwrap_err().downcast::<&str>().unwrap(), "elsewhere");
    }
    let recorded = events.take();
    assert_eq!((recorded.len(), recorded[0].outcome()), (1, Outcome::Cancelled));
    assert_eq!((recorded[0].request_id(), recorded[0].path()), (Some("request-7"), "/account"));
}
