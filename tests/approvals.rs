//! Approvals at the gate: asked for within bounds, and closed when a store fails. That each is for one request, and passes
//! once, is in `approvals_machines.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::phones::{Ask, Gate, LIFETIME, Phones, Says, approvals, gate, layer, look};
use common::{CODE, Calls, Clock, Strict, T, kind};
use futures_util::future::join_all;
use tower::{Layer, service_fn};
use tower_toopher::approvals::{SealingKey, SecondRequest};
use tower_toopher::store::{MemoryStore, PushBudget, PushStore, SqliteStore, Throttle};
use tower_toopher::{
    Approval, Approvals, Attempt, DenyReason, Factor, Header, NotEnrolledPolicy, RejectionKind, Terminal, ToopherLayer,
    Verdict,
};

struct World<S: PushStore> {
    phones: Phones,
    clock: Clock,
    calls: Calls,
    gate: Gate<S>,
}

/// Changes how the approvals are set up.
fn world_with<S: PushStore>(store: S, change: impl FnOnce(Approvals<Phones, S>) -> Approvals<Phones, S>) -> World<S> {
    let (phones, clock, calls) = (Phones::default(), Clock::at(T), Calls::default());
    let gate = gate(change(approvals(&phones, store, &clock)), &calls);
    World { phones, clock, calls, gate }
}

fn world() -> World<MemoryStore> {
    world_with(MemoryStore::new(), |approvals| approvals)
}

#[tokio::test]
async fn what_the_client_is_told_while_the_phone_is_asked() {
    let world = world_with(MemoryStore::new(), |approvals| approvals.status_at("/approvals/"));
    let response = Ask::default().send(&world.gate).await;
    let challenge = response.headers()["toopher-challenge"].to_str().unwrap().to_owned();
    let url = format!("/approvals/{challenge}");
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
        (&body["challenge"], &body["number"], &body["status_url"]),
        (&challenge.into(), &"07".into(), &url.into())
    );
    // HEAD is told the same, without the body.
    let head = Ask { method: "HEAD", body: "", ..Ask::default().header("cookie", "session=2").user("bob") };
    let (status, headers, body) = look(head.send(&world.gate).await).await;
    assert_eq!((status, body.len()), (202, 0));
    assert_ne!(headers["content-length"], "0");
}

#[tokio::test]
async fn one_that_is_over_counts_for_nothing_even_if_it_was_given_in_time() {
    let world = world();
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    world.clock.advance(LIFETIME.as_secs());
    let response = Ask::default().challenge(&challenge).send(&world.gate).await;
    assert_eq!(kind(&response), Some(RejectionKind::UnknownApproval));
    // A clock that is set back does not bring a used one back.
    world.clock.set(T);
    let response = Ask::default().challenge(&challenge).send(&world.gate).await;
    assert_eq!(response.status(), 200);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 401);
    // The last moment counts.
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    world.clock.advance(LIFETIME.as_secs() - 1);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let world = world();
    let challenge = Ask::default().begin(&world.gate).await;
    let again = Ask::default().challenge(&challenge);
    assert_eq!(again.send(&world.gate).await.status(), 202);
    world.phones.answer(Says::No);
    let response = again.send(&world.gate).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(RejectionKind::Refused)));
    assert_eq!(kind(&again.send(&world.gate).await), Some(RejectionKind::UnknownApproval));
    // A new one can be asked for at once.
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);
}

/// Where those pass who have no second factor, nobody becomes one of them while their phone is ringing.
#[tokio::test]
async fn a_phone_that_is_taken_away_while_it_rings_lets_nobody_in() {
    let (phones, clock, calls) = (Phones::default(), Clock::at(T), Calls::default());
    let lets_pass =
        layer(approvals(&phones, MemoryStore::new(), &clock)).not_enrolled(NotEnrolledPolicy::PassUnprotected);
    let gate = lets_pass.layer(Strict::new(&calls));
    let challenge = Ask::default().begin(&gate).await;
    phones.answer(Says::Gone);
    for _ in 0..2 {
        let response = Ask::default().challenge(&challenge).send(&gate).await;
        assert_eq!((kind(&response), calls.count()), (Some(RejectionKind::UnknownApproval), 0));
    }
    // The next request is one of somebody without a phone.
    phones.rule(Some(Verdict::Denied(DenyReason::NotEnrolled)));
    assert_eq!((Ask::default().send(&gate).await.status().as_u16(), calls.count()), (200, 1));
}

