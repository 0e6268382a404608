//! Approvals behind the layer: requested within limits, and rejected when a store fails. `machines.rs` tests that each
//! is valid for one request, once.
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::support::phones::{Ask, Decision, LIFETIME, Phones, TestService, approvals, layer, look, service};
use crate::support::{CODE, Calls, Clock, OneShotService, T, alice, kind};
use futures_util::future::join_all;
use tower::{Layer, service_fn};
use tower_toopher::approvals::SecondRequest;
use tower_toopher::crypto::SealingKey;
use tower_toopher::middleware::NotEnrolledPolicy;
use tower_toopher::store::{
    Admission, ApprovalKey, ApprovalLimit, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome,
    MemoryStore, NewApproval, Records, StepOutcome, Store, Throttle, UsedStep,
};
use tower_toopher::time::UnixTime;
use tower_toopher::verify::{ApprovalId, ApprovalMode, RequestBinding};
use tower_toopher::{
    Approvals, Attempt, DenyReason, Factor, Header, RejectionKind, Terminal, ToopherLayer, UserId, Verdict,
};

struct World<S: ApprovalStore> {
    phones: Phones,
    clock: Clock,
    calls: Calls,
    service: TestService<S>,
}

/// The services, with changed settings of `Approvals`.
fn world_with<S: ApprovalStore>(
    store: S,
    change: impl FnOnce(Approvals<Phones, S>) -> Approvals<Phones, S>,
) -> World<S> {
    let (phones, clock, calls) = (Phones::default(), Clock::from_secs(T), Calls::default());
    let service = service(change(approvals(&phones, store, &clock)), &calls);
    World { phones, clock, calls, service }
}

fn is_already_pending<B>(response: &http::Response<B>) -> bool {
    matches!(kind(response), Some(RejectionKind::Denied(DenyReason::AlreadyPending { .. })))
}

fn world() -> World<MemoryStore> {
    world_with(MemoryStore::new(), |approvals| approvals)
}

#[tokio::test]
async fn the_response_while_an_approval_is_pending() {
    let world = world_with(MemoryStore::new(), |approvals| approvals.status_path("/approvals/").unwrap());
    let response = Ask::default().send(&world.service).await;
    let token = response.headers()["toopher-approval"].to_str().unwrap().to_owned();
    let url = format!("/approvals/{token}");
    let (status, headers, body) = look(response).await;
    assert_eq!(
        (status, &headers["retry-after"], &headers["cache-control"]),
        (202, &"2".parse().unwrap(), &"no-store".parse().unwrap())
    );
    assert_eq!(headers["location"], url.as_str());
    assert!(!headers.contains_key("preference-applied"));
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "urn:tower-toopher:pending");
    assert_eq!(
        (&body["approval_token"], &body["number"], &body["status_url"]),
        (&token.into(), &"07".into(), &url.into())
    );
    // HEAD gets the same response without the body.
    let head = Ask { method: "HEAD", body: "", ..Ask::default().header("cookie", "session=2").user("bob") };
    let (status, headers, body) = look(head.send(&world.service).await).await;
    assert_eq!((status, body.len()), (202, 0));
    assert_ne!(headers["content-length"], "0");
}

#[tokio::test]
async fn an_expired_approval_is_invalid_even_if_it_was_allowed_in_time() {
    let world = world();
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    world.clock.advance(LIFETIME.as_secs());
    let response = Ask::default().token(&token).send(&world.service).await;
    assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));
    // A redeemed approval stays redeemed when the clock is set back.
    world.clock.set(T);
    let response = Ask::default().token(&token).send(&world.service).await;
    assert_eq!(response.status(), 200);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 401);
    // It is valid until the last moment.
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    world.clock.advance(LIFETIME.as_secs() - 1);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);
}

#[tokio::test]
async fn a_denial_ends_the_approval() {
    let world = world();
    let token = Ask::default().begin(&world.service).await;
    let again = Ask::default().token(&token);
    assert_eq!(again.send(&world.service).await.status(), 202);
    world.phones.decide(Decision::Denied);
    let response = again.send(&world.service).await;
    assert_eq!(
        (response.status().as_u16(), kind(&response)),
        (401, Some(RejectionKind::Denied(DenyReason::DeniedByUser)))
    );
    assert_eq!(kind(&again.send(&world.service).await), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));
    // Another approval can be requested at once.
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);
}

