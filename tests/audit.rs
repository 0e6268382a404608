//! Each decision is told once, to everybody who listens, with its fields, and without a secret.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use common::heard::{Events, Heard, Lines, listen};
use common::*;
use http::{HeaderName, Request, Response};
use http_body_util::StreamBody;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_toopher::gate::grants::SealingKey;
use tower_toopher::store::MemoryStore;
use tower_toopher::{
    Approvals, Attempt, AuditEvent, AuditOutcome as Outcome, BoxError, DenyReason, Factor, Fault, FaultKind, Grants,
    HeaderOrForm, NotEnrolledPolicy, RejectionKind as Kind, SecondFactor, Terminal, ToopherLayer, Verdict,
};

type Gate = ToopherLayer<Says, HeaderOrForm>;

/// What a request must never have told of it.
const SECRETS: [&str; 8] =
    [CODE, "081 804", "Basic", "YWxpY2U6", "sessionid", "discriminator", "s3cret-challenge", "s3cret-grant"];

/// A request that carries a secret wherever one can be.
fn secretive(otp: Option<&str>) -> Request<Body> {
    let mut request = request(otp);
    *request.uri_mut() = "/account?code=081804&token=s3cret-challenge".parse().unwrap();
    for (name, value) in [
        ("authorization", "Basic YWxpY2U6d29uZGVybGFuZA=="),
        ("cookie", "id=sessionid; __Host-second-factor=s3cret-grant"),
        ("toopher-challenge", "s3cret-challenge"),
        ("x-request-id", "request-7"),
    ] {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    request
}

fn gate(answer: impl Fn(&Attempt) -> Result<Verdict, BoxError> + Send + Sync + 'static) -> Gate {
    ToopherLayer::new(Says::new(answer))
        .extractor(HeaderOrForm::default())
        .action("transfer")
        .terminal(|_| Some(Terminal::new("laptop").with_discriminator("discriminator")))
        .request_id(|parts| parts.headers.get("x-request-id")?.to_str().ok().map(Into::into))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Sends a request, and gives the status and the one event.
fn send(layer: Gate, request: Request<Body>) -> (u16, AuditEvent, Heard) {
    let events = Events::default();
    let service = layer.audit(events.sink()).layer(Strict::new(&Calls::default()));
    let (status, heard) = listen(|| block_on(service.oneshot(request)).unwrap().status().as_u16());
    let mut events = events.take();
    assert_eq!(events.len(), 1, "{events:?}");
    (status, events.remove(0), heard)
}

struct Case {
    gate: Gate,
    request: Request<Body>,
    status: u16,
    outcome: Outcome,
    /// Its name, reason and factor.
    names: [Option<&'static str>; 3],
    asked: bool,
}

fn cases() -> Vec<Case> {
    let denied = |reason| move |_: &Attempt| Ok(Verdict::Denied(reason));
    let never = || gate(|_| panic!("the verifier must not be asked"));
    let case = |gate, request, status, outcome, names, asked| Case { gate, request, status, outcome, names, asked };
    let mut cases = Vec::new();
    for (factor, name) in [
        (Factor::Totp, "totp"),
        (Factor::BackupCode, "backup_code"),
        (Factor::Push, "push"),
        (Factor::Other("081804"), "other"),
    ] {
        let gate = gate(move |_| Ok(Verdict::Granted(factor)));
        let names = [Some("granted"), None, Some(name)];
        cases.push(case(gate, secretive(Some(CODE)), 200, Outcome::Granted(factor), names, true));
    }
    let mut passed = secretive(None);
    passed.extensions_mut().insert(SecondFactor::new(alice(), "transfer", Factor::Totp));
    cases.push(case(never(), passed, 200, Outcome::AlreadyPassed, [Some("already_passed"), None, None], false));
    let mut earlier = secretive(None);
    earlier
        .extensions_mut()
        .insert(SecondFactor::new(alice(), "transfer", Factor::Push).with_shown_at(SystemTime::now()));
    let takes_earlier = never().max_age(Duration::from_secs(3600));
    let outcome = Outcome::GrantedEarlier(Factor::Push);
    cases.push(case(takes_earlier, earlier, 200, outcome, [Some("granted_earlier"), None, Some("push")], false));
    let skipping = never().insecure_skip(|_| true);
    cases.push(case(skipping, secretive(Some(CODE)), 200, Outcome::Skipped, [Some("skipped"), None, None], false));
    let unprotected = gate(denied(DenyReason::NotEnrolled)).not_enrolled(NotEnrolledPolicy::PassUnprotected);
    let names = [Some("passed_unprotected"), None, None];
    cases.push(case(unprotected, secretive(Some(CODE)), 200, Outcome::PassedUnprotected, names, true));

    let wait = Duration::from_secs(7);
    for (reason, status, kind, name) in [
        (DenyReason::OtpRequired, 401, Kind::OtpRequired, "otp_required"),
        (DenyReason::WrongOtp, 401, Kind::WrongOtp, "wrong_otp"),
        (DenyReason::ReplayedOtp, 401, Kind::ReplayedOtp, "replayed_otp"),
        (DenyReason::UnknownUser, 401, Kind::UnknownUser, "unknown_user"),
        (DenyReason::NotEnrolled, 401, Kind::NotEnrolled, "not_enrolled"),
        (DenyReason::Refused, 401, Kind::Refused, "refused"),
        (DenyReason::UnknownApproval, 401, Kind::UnknownApproval, "unknown_approval"),
        (DenyReason::AlreadyPending { retry_after: wait }, 401, Kind::AlreadyPending, "already_pending"),
        (DenyReason::Throttled { retry_after: wait }, 429, Kind::Throttled, "throttled"),
        (DenyReason::LockedOut, 429, Kind::LockedOut, "locked_out"),
    ] {
        let names = [Some("denied"), Some(name), None];
        cases.push(case(gate(denied(reason)), secretive(Some(CODE)), status, Outcome::Denied(kind), names, true));
    }
    let form = |body: &str| {
        let mut request = secretive(None);
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *request.body_mut() = Body::from(body.to_owned());
        request
    };
    let mut nobody = secretive(Some(CODE));
    nobody.extensions_mut().clear();
    let mut compressed = form("otp=081804");
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    for (request, status, kind, name) in [
        (nobody, 401, Kind::Unidentified, "unidentified"),
        (secretive(Some("081804x")), 401, Kind::MalformedOtp, "malformed_otp"),
        (form("otp=081804&otp=000000"), 400, Kind::AmbiguousOtp, "ambiguous_otp"),
        (compressed, 400, Kind::UnreadableBody, "unreadable_body"),
        (form(&"081804".repeat(20_000)), 413, Kind::BodyTooLarge, "body_too_large"),
    ] {
        let names = [Some("denied"), Some(name), None];
        cases.push(case(never(), request, status, Outcome::Denied(kind), names, false));
    }
    // Two challenges, seen before anything is asked.
    let mut two = secretive(None);
    two.headers_mut().append("toopher-challenge", "another".parse().unwrap());
    let names = [Some("denied"), Some("ambiguous_otp"), None];
    let approving = never().approvals(|_| Some("sessionid".into()));
    cases.push(case(approving, two, 400, Outcome::Denied(Kind::AmbiguousOtp), names, false));

    let names = [Some("pending"), None, None];
    cases.push(case(
        gate(|_| Ok(Verdict::pending(Some(Duration::from_secs(2))))),
        secretive(None),
        202,
        Outcome::Pending,
        names,
        true,
    ));
    for kind in [
        None,
        Some(FaultKind::Timeout),
        Some(FaultKind::Unreachable),
        Some(FaultKind::ServerError),
        Some(FaultKind::Overloaded),
        Some(FaultKind::Store),
        Some(FaultKind::Users),
    ] {
        // What a backend says of its trouble may repeat what it was sent.
        let failing = gate(move |_| {
            let cause: BoxError = "choked on 081804".into();
            Err(kind.map_or(cause, |kind| Fault::new(kind, "choked on 081804").into()))
        });
        let names = [Some("unavailable"), kind.map(FaultKind::name), None];
        cases.push(case(failing, secretive(Some(CODE)), 503, Outcome::Unavailable(kind), names, true));
    }
    cases
}

#[test]
fn every_outcome_is_one_event_one_line_and_one_count() {
    for Case { gate, request, status, outcome, names: [name, reason, factor], asked } in cases() {
        let identified = outcome != Outcome::Skipped && outcome != Outcome::Denied(Kind::Unidentified);
        // What is only looked at where a factor is asked for.
        let passed_before = matches!(outcome, Outcome::AlreadyPassed | Outcome::GrantedEarlier(_));
        let terminal = identified && !passed_before;
        let (seen, event, heard) = send(gate, request);
        assert_eq!((seen, event.outcome()), (status, outcome));
        assert_eq!([Some(outcome.name()), outcome.reason(), outcome.factor()], [name, reason, factor]);
        assert_eq!(event.user().map(|user| user.as_str()), identified.then_some("alice"), "{outcome:?}");
        assert_eq!(event.action().map(|action| action.as_str()), identified.then_some("transfer"), "{outcome:?}");
        assert_eq!((event.method().as_str(), event.path()), ("GET", "/account"));
        assert_eq!(event.request_id(), Some("request-7"));
        assert_eq!(event.verifier_time().is_some(), asked);
        let before_the_terminal = outcome == Outcome::Denied(Kind::AmbiguousOtp);
        if !before_the_terminal {
            assert_eq!(event.terminal().map(Terminal::name), terminal.then_some("laptop"), "{outcome:?}");
        }

        let decisions = heard.decisions();
        assert_eq!(decisions.len(), 1, "{}", heard.json);
        let fields = &decisions[0]["fields"];
        let field = |name: &str| fields[name].as_str();
        assert_eq!([field("outcome"), field("reason"), field("factor")], [name, reason, factor]);
        assert_eq!(field("user"), identified.then_some("alice"));
        assert_eq!(field("action"), identified.then_some("transfer"));
        assert_eq!(field("terminal"), event.terminal().map(Terminal::name));
        assert_eq!([field("method"), field("path")], [Some("GET"), Some("/account")]);
        assert_eq!(field("request_id"), Some("request-7"));
        assert_eq!(fields["verifier_seconds"].is_f64(), asked);

        let (name, reason, factor) = (outcome.name(), reason.unwrap_or("none"), factor.unwrap_or("none"));
        let mut expected =
            vec![(format!("tower_toopher_decisions_total{{outcome={name:?},reason={reason:?},factor={factor:?}}}"), 1)];
        if asked {
            expected.push((format!("tower_toopher_verifier_seconds{{outcome={name:?}}}"), 1));
        }
        match outcome {
            Outcome::Denied(Kind::ReplayedOtp) => expected.push(("tower_toopher_replays_total{}".into(), 1)),
            Outcome::Denied(Kind::Throttled | Kind::LockedOut) => {
                expected.push((format!("tower_toopher_locks_total{{reason={reason:?}}}"), 1));
            }
            _ => {}
        }
        assert_eq!(heard.metrics, expected.into_iter().collect());
    }
}

#[test]
fn nothing_that_is_told_shows_a_secret() {
    let untimed = |event: &AuditEvent| {
        let time = format!("{:?}", event.verifier_time().unwrap_or_default());
        format!("{event:?} {event:#?}").replace(&time, "")
    };
    let check = |shown: &str| {
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    };
    for Case { gate, request, .. } in cases() {
        let (_, event, heard) = send(gate, request);
        // What the verifier calls its factor is the verifier's, and in no log.
        if !matches!(event.outcome(), Outcome::Granted(Factor::Other(_))) {
            check(&untimed(&event));
        }
        check(&heard.untimed());
        check(&format!("{:?}", heard.metrics));
    }

    // The real verifiers, and a challenge that is sealed: neither the client's name of it nor the verifier's.
    let (totp, ..) = totp_verifier();
    let asks = service_fn(|attempt: Attempt| async move {
        Ok::<_, BoxError>(match attempt.approval() {
            tower_toopher::Approval::Unwanted => Verdict::Denied(DenyReason::OtpRequired),
            _ => tower_toopher::Pending::new()
                .with_id(tower_toopher::ApprovalId::new("s3cret-challenge").unwrap())
                .with_number(Some(42))
                .into(),
        })
    });
    let both = tower_toopher::EitherVerifier::new(totp, asks);
    let approvals = Approvals::new(both).unwrap().store(MemoryStore::new());
    let events = Events::default();
    let service = ToopherLayer::new(approvals)
        .approvals(|_| Some("sessionid".into()))
        .audit(events.sink())
        .layer(Strict::new(&Calls::default()));
    let (challenge, heard) = listen(|| {
        block_on(async {
            let send = |request| service.clone().oneshot(request);
            let mut first = secretive(None);
            first.headers_mut().remove("toopher-challenge");
            let response = send(first).await.unwrap();
            assert_eq!(response.status(), 202);
            let challenge = response.headers()["toopher-challenge"].to_str().unwrap().to_owned();
            let mut again = secretive(None);
            again.headers_mut().insert("toopher-challenge", challenge.parse().unwrap());
            assert_eq!(send(again).await.unwrap().status(), 202);
            for (otp, status) in [("000000", 401), (CODE, 200), (CODE, 401)] {
                assert_eq!(send(secretive(Some(otp))).await.unwrap().status(), status);
            }
            challenge
        })
    });
    let events: String = events.take().iter().map(untimed).collect();
    assert_eq!(heard.decisions().len(), 5);
    for shown in [events, heard.untimed(), format!("{:?}", heard.metrics)] {
        check(&shown);
        assert!(!shown.contains(&challenge), "{shown}");
    }

    // A grant, from the request that it is issued for to the one that it opens, and one that opens nothing.
    let (totp, clock, _) = totp_verifier();
    let events = Events::default();
    let grants = Grants::new(SealingKey::generate().unwrap(), |_| Some("sessionid".into()), |_, _| Some(7))
        .clock(clock.reading());
    let service = ToopherLayer::new(totp)
        .grants(grants)
        .max_age(Duration::from_secs(60))
        .audit(events.sink())
        .layer(Strict::new(&Calls::default()));
    let (grant, heard) = listen(|| {
        block_on(async {
            let send = |cookie: String, otp| {
                let mut request = secretive(otp);
                request.headers_mut().insert("cookie", cookie.parse().unwrap());
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
    assert!(grant.len() > 40 && events.contains("GrantedEarlier"), "{events}");
    for shown in [events, heard.untimed(), format!("{:?}", heard.metrics)] {
        check(&shown);
        assert!(!shown.contains(&grant), "{shown}");
    }
}

#[test]
fn what_people_write_cannot_forge_a_line() {
    let hostile =
        "mallory\n2026-01-01T00:00:00Z  INFO tower_toopher::audit: granted user=\"admin\" \u{1b}[2J\u{202e}\r";
    let request = || {
        // What a header or a path of http's own types can carry, which is no control character.
        let path = "/a\u{85}b\u{2028}c\u{202e}d\u{9b}31m";
        let mut request = request_of(user(hostile), Some(CODE));
        *request.uri_mut() = http::Uri::from_maybe_shared(path.as_bytes()).unwrap();
        request
    };
    let layer = || {
        gate(|_| Ok(Verdict::Denied(DenyReason::WrongOtp)))
            .action(hostile)
            .request_id(move |_| Some(hostile.into()))
            .terminal(move |_| Some(Terminal::new(hostile)))
    };
    let harmless = |shown: &str| {
        let hidden =
            |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{200b}'..='\u{200f}');
        assert!(!shown.contains(hidden), "{shown:?}");
    };
    // As lines for people, where each event, and each span, is one.
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let service = layer().layer(Strict::new(&Calls::default()));
    tracing::subscriber::with_default(subscriber, || block_on(service.oneshot(request())).unwrap());
    let text = lines.text();
    assert_eq!(text.lines().filter(|line| line.contains("tower_toopher::audit:")).count(), text.lines().count());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(r"mallory\") && text.contains(r"/a\"), "{text}");
    harmless(&text);

    // As JSON, where what is decoded is harmless, too: it ends up on somebody's screen.
    let (_, event, heard) = send(layer(), request());
    for line in heard.lines() {
        harmless(&line.to_string());
        let fields = line["fields"].as_object().unwrap().values();
        for value in fields.chain(line["span"].as_object().into_iter().flat_map(|span| span.values())) {
            value.as_str().inspect(|text| assert!(!text.contains('\n'))).map(harmless);
        }
    }
    // The event itself has what was written, and escapes it where it is printed.
    assert_eq!(event.user().unwrap().as_str(), hostile);
    harmless(&format!("{event:?}"));
    assert!(!format!("{event:?}").contains('\n'));

    // No label of a metric is what people write, and a long text is cut.
    assert!(heard.metrics.keys().all(|key| !key.contains("mallory") && !key.contains("/a")), "{:?}", heard.metrics);
    let mut long = request();
    *long.uri_mut() = format!("/{}", "x".repeat(5000)).parse().unwrap();
    assert_eq!(send(layer(), long).1.path().len(), 1024);
}

#[test]
fn a_sink_that_panics_changes_no_decision_except_to_close() {
    let (granted, wrong) = (Ok(Verdict::Granted(Factor::Totp)), Ok(Verdict::Denied(DenyReason::WrongOtp)));
    let not_enrolled = || Ok(Verdict::Denied(DenyReason::NotEnrolled));
    let cases: [(Result<Verdict, &str>, u16, &str); 4] = [
        (granted, 200, "granted"),
        (wrong, 401, "denied"),
        (Err("down"), 503, "unavailable"),
        // A pass without a factor that nobody could record is none.
        (not_enrolled(), 503, "unavailable"),
    ];
    for (answer, status, outcome) in cases {
        let layer = gate(move |_| answer.clone().map_err(Into::into))
            .not_enrolled(NotEnrolledPolicy::PassUnprotected)
            .audit(|event| panic!("no room for {:?}", event.outcome()));
        let calls = Calls::default();
        let service = layer.layer(Strict::new(&calls));
        let (seen, heard) =
            listen(|| block_on(service.clone().oneshot(request(Some(CODE)))).unwrap().status().as_u16());
        assert_eq!((seen, calls.count()), (status, usize::from(status == 200)));
        assert_eq!(heard.decisions().len(), 1);
        assert_eq!(heard.decisions()[0]["fields"]["outcome"], outcome);
        assert_eq!(heard.metrics["tower_toopher_audit_panics_total{}"], 1);
        assert!(heard.json.contains("the sink of audit events panicked"));
        // The next request is told as well.
        assert_eq!(block_on(service.oneshot(request(Some(CODE)))).unwrap().status().as_u16(), status);
    }
    // What is decided by the head alone.
    for (layer, request, status) in [
        (gate(|_| panic!()).insecure_skip(|_| true), request(None), 200),
        (gate(|_| panic!()).identify(|_| None), request(None), 401),
    ] {
        let service = layer.audit(|_| panic!("full")).layer(Strict::new(&Calls::default()));
        assert_eq!(block_on(service.oneshot(request)).unwrap().status().as_u16(), status);
    }
}

#[test]
fn who_goes_away_before_it_is_decided_has_abandoned_it() {
    let outcomes = |events: &Events| events.take().iter().map(AuditEvent::outcome).collect::<Vec<_>>();
    let poll = |future: std::pin::Pin<&mut dyn Future<Output = _>>| {
        let _: Poll<Result<Response<Body>, std::convert::Infallible>> =
            future.poll(&mut Context::from_waker(Waker::noop()));
    };
    let events = Events::default();
    let verifier = service_fn(|_: Attempt| pending::<Result<Verdict, BoxError>>());
    let layer = ToopherLayer::new(verifier).action("transfer").audit(events.sink());

    // While the verifier is asked: 5 is when the client hung up.
    let mut service = layer.clone().layer(Strict::new(&Calls::default()));
    let ((), heard) = listen(|| {
        let mut future = Box::pin(service.call(request(Some(CODE))));
        poll(future.as_mut());
        assert_eq!(outcomes(&events), []);
    });
    let told = events.take();
    assert_eq!((told.len(), told[0].outcome()), (1, Outcome::Abandoned));
    assert_eq!((told[0].user(), told[0].path()), (Some(&alice()), "/account"));
    assert!(told[0].verifier_time().is_some());
    assert_eq!(heard.decisions()[0]["fields"]["outcome"], "abandoned");
    assert_eq!(heard.metrics["tower_toopher_verifier_seconds{outcome=\"abandoned\"}"], 1);

    // Before it was polled at all.
    drop(service.call(request(Some(CODE))));
    assert_eq!(outcomes(&events), [Outcome::Abandoned]);

    // While the form comes in.
    let stalled = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<bytes::Bytes>, BoxError>>());
    let slow = layer.clone().extractor(HeaderOrForm::default().wrapping());
    let mut slow = slow.layer(service_fn(|_: Request<tower_toopher::ReplayBody<_>>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Body::default()))
    }));
    let form = Request::post("/pay").extension(alice()).header("content-type", "application/x-www-form-urlencoded");
    let mut future = Box::pin(slow.call(form.body(stalled).unwrap()));
    poll(future.as_mut());
    drop(future);
    let told = events.take();
    assert_eq!((told.len(), told[0].outcome(), told[0].path()), (1, Outcome::Abandoned, "/pay"));
    assert_eq!((told[0].user(), told[0].verifier_time()), (Some(&alice()), None));

    // What was decided stays so, however long the inner service takes.
    let granted = ToopherLayer::new(Says::always(Verdict::Granted(Factor::Totp))).audit(events.sink());
    let mut service = granted.layer(service_fn(|_: Request<Body>| pending()));
    let mut future = Box::pin(service.call(request(Some(CODE))));
    poll(future.as_mut());
    drop(future);
    assert_eq!(outcomes(&events), [Outcome::Granted(Factor::Totp)]);

    // A verifier that panics lets nobody in, and that is told as well.
    let panics = ToopherLayer::new(Says::new(|_| panic!("a bug"))).audit(events.sink());
    let service = panics.layer(Strict::new(&Calls::default()));
    let panicked =
        std::panic::catch_unwind(AssertUnwindSafe(|| block_on(service.oneshot(request(Some(CODE)))).is_ok()));
    assert!(panicked.is_err());
    assert_eq!(outcomes(&events), [Outcome::Abandoned]);
}

#[test]
fn what_the_verifier_logs_stands_in_the_span_and_its_time_is_measured() {
    let began = Instant::now();
    let layer = gate(|_| {
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        tracing::info!("from the verifier");
        Ok(Verdict::Granted(Factor::Totp))
    });
    let (_, event, heard) = send(layer, secretive(Some(CODE)));
    let time = event.verifier_time().unwrap();
    assert!(time >= Duration::from_millis(2) && time <= began.elapsed(), "{time:?}");
    let lines = heard.lines();
    let inner = lines.iter().find(|line| line["fields"]["message"] == "from the verifier").unwrap();
    assert_eq!(inner["span"]["name"], "second_factor");
    assert_eq!(inner["span"]["user"], "alice");
    assert_eq!(inner["span"]["action"], "transfer");
    assert_eq!(inner["span"]["request_id"], "request-7");
}

#[test]
fn a_path_that_holds_a_secret_can_be_told_as_something_else() {
    let layer = gate(|_| Ok(Verdict::Granted(Factor::Totp)))
        .audit_path(|parts| parts.uri.path().strip_prefix("/reset/").map(|_| "/reset/{token}".into()));
    for (path, told) in [("/reset/s3cret-challenge?otp=081804", "/reset/{token}"), ("/account", "/account")] {
        let mut request = secretive(Some(CODE));
        *request.uri_mut() = path.parse().unwrap();
        let (_, event, heard) = send(layer.clone(), request);
        assert_eq!(event.path(), told);
        assert!(!heard.json.contains("s3cret-challenge"), "{}", heard.json);
    }
}

/// An application that is not told of anything has nobody who could tell it.
#[test]
fn without_listeners_nothing_is_looked_for() {
    let layer = gate(|_| Ok(Verdict::Granted(Factor::Totp)))
        .request_id(|_| panic!("nobody wants to know"))
        .audit_path(|_| panic!("nobody wants to know"));
    let service = layer.layer(Strict::new(&Calls::default()));
    assert_eq!(block_on(service.oneshot(request(Some(CODE)))).unwrap().status(), 200);
}

#[test]
fn every_name_stands_in_the_table() {
    let table = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/observing.md")).unwrap();
    let listed = |name: &str| assert!(table.contains(&format!("`{name}`")), "{name} is not in docs/observing.md");
    for Case { gate, request, outcome, .. } in cases() {
        let (_, _, heard) = send(gate, request);
        [Some(outcome.name()), outcome.reason(), outcome.factor()].into_iter().flatten().for_each(listed);
        heard.decisions()[0]["fields"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "message")
            .for_each(|n| listed(n));
        heard.metrics.keys().for_each(|key| listed(key.split('{').next().unwrap()));
    }
    for name in
        ["abandoned", "fault_let_pass", "tower_toopher::audit", "second_factor", "tower_toopher_audit_panics_total"]
    {
        listed(name);
    }
}

#[test]
fn metrics_can_be_described() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        tower_toopher::gate::describe_metrics();
        let service = gate(|_| Ok(Verdict::Denied(DenyReason::ReplayedOtp))).layer(Strict::new(&Calls::default()));
        block_on(service.oneshot(request(Some(CODE)))).unwrap();
    });
    let described = recorder.snapshotter().snapshot().into_vec();
    assert_eq!(described.len(), 3);
    for (key, unit, description, _) in described {
        assert!(unit.is_some() && description.is_some_and(|text| text.ends_with('.')), "{key:?}");
    }
}

/// What only serves the telling takes nobody's request down; not while it is dropped either, where a second panic would
/// end the process.
#[test]
fn names_that_cannot_be_found_are_left_out() {
    let events = Events::default();
    let names = || {
        let gate = gate(|_| Ok(Verdict::Granted(Factor::Totp))).audit(events.sink());
        gate.request_id(|_| panic!("a bug")).audit_path(|_| panic!("another"))
    };
    let response = names().layer(Strict::new(&Calls::default())).oneshot(secretive(Some(CODE)));
    assert_eq!(futures_util::FutureExt::now_or_never(response).unwrap().unwrap().status(), 200);
    let told = events.take();
    assert_eq!((told.len(), told[0].request_id(), told[0].path()), (1, None, "/account"));

    let gone = names().extractor(HeaderOrForm::default()).layer(Strict::new(&Calls::default()));
    let unwinding = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut stalls = secretive(None);
        stalls.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let _dropped_by_the_panic = gone.clone().call(stalls);
        panic!("elsewhere");
    }));
    assert!(unwinding.is_err());
    assert_eq!(events.take()[0].outcome(), Outcome::Abandoned);
}