/// Somebody without a phone who comes twenty times at once takes the one place that there is, too: each of the twenty is
/// told that there is no phone, and none that it must wait for the others.
#[tokio::test]
async fn who_has_no_phone_is_told_so_in_parallel_too() {
    // As slow as a network, so that they overlap.
    let (asked, counted) = (Calls::default(), Calls::default());
    let count = asked.clone();
    let nobody = service_fn(move |attempt: Attempt| {
        if *attempt.approval() == Approval::Wanted {
            count.add();
        }
        async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Verdict::Denied(DenyReason::NotEnrolled))
        }
    });
    let gate = layer(Approvals::new(nobody).unwrap()).layer(Strict::new(&counted));
    let (one, other) = (Ask::default(), Ask::default().header("cookie", "session=2"));
    let all = join_all((0..20).map(|at| if at % 2 == 0 { one.send(&gate) } else { other.send(&gate) })).await;
    for response in all {
        assert_eq!(kind(&response), Some(RejectionKind::NotEnrolled));
    }
    // One of them had the place; the others came meanwhile.
    assert_eq!((asked.count(), counted.count()), (1, 0));
}

#[tokio::test]
async fn keys_are_replaced_without_losing_anybody() {
    let (old, new) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
    let store = MemoryStore::new();
    let before = world_with(store.clone(), |approvals| approvals.key(old.clone()));
    let keyed = |change: &dyn Fn(Approvals<Phones>) -> Approvals<Phones>| {
        gate(change(approvals(&before.phones, store.clone(), &before.clock)), &before.calls)
    };
    let ready = keyed(&|approvals| approvals.keys(old.clone(), new.clone()));
    let during = keyed(&|approvals| approvals.keys(new.clone(), old.clone()));
    let after = keyed(&|approvals| approvals.key(new.clone()));
    for (sealed_by, opened_by, status) in [
        (&before.gate, &during, 200),
        (&during, &ready, 200),
        (&during, &after, 200),
        (&before.gate, &after, 401),
        (&after, &before.gate, 401),
    ] {
        let challenge = Ask::default().begin(sealed_by).await;
        before.phones.answer(Says::Yes);
        let again = Ask::default().challenge(&challenge);
        assert_eq!(again.send(opened_by).await.status(), status);
        // Whoever has the key can still end it.
        let _ = again.send(sealed_by).await;
    }
}

/// An OTP decides at any time; a right one is the answer to what is waited for.
#[tokio::test]
async fn an_otp_in_the_middle_of_a_wait() {
    let world = world();
    let challenge = Ask::default().begin(&world.gate).await;
    let wrong = Ask::default().challenge(&challenge).otp("000000").send(&world.gate).await;
    assert_eq!(kind(&wrong), Some(RejectionKind::WrongOtp));
    // The phone may still answer.
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 202);
    assert_eq!(Ask::default().challenge(&challenge).otp(CODE).send(&world.gate).await.status(), 200);
    assert_eq!(world.phones.taken_back(), 1);
    world.phones.answer(Says::Yes);
    let late = Ask::default().challenge(&challenge).send(&world.gate).await;
    assert_eq!(kind(&late), Some(RejectionKind::UnknownApproval));
    // Without the challenge the OTP ends the wait as well, and with a wrong one nothing is taken back from anybody.
    let challenge = Ask::default().begin(&world.gate).await;
    let other = Ask::default().header("cookie", "session=2").challenge(&challenge).otp(CODE).send(&world.gate).await;
    assert_eq!((other.status().as_u16(), world.phones.taken_back()), (200, 1));
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 401);
}