/// Where users without a second factor are allowed, the removal of the phone during an approval grants nothing.
#[tokio::test]
async fn a_phone_that_is_removed_during_an_approval_grants_nothing() {
    let (phones, clock, calls) = (Phones::default(), Clock::from_secs(T), Calls::default());
    let lets_pass =
        layer(approvals(&phones, MemoryStore::new(), &clock)).not_enrolled(NotEnrolledPolicy::InsecureAllow);
    let service = lets_pass.layer(OneShotService::new(&calls));
    let token = Ask::default().begin(&service).await;
    phones.decide(Decision::Gone);
    for _ in 0..2 {
        let response = Ask::default().token(&token).send(&service).await;
        assert_eq!((kind(&response), calls.count()), (Some(RejectionKind::Denied(DenyReason::InvalidApproval)), 0));
    }
    // The next request is from a user without a phone.
    phones.set_rule(Some(Verdict::Denied(DenyReason::NotEnrolled)));
    assert_eq!((Ask::default().send(&service).await.status().as_u16(), calls.count()), (200, 1));
}

/// Twenty concurrent requests of a user without a phone share the one pending approval: each is rejected because there
/// is no phone, and none because another approval is pending.
#[tokio::test]
async fn concurrent_requests_without_a_phone_are_not_enrolled() {
    // As slow as a network, so that they overlap.
    let (asked, counted) = (Calls::default(), Calls::default());
    let count = asked.clone();
    let no_phones = service_fn(move |attempt: Attempt| {
        if *attempt.approval_mode() == ApprovalMode::Request {
            count.add();
        }
        async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Verdict::Denied(DenyReason::NotEnrolled))
        }
    });
    let service = layer(Approvals::new(no_phones).unwrap()).layer(OneShotService::new(&counted));
    let (one, other) = (Ask::default(), Ask::default().header("cookie", "session=2"));
    let all = join_all((0..20).map(|at| if at % 2 == 0 { one.send(&service) } else { other.send(&service) })).await;
    for response in all {
        assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::NotEnrolled)));
    }
    // One of them began an approval. The others came while it was pending.
    assert_eq!((asked.count(), counted.count()), (1, 0));
}

#[tokio::test]
async fn keys_are_replaced_without_losing_an_approval() {
    let (old, new) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
    let store = MemoryStore::new();
    let before = world_with(store.clone(), |approvals| approvals.key(old.clone()));
    let keyed = |change: &dyn Fn(Approvals<Phones>) -> Approvals<Phones>| {
        service(change(approvals(&before.phones, store.clone(), &before.clock)), &before.calls)
    };
    let ready = keyed(&|approvals| approvals.key(old.clone()).previous_key(new.clone()));
    let during = keyed(&|approvals| approvals.key(new.clone()).previous_key(old.clone()));
    let after = keyed(&|approvals| approvals.key(new.clone()));
    for (sealed_by, opened_by, status) in [
        (&before.service, &during, 200),
        (&during, &ready, 200),
        (&during, &after, 200),
        (&before.service, &after, 401),
        (&after, &before.service, 401),
    ] {
        let token = Ask::default().begin(sealed_by).await;
        before.phones.decide(Decision::Allowed);
        let again = Ask::default().token(&token);
        assert_eq!(again.send(opened_by).await.status(), status);
        // A process with the key can still redeem it.
        let _ = again.send(sealed_by).await;
    }
}

/// An OTP decides at any time. A right one ends the pending approval.
#[tokio::test]
async fn an_otp_while_an_approval_is_pending() {
    let world = world();
    let token = Ask::default().begin(&world.service).await;
    let wrong = Ask::default().token(&token).otp("000000").send(&world.service).await;
    assert_eq!(kind(&wrong), Some(RejectionKind::Denied(DenyReason::WrongOtp)));
    // The user may still decide.
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 202);
    assert_eq!(Ask::default().token(&token).otp(CODE).send(&world.service).await.status(), 200);
    assert_eq!(world.phones.cancelled_count(), 1);
    world.phones.decide(Decision::Allowed);
    let late = Ask::default().token(&token).send(&world.service).await;
    assert_eq!(kind(&late), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));
    // Without the token the OTP ends the approval as well, and a wrong one ends nothing.
    let token = Ask::default().begin(&world.service).await;
    let other = Ask::default().header("cookie", "session=2").token(&token).otp(CODE).send(&world.service).await;
    assert_eq!((other.status().as_u16(), world.phones.cancelled_count()), (200, 1));
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 401);
}