/// A page without scripts sends the challenge in its form. OTP and challenge are not part of what is bound.
#[tokio::test]
async fn challenges_in_forms() {
    let world = world();
    let leak = |text: String| -> &'static str { text.leak() };
    let challenge = Ask::default().form("to=bob&amount=1").begin(&world.gate).await;
    let with = |more: &str| Ask::default().form(leak(format!("to=bob&amount=1{more}")));
    let field = format!("&toopher_challenge={challenge}");
    for (form, why) in [
        (with("&toopher_challenge=").send(&world.gate).await, RejectionKind::UnknownApproval),
        (with(&format!("&x=1{field}")).send(&world.gate).await, RejectionKind::UnknownApproval),
        (with(&format!("{field}{field}")).send(&world.gate).await, RejectionKind::AmbiguousOtp),
        (with(&field).challenge("other").send(&world.gate).await, RejectionKind::AmbiguousOtp),
        (with("&Toopher_Challenge=x").send(&world.gate).await, RejectionKind::AmbiguousOtp),
        (with(&format!("{field}&otp=000000")).send(&world.gate).await, RejectionKind::WrongOtp),
        (with(&format!("{field}&otp=")).send(&world.gate).await, RejectionKind::MalformedOtp),
        (with(&field).send(&world.gate).await, RejectionKind::Pending),
        (with(&field).challenge(&challenge).send(&world.gate).await, RejectionKind::Pending),
    ] {
        assert_eq!(kind(&form), Some(why));
    }
    world.phones.answer(Says::Yes);
    assert_eq!(with(&field).send(&world.gate).await.status(), 200);
    assert_eq!(world.phones.rings(), 1);
    // Two lines of the header are two challenges.
    let mut twice = Ask::default().challenge(&challenge).request();
    twice.headers_mut().append("toopher-challenge", challenge.parse().unwrap());
    let response = tower::ServiceExt::oneshot(world.gate.clone(), twice).await.unwrap();
    assert_eq!(kind(&response), Some(RejectionKind::AmbiguousOtp));
}

/// What cannot be bound is not asked for: a body that was not read, a session that nobody names.
#[tokio::test]
async fn no_approval_without_something_to_bind_it_to() {
    let (phones, clock, calls) = (Phones::default(), Clock::at(T), Calls::default());
    let approvals = || approvals(&phones, MemoryStore::new(), &clock);
    let by_header = layer(approvals()).extractor(Header::default()).layer(common::Strict::new(&calls));
    assert_eq!(kind(&Ask::default().send(&by_header).await), Some(RejectionKind::OtpRequired));
    let empty = Ask { method: "GET", body: "", ..Ask::default() };
    assert_eq!(kind(&empty.send(&by_header).await), Some(RejectionKind::Pending));

    let forms_only =
        layer(approvals()).extractor(tower_toopher::HeaderOrForm::default()).layer(common::Strict::new(&calls));
    assert_eq!(kind(&Ask::default().send(&forms_only).await), Some(RejectionKind::OtpRequired));
    assert_eq!(kind(&Ask::default().form("a=1").send(&forms_only).await), Some(RejectionKind::Pending));

    let no_session = Ask { headers: [("content-type", "application/json".into())].into(), ..Ask::default() };
    assert_eq!(kind(&no_session.send(&gate(approvals(), &calls)).await), Some(RejectionKind::OtpRequired));
    // A gate that was not told to wait for anybody does not.
    let plain = ToopherLayer::new(approvals()).layer(common::Strict::new(&calls));
    let response = empty.challenge("abc").send(&plain).await;
    assert_eq!(kind(&response), Some(RejectionKind::OtpRequired));
    assert_eq!((phones.rings(), calls.count()), (2, 0));
}

/// A thief who sends the very same request from a session of their own neither joins nor rings a second time.
#[tokio::test]
async fn only_the_same_request_joins() {
    let world = world();
    let challenge = Ask::default().begin(&world.gate).await;
    for other in [
        Ask::default().header("cookie", "session=2"),
        Ask::default().header("action", "log in"),
        Ask { body: "{}", ..Ask::default() },
    ] {
        let response = other.send(&world.gate).await;
        assert_eq!(kind(&response), Some(RejectionKind::AlreadyPending));
        // To the outside it is a request that lacks an OTP, and can come again later.
        let (status, headers, body) = look(response).await;
        assert_eq!((status, &headers["retry-after"]), (401, &"120".parse().unwrap()));
        assert!(String::from_utf8(body).unwrap().contains("otp_required"));
        // Nor is anybody kept out who has one.
    }
    assert_eq!(Ask::default().user("bob").send(&world.gate).await.status(), 202);
    assert_eq!(world.phones.rings(), 2);
    // The same one joins, with a challenge of its own; whichever comes first passes.
    let joined = Ask::default().begin(&world.gate).await;
    assert_ne!(joined, challenge);
    world.phones.answer(Says::Yes);
    assert_eq!(Ask::default().challenge(&joined).send(&world.gate).await.status(), 200);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 401);

    let refusing = world_with(MemoryStore::new(), |approvals| approvals.second_request(SecondRequest::Refuse));
    let _ = Ask::default().begin(&refusing.gate).await;
    assert_eq!(kind(&Ask::default().send(&refusing.gate).await), Some(RejectionKind::AlreadyPending));

    // Where nothing tells sessions apart, a thief's request would be the same: it does not join.
    let phones = Phones::default();
    let same = |terminal: Option<Terminal>| {
        ToopherLayer::new(approvals(&phones, MemoryStore::new(), &world.clock))
            .approvals(|_| Some("".into()))
            .terminal(move |_| terminal.clone())
            .layer(common::Strict::new(&world.calls))
    };
    let get = Ask { method: "GET", body: "", ..Ask::default() };
    for (terminal, joins) in [
        (None, false),
        (Some(Terminal::new("laptop")), false),
        (Some(Terminal::new("laptop").with_discriminator("")), false),
        (Some(Terminal::new("laptop").with_discriminator("random")), true),
    ] {
        let gate = same(terminal);
        let _ = get.begin(&gate).await;
        assert_eq!(get.send(&gate).await.status(), if joins { 202 } else { 401 });
    }
}

/// So many pushes until the next success, whatever became of them, and one at a time.
#[tokio::test]
async fn a_flood_of_requests_rings_five_times() {
    let world = world();
    let mut later = 0;
    for _ in 0..20 {
        let flood = (0..100).map(|at| {
            let gate = world.gate.clone();
            let ask = Ask::default().header("cookie", format!("session={at}"));
            tokio::spawn(async move { ask.send(&gate).await.status().as_u16() })
        });
        let statuses: Vec<_> = join_all(flood).await.into_iter().map(Result::unwrap).collect();
        assert!(statuses.iter().filter(|status| **status == 202).count() <= 1);
        assert!(statuses.iter().all(|status| [202, 401].contains(status)));
        later += LIFETIME.as_secs();
        world.clock.set(T + later);
    }
    assert_eq!(world.phones.rings(), 5);
    assert_eq!(kind(&Ask::default().send(&world.gate).await), Some(RejectionKind::OtpRequired));
    // Another user is not affected, and the flooded one has an OTP, after which the phone may ring again.
    assert_eq!(Ask::default().user("bob").send(&world.gate).await.status(), 202);
    assert_eq!(Ask::default().otp(CODE).send(&world.gate).await.status(), 200);
    assert_eq!(Ask::default().send(&world.gate).await.status(), 202);
    assert_eq!(world.phones.rings(), 7);
}

#[tokio::test]
async fn a_budget_comes_back_after_its_time_and_with_a_success() {
    let budget = PushBudget::new(2, Duration::from_secs(3600)).unwrap();
    let world = world_with(MemoryStore::new(), |approvals| approvals.budget(budget));
    let refused = async || {
        let challenge = Ask::default().begin(&world.gate).await;
        world.phones.answer(Says::No);
        assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 401);
    };
    refused().await;
    refused().await;
    assert_eq!(Ask::default().send(&world.gate).await.status(), 401);
    world.clock.advance(3601);
    refused().await;
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);
    refused().await;
    refused().await;
    assert_eq!(Ask::default().send(&world.gate).await.status(), 401);
}

/// A rule of the user's that answers at once, and a verifier that cannot ask, ring nobody and count for nothing.
#[tokio::test]
async fn what_does_not_reach_the_phone_does_not_count() {
    let world = world();
    for (verdict, status) in [(Verdict::Granted(Factor::Push), 200), (Verdict::Denied(DenyReason::NotEnrolled), 401)] {
        world.phones.rule(Some(verdict));
        for _ in 0..20 {
            assert_eq!(Ask::default().send(&world.gate).await.status(), status);
        }
    }
    // A verifier that waits for something it cannot name is in trouble.
    world.phones.rule(Some(Verdict::pending(None)));
    let response = Ask::default().send(&world.gate).await;
    assert_eq!((response.status().as_u16(), world.calls.count()), (503, 20));
    world.phones.rule(None);
    assert_eq!(Ask::default().send(&world.gate).await.status(), 202);
}