/// A page without scripts sends the token in its form. An approval is not bound to the OTP and the token.
#[tokio::test]
async fn tokens_in_forms() {
    let world = world();
    let leak = |text: String| -> &'static str { text.leak() };
    let token = Ask::default().form("to=bob&amount=1").begin(&world.service).await;
    let with = |more: &str| Ask::default().form(leak(format!("to=bob&amount=1{more}")));
    let field = format!("&toopher_approval={token}");
    for (form, why) in [
        (with("&toopher_approval=").send(&world.service).await, RejectionKind::Denied(DenyReason::InvalidApproval)),
        (with(&format!("&x=1{field}")).send(&world.service).await, RejectionKind::Denied(DenyReason::InvalidApproval)),
        (with(&format!("{field}{field}")).send(&world.service).await, RejectionKind::AmbiguousOtp),
        (with(&field).token("other").send(&world.service).await, RejectionKind::AmbiguousOtp),
        (with("&Toopher_Approval=x").send(&world.service).await, RejectionKind::AmbiguousOtp),
        (with(&format!("{field}&otp=000000")).send(&world.service).await, RejectionKind::Denied(DenyReason::WrongOtp)),
        (with(&format!("{field}&otp=")).send(&world.service).await, RejectionKind::MalformedOtp),
        (with(&field).send(&world.service).await, RejectionKind::Pending),
        (with(&field).token(&token).send(&world.service).await, RejectionKind::Pending),
    ] {
        assert_eq!(kind(&form), Some(why));
    }
    world.phones.decide(Decision::Allowed);
    assert_eq!(with(&field).send(&world.service).await.status(), 200);
    assert_eq!(world.phones.push_count(), 1);
    // Two lines of the header are two tokens.
    let mut twice = Ask::default().token(&token).request();
    twice.headers_mut().append("toopher-approval", token.parse().unwrap());
    let response = tower::ServiceExt::oneshot(world.service.clone(), twice).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::AmbiguousOtp));
}

/// Without a binding no approval is requested: with an unread body, or without a session.
#[tokio::test]
async fn no_approval_without_a_binding() {
    let (phones, clock, calls) = (Phones::default(), Clock::from_secs(T), Calls::default());
    let approvals = || approvals(&phones, MemoryStore::new(), &clock);
    let by_header = layer(approvals()).extractor(Header::default()).layer(OneShotService::new(&calls));
    assert_eq!(kind(&Ask::default().send(&by_header).await), Some(RejectionKind::Denied(DenyReason::OtpRequired)));
    let empty = Ask { method: "GET", body: "", ..Ask::default() };
    assert_eq!(kind(&empty.send(&by_header).await), Some(RejectionKind::Pending));

    let forms_only =
        layer(approvals()).extractor(tower_toopher::HeaderOrForm::default()).layer(OneShotService::new(&calls));
    assert_eq!(kind(&Ask::default().send(&forms_only).await), Some(RejectionKind::Denied(DenyReason::OtpRequired)));
    assert_eq!(kind(&Ask::default().form("a=1").send(&forms_only).await), Some(RejectionKind::Pending));

    let no_session = Ask { headers: [("content-type", "application/json".into())].into(), ..Ask::default() };
    assert_eq!(
        kind(&no_session.send(&service(approvals(), &calls)).await),
        Some(RejectionKind::Denied(DenyReason::OtpRequired))
    );
    // A layer without approvals requests none.
    let plain = ToopherLayer::new(approvals()).layer(OneShotService::new(&calls));
    let response = empty.token("abc").send(&plain).await;
    assert_eq!(kind(&response), Some(RejectionKind::Denied(DenyReason::OtpRequired)));
    assert_eq!((phones.push_count(), calls.count()), (2, 0));
}

/// An attacker who sends the same request from another session neither joins nor causes a second push.
#[tokio::test]
async fn only_the_same_request_joins() {
    let world = world();
    let token = Ask::default().begin(&world.service).await;
    for other in [
        Ask::default().header("cookie", "session=2"),
        Ask::default().header("action", "log in"),
        Ask { body: "{}", ..Ask::default() },
    ] {
        let response = other.send(&world.service).await;
        assert!(is_already_pending(&response));
        // To the outside it is a request without an OTP, which the client can repeat later.
        let (status, headers, body) = look(response).await;
        assert_eq!((status, &headers["retry-after"]), (401, &"120".parse().unwrap()));
        assert!(String::from_utf8(body).unwrap().contains("otp_required"));
        // The user can still enter an OTP.
    }
    assert_eq!(Ask::default().user("bob").send(&world.service).await.status(), 202);
    assert_eq!(world.phones.push_count(), 2);
    // The same request joins, with another token. The first of them that is repeated is granted.
    let joined = Ask::default().begin(&world.service).await;
    assert_ne!(joined, token);
    world.phones.decide(Decision::Allowed);
    assert_eq!(Ask::default().token(&joined).send(&world.service).await.status(), 200);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 401);

    let refusing = world_with(MemoryStore::new(), |approvals| approvals.second_request(SecondRequest::Refuse));
    let _ = Ask::default().begin(&refusing.service).await;
    assert!(is_already_pending(&Ask::default().send(&refusing.service).await));

    // Without a session and a random discriminator an attacker's request would be the same: it does not join.
    let phones = Phones::default();
    let (parts, ()) = http::Request::get("/pay").body(()).unwrap().into_parts();
    for (terminal, joins) in [
        (None, false),
        (Some(Terminal::new("laptop")), false),
        (Some(Terminal::new("laptop").with_discriminator("")), false),
        (Some(Terminal::new("laptop").with_discriminator("random")), true),
    ] {
        let approvals = approvals(&phones, MemoryStore::new(), &world.clock);
        let request = RequestBinding::new(&parts, None, Some(bytes::Bytes::new()));
        let attempt = Attempt::new(alice(), "pay").with_request(request).with_terminal(terminal);
        let verify = || tower::ServiceExt::oneshot(approvals.clone(), attempt.clone());
        assert!(matches!(verify().await.unwrap(), Verdict::Pending(_)));
        match verify().await.unwrap() {
            Verdict::Pending(_) => assert!(joins),
            verdict => {
                let already_pending = DenyReason::AlreadyPending { retry_after: LIFETIME };
                assert_eq!((verdict, joins), (Verdict::Denied(already_pending), false));
            }
        }
    }
}

/// Five pushes until the next success, whatever the decisions are, and one at a time.
#[tokio::test]
async fn a_flood_of_requests_sends_five_pushes() {
    let world = world();
    let mut later = 0;
    for _ in 0..20 {
        let flood = (0..100).map(|at| {
            let service = world.service.clone();
            let ask = Ask::default().header("cookie", format!("session={at}"));
            tokio::spawn(async move { ask.send(&service).await.status().as_u16() })
        });
        let statuses: Vec<_> = join_all(flood).await.into_iter().map(Result::unwrap).collect();
        assert!(statuses.iter().filter(|status| **status == 202).count() <= 1);
        assert!(statuses.iter().all(|status| [202, 401].contains(status)));
        later += LIFETIME.as_secs();
        world.clock.set(T + later);
    }
    assert_eq!(world.phones.push_count(), 5);
    assert_eq!(kind(&Ask::default().send(&world.service).await), Some(RejectionKind::Denied(DenyReason::OtpRequired)));
    // Another user is not affected. The flooded user can enter an OTP, after which pushes are possible again.
    assert_eq!(Ask::default().user("bob").send(&world.service).await.status(), 202);
    assert_eq!(Ask::default().otp(CODE).send(&world.service).await.status(), 200);
    assert_eq!(Ask::default().send(&world.service).await.status(), 202);
    assert_eq!(world.phones.push_count(), 7);
}

#[tokio::test]
async fn the_limit_is_reset_after_its_time_and_by_a_success() {
    let limit = ApprovalLimit::new(2, Duration::from_secs(3600)).unwrap();
    let world = world_with(MemoryStore::new(), |approvals| approvals.limit(limit));
    let refused = async || {
        let token = Ask::default().begin(&world.service).await;
        world.phones.decide(Decision::Denied);
        assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 401);
    };
    refused().await;
    refused().await;
    assert_eq!(Ask::default().send(&world.service).await.status(), 401);
    world.clock.advance(3601);
    refused().await;
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);
    refused().await;
    refused().await;
    assert_eq!(Ask::default().send(&world.service).await.status(), 401);
}

/// An immediate decision by a rule, and a verifier without phones, send no push and are not counted.
#[tokio::test]
async fn a_request_that_does_not_reach_the_phone_does_not_count() {
    let world = world();
    for (verdict, status) in [(Verdict::Granted(Factor::Push), 200), (Verdict::Denied(DenyReason::NotEnrolled), 401)] {
        world.phones.set_rule(Some(verdict));
        for _ in 0..20 {
            assert_eq!(Ask::default().send(&world.service).await.status(), status);
        }
    }
    // A pending verdict without an id is an error of the verifier.
    world.phones.set_rule(Some(Verdict::pending(None)));
    let response = Ask::default().send(&world.service).await;
    assert_eq!((response.status().as_u16(), world.calls.count()), (503, 20));
    world.phones.set_rule(None);
    assert_eq!(Ask::default().send(&world.service).await.status(), 202);
}