/// A verifier that is down: 503 and no pass, the approval outlives it, and it costs the user nothing.
#[tokio::test]
async fn a_verifier_that_is_down() {
    let world = world();
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.fail(3);
    for _ in 0..3 {
        assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 503);
    }
    world.phones.answer(Says::Yes);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);

    // Whether the phone rang is not known: it is not asked again for a while, and that hardly uses the budget up.
    for _ in 0..15 {
        world.phones.fail(1);
        assert_eq!(Ask::default().send(&world.gate).await.status(), 503);
        let response = Ask::default().send(&world.gate).await;
        assert_eq!(kind(&response), Some(RejectionKind::AlreadyPending));
        assert_eq!(response.headers()["retry-after"], "30");
        world.clock.advance(30);
    }
    assert_eq!(Ask::default().send(&world.gate).await.status(), 202);
}

/// A store whose verbs fail when they are told to.
#[derive(Clone)]
struct Failing {
    store: MemoryStore,
    fails: Arc<std::sync::Mutex<Option<&'static str>>>,
}

impl Failing {
    fn check(&self, verb: &'static str) -> Result<(), &'static str> {
        if *self.fails.lock().unwrap() == Some(verb) { Err("the store is down") } else { Ok(()) }
    }
}

macro_rules! failing {
    ($($verb:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl PushStore for Failing {
            type Error = &'static str;
            $(async fn $verb(&self, $($arg: $type),*) -> Result<$out, &'static str> {
                self.check(stringify!($verb))?;
                self.store.$verb($($arg),*).await.map_err(|_| "full")
            })*
        }
    };
}

use tower_toopher::store::{AskedPush, BeginPush, FoundPush, NewPush, PushEnd, Ticket};
use tower_toopher::{ApprovalId, UserId};

failing! {
    begin_push(user: &UserId, push: &NewPush, throttle: &Throttle, now: Duration) -> BeginPush;
    keep_push(user: &UserId, ticket: Ticket, id: &ApprovalId, until: Duration) -> bool;
    find_push(user: &UserId, push: &AskedPush, throttle: &Throttle, now: Duration) -> FoundPush;
    redeem_push(user: &UserId, push: &AskedPush, throttle: &Throttle, now: Duration) -> FoundPush;
    end_push(user: &UserId, ticket: Ticket, end: PushEnd) -> ();
    clear_pushes(user: &UserId) -> ();
}

/// E5: whichever verb fails, nobody passes, and it goes on when the store is back.
#[tokio::test]
async fn a_store_that_fails_closes_the_door() {
    let store = Failing { store: MemoryStore::new(), fails: Arc::default() };
    let world = world_with(store.clone(), |approvals| approvals);
    let fails = |verb| *store.fails.lock().unwrap() = verb;
    for verb in ["begin_push", "keep_push"] {
        fails(Some(verb));
        assert_eq!(Ask::default().user(verb).send(&world.gate).await.status(), 503, "{verb}");
    }
    fails(None);
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    for verb in ["find_push", "redeem_push"] {
        fails(Some(verb));
        assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 503, "{verb}");
    }
    assert_eq!(world.calls.count(), 0);
    fails(None);
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 200);
    // What is decided stands, whether or not the place can be given back now.
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::No);
    fails(Some("end_push"));
    assert_eq!(Ask::default().challenge(&challenge).send(&world.gate).await.status(), 401);
    fails(Some("clear_pushes"));
    assert_eq!(Ask::default().otp(CODE).send(&world.gate).await.status(), 200);
}

/// H8: wherever the client hangs up, nothing passes for it later, and the phone does not ring again at once.
#[tokio::test]
async fn hanging_up() {
    let world = world_with(SqliteStore::in_memory().await.unwrap(), |approvals| approvals);
    for polls in 0..200 {
        let mut hasty = Box::pin(tower::ServiceExt::oneshot(world.gate.clone(), Ask::default().request()));
        let mut answered = false;
        for _ in 0..polls {
            if futures_util::poll!(&mut hasty).is_ready() {
                answered = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(hasty);
        let rings = world.phones.rings();
        assert!(rings <= 1, "{polls}");
        if answered {
            break;
        }
    }
    assert_eq!(world.calls.count(), 0);
    world.clock.advance(LIFETIME.as_secs());
    let challenge = Ask::default().begin(&world.gate).await;
    world.phones.answer(Says::Yes);
    // Of those that hang up while they fetch it, at most one has taken it.
    for polls in 0..20 {
        let mut hasty =
            Box::pin(tower::ServiceExt::oneshot(world.gate.clone(), Ask::default().challenge(&challenge).request()));
        for _ in 0..polls {
            if futures_util::poll!(&mut hasty).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    assert!(world.calls.count() <= 1);
}