/// A verifier that is down: the response is 503, the approval remains pending, and no push is counted.
#[tokio::test]
async fn a_verifier_that_is_down() {
    let world = world();
    let token = Ask::default().begin(&world.service).await;
    world.phones.fail(3);
    for _ in 0..3 {
        assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 503);
    }
    world.phones.decide(Decision::Allowed);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);

    // It is unknown whether the push was sent: no other one is sent for a while, and it counts a quarter.
    for _ in 0..15 {
        world.phones.fail(1);
        assert_eq!(Ask::default().send(&world.service).await.status(), 503);
        let response = Ask::default().send(&world.service).await;
        assert!(is_already_pending(&response));
        assert_eq!(response.headers()["retry-after"], "30");
        world.clock.advance(30);
    }
    assert_eq!(Ask::default().send(&world.service).await.status(), 202);
}

/// A store whose operations fail on demand.
#[derive(Clone)]
struct Failing {
    store: MemoryStore,
    fails: Arc<std::sync::Mutex<Option<&'static str>>>,
}

impl Failing {
    fn check(&self, operation: &'static str) -> Result<(), &'static str> {
        if *self.fails.lock().unwrap() == Some(operation) { Err("the store is down") } else { Ok(()) }
    }
}

macro_rules! failing {
    ($trait:ident $({ $($item:item)* })?: $($operation:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl $trait for Failing {
            $($($item)*)?
            $(async fn $operation(&self, $($arg: $type),*) -> Result<$out, &'static str> {
                self.check(stringify!($operation))?;
                self.store.$operation($($arg),*).await.map_err(|_| "full")
            })*
        }
    };
}

failing! {
    Store { type Error = &'static str; }:
    count_attempt(user: &UserId, throttle: &Throttle, now: UnixTime) -> Admission;
    release_attempt(user: &UserId, throttle: &Throttle) -> ();
    record_step(user: &UserId, used: &UsedStep, now: UnixTime) -> StepOutcome;
    clear(user: &UserId, records: Records) -> ();
}

failing! {
    ApprovalStore:
    begin_approval(user: &UserId, approval: &NewApproval, throttle: &Throttle, now: UnixTime) -> BeginOutcome;
    set_approval_id(user: &UserId, key: ApprovalKey, id: &ApprovalId, until: UnixTime) -> bool;
    find_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
    redeem_approval(user: &UserId, approval: &ApprovalRef, throttle: &Throttle, now: UnixTime) -> FindOutcome;
    end_approval(user: &UserId, key: ApprovalKey, reason: EndReason) -> ();
}

/// E5: whichever operation fails, no request is granted, and the approval continues when the store works again.
#[tokio::test]
async fn a_store_that_fails_is_503() {
    let store = Failing { store: MemoryStore::new(), fails: Arc::default() };
    let world = world_with(store.clone(), |approvals| approvals);
    let fails = |operation| *store.fails.lock().unwrap() = operation;
    for operation in ["begin_approval", "set_approval_id"] {
        fails(Some(operation));
        assert_eq!(Ask::default().user(operation).send(&world.service).await.status(), 503, "{operation}");
    }
    fails(None);
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    for operation in ["find_approval", "redeem_approval"] {
        fails(Some(operation));
        assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 503, "{operation}");
    }
    assert_eq!(world.calls.count(), 0);
    fails(None);
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 200);
    // A decision is final, even if the approval cannot be ended now.
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Denied);
    fails(Some("end_approval"));
    assert_eq!(Ask::default().token(&token).send(&world.service).await.status(), 401);
    fails(Some("clear"));
    assert_eq!(Ask::default().otp(CODE).send(&world.service).await.status(), 200);
}

/// H8: wherever the client disconnects, no request is granted for it later, and no second push is sent at once.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_client_that_disconnects() {
    let world = world_with(tower_toopher::store::SqliteStore::in_memory().await.unwrap(), |approvals| approvals);
    for polls in 0..200 {
        let mut hasty = Box::pin(tower::ServiceExt::oneshot(world.service.clone(), Ask::default().request()));
        let mut answered = false;
        for _ in 0..polls {
            if futures_util::poll!(&mut hasty).is_ready() {
                answered = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(hasty);
        let requests = world.phones.push_count();
        assert!(requests <= 1, "{polls}");
        if answered {
            break;
        }
    }
    assert_eq!(world.calls.count(), 0);
    world.clock.advance(LIFETIME.as_secs());
    let token = Ask::default().begin(&world.service).await;
    world.phones.decide(Decision::Allowed);
    // Of the clients that disconnect while they fetch the decision, at most one has redeemed it.
    for polls in 0..20 {
        let mut hasty =
            Box::pin(tower::ServiceExt::oneshot(world.service.clone(), Ask::default().token(&token).request()));
        for _ in 0..polls {
            if futures_util::poll!(&mut hasty).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert!(world.calls.count() <= 1);
}
