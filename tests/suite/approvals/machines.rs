//! Approvals on two machines, over each kind of store: requested on one, and polled, redeemed, refused and locked on
//! the other. Each is valid for one request, once.
use std::time::Duration;

use crate::support::phones::{Ask, Decision, LIFETIME, Phones, TestService, approvals, look, service};
use crate::support::stores::over_all_stores;
use crate::support::{Calls, Clock, NEXT_CODE, T, alice, kind, totp_verifier};
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_toopher::approvals::ApprovalStatus;
use tower_toopher::crypto::SealingKey;
use tower_toopher::store::{Admission, ApprovalStore, Store, Throttle};
use tower_toopher::verify::SessionId;
use tower_toopher::{Attempt, DenyReason, RejectionKind, Verdict};

over_all_stores!(
    requested_at_one_and_redeemed_at_the_other,
    waits_at_one_while_it_was_requested_at_the_other,
    refused_at_one_is_refused_at_both,
    a_phone_gets_one_push_at_a_time_and_five_from_both_together,
    an_otp_at_one_ends_the_wait_at_the_other,
    of_twenty_at_once_one_passes,
    an_approval_is_for_one_request,
    a_lock_holds_on_every_way_and_at_both,
    an_approval_expires_at_both,
    with_another_key_tokens_are_invalid,
);

/// Two machines, which share the data behind their stores, the key, and the phones.
struct Machines<S: ApprovalStore> {
    phones: Phones,
    clock: Clock,
    calls: Calls,
    stores: [S; 2],
    services: [TestService<S>; 2],
    status: [ApprovalStatus<Phones, S>; 2],
}

impl<S: ApprovalStore + Clone> Machines<S> {
    fn new(stores: [S; 2]) -> Self {
        let (phones, clock, calls) = (Phones::default(), Clock::from_secs(T), Calls::default());
        let key = SealingKey::generate().unwrap().to_hex();
        let approvals = stores.clone().map(|store| {
            let approvals = approvals(&phones, store, &clock).key(SealingKey::parse(&key).unwrap());
            approvals.poll_interval(Duration::from_millis(100))
        });
        let status = approvals.each_ref().map(|approvals| approvals.status());
        let services = approvals.map(|approvals| service(approvals, &calls));
        Self { phones, clock, calls, stores, services, status }
    }

    /// The state that the status service reports to alice.
    async fn state(&self, at: usize, token: &str) -> String {
        let request = Request::get(format!("/approvals/{token}")).extension(SessionId::new("session=1").unwrap());
        let response = self.status[at].clone().oneshot(request.extension(alice()).body(()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        json["status"].as_str().unwrap().to_owned()
    }

    async fn both_refuse(&self, ask: &Ask, why: RejectionKind) {
        for service in &self.services {
            let response = ask.send(service).await;
            assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(why)));
        }
    }
}

async fn requested_at_one_and_redeemed_at_the_other<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    for (one, other) in [(0, 1), (1, 0)] {
        let token = Ask::default().begin(&machines.services[one]).await;
        let again = Ask::default().token(&token);
        assert_eq!(again.send(&machines.services[other]).await.status(), 202);
        assert_eq!(machines.state(other, &token).await, "pending");
        machines.phones.decide(Decision::Allowed);
        for at in [one, other] {
            assert_eq!(machines.state(at, &token).await, "granted");
        }
        assert_eq!(again.send(&machines.services[other]).await.status(), 200);
        machines.both_refuse(&again, RejectionKind::Denied(DenyReason::InvalidApproval)).await;
        for at in [one, other] {
            assert_eq!(machines.state(at, &token).await, "expired");
        }
    }
    assert_eq!((machines.calls.count(), machines.phones.push_count()), (2, 2));
}

async fn waits_at_one_while_it_was_requested_at_the_other<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let token = Ask::default().begin(&machines.services[0]).await;
    let again = Ask::default().token(&token);
    let (held, service) = (again.clone().wait(30), machines.services[1].clone());
    let held = tokio::spawn(async move { held.send(&service).await.status() });
    let looked = async {
        while machines.phones.poll_count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap();
    assert!(!held.is_finished());
    machines.phones.decide(Decision::Allowed);
    assert_eq!(held.await.unwrap(), 200);
    machines.both_refuse(&again, RejectionKind::Denied(DenyReason::InvalidApproval)).await;
    assert_eq!(machines.calls.count(), 1);
}

async fn refused_at_one_is_refused_at_both<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let token = Ask::default().begin(&machines.services[0]).await;
    let again = Ask::default().token(&token);
    machines.phones.decide(Decision::Denied);
    assert_eq!(kind(&again.send(&machines.services[1]).await), Some(RejectionKind::Denied(DenyReason::DeniedByUser)));
    machines.both_refuse(&again, RejectionKind::Denied(DenyReason::InvalidApproval)).await;
    // Another approval can be requested on the machine that did not poll the decision.
    let _ = Ask::default().header("cookie", "session=2").begin(&machines.services[0]).await;
    assert_eq!((machines.calls.count(), machines.phones.push_count()), (0, 2));
}

/// An attacker with another session neither joins nor causes a second push, on either machine.
async fn a_phone_gets_one_push_at_a_time_and_five_from_both_together<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let thief = Ask::default().header("cookie", "session=2");
    for round in 0..5 {
        let (one, other) = (&machines.services[round % 2], &machines.services[(round + 1) % 2]);
        // Of many concurrent requests, on both machines, one sends a push.
        let flood = (0..20).map(|at| {
            let service = machines.services[at % 2].clone();
            let ask = Ask::default().header("cookie", format!("session={at}"));
            tokio::spawn(async move { ask.send(&service).await.status().as_u16() })
        });
        let statuses: Vec<_> = join_all(flood).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [202, 401].contains(status)), "{statuses:?}");
        machines.clock.advance(LIFETIME.as_secs());
        if round == 4 {
            break;
        }
        let token = Ask::default().begin(one).await;
        let response = thief.send(other).await;
        let already_pending = DenyReason::AlreadyPending { retry_after: LIFETIME };
        assert_eq!(kind(&response), Some(RejectionKind::Denied(already_pending)));
        // The same request joins, with another token.
        assert_ne!(Ask::default().begin(other).await, token);
        machines.phones.decide(Decision::Allowed);
        assert_eq!(Ask::default().token(&token).send(other).await.status(), 200);
    }
    // After each success the count restarted. Now the limit is reached.
    for round in 1..5 {
        let token = Ask::default().begin(&machines.services[round % 2]).await;
        machines.phones.decide(Decision::Denied);
        assert_eq!(Ask::default().token(&token).send(&machines.services[(round + 1) % 2]).await.status(), 401);
    }
    machines.both_refuse(&Ask::default(), RejectionKind::Denied(DenyReason::OtpRequired)).await;
    assert_eq!(machines.phones.push_count(), 5 + 4 + 4);
}

async fn an_otp_at_one_ends_the_wait_at_the_other<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let token = Ask::default().begin(&machines.services[0]).await;
    assert_eq!(Ask::default().otp(Phones::OTP).send(&machines.services[1]).await.status(), 200);
    machines.phones.decide(Decision::Allowed);
    machines.both_refuse(&Ask::default().token(&token), RejectionKind::Denied(DenyReason::InvalidApproval)).await;
    assert_eq!(machines.calls.count(), 1);
}

/// F1: twenty with one token, and twenty that joined and have one each.
async fn of_twenty_at_once_one_passes<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    for joined in [false, true] {
        for round in 0..5 {
            let before = machines.calls.count();
            let first = Ask::default().begin(&machines.services[round % 2]).await;
            let mut tokens = vec![first; 20];
            if joined {
                for (at, token) in tokens.iter_mut().enumerate().skip(1) {
                    *token = Ask::default().begin(&machines.services[at % 2]).await;
                }
            }
            machines.phones.decide(Decision::Allowed);
            let tasks = tokens.into_iter().enumerate().map(|(at, token)| {
                let service = machines.services[at % 2].clone();
                tokio::spawn(async move { Ask::default().token(&token).send(&service).await.status().as_u16() })
            });
            let mut statuses: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
            statuses.sort_unstable();
            assert_eq!(statuses[0], 200);
            assert!(statuses[1..].iter().all(|status| *status == 401), "{statuses:?}");
            assert_eq!(machines.calls.count(), before + 1);
        }
    }
    assert_eq!(machines.phones.push_count(), 10);
}

/// F1, F2: every request that differs in a bound part gets the same bytes as one with an unknown token, and the phone's
/// owner can still approve the right one.
async fn an_approval_is_for_one_request<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let (ask, [one, other]) = (Ask::default, &machines.services);
    let token = ask().begin(one).await;
    machines.phones.decide(Decision::Allowed);
    let unknown = look(ask().token("bm9uc2Vuc2U").send(other).await).await;
    assert_eq!(unknown.0, 401);
    assert_eq!(unknown.1["www-authenticate"], r#"Toopher realm="second factor", error="approval_invalid""#);
    let mut altered = token.clone().into_bytes();
    altered[40] = if altered[40] == b'A' { b'B' } else { b'A' };
    for (what, differing) in [
        ("user", ask().user("bob")),
        ("user's case", ask().user("Alice")),
        ("session", ask().header("cookie", "session=2")),
        ("no session", Ask { headers: [("content-type", "application/json".into())].into(), ..ask() }),
        ("action", ask().header("action", "log in")),
        ("method", Ask { method: "PUT", ..ask() }),
        ("HEAD", Ask { method: "HEAD", ..ask() }),
        ("path", Ask { uri: "/pay/?to=bob", ..ask() }),
        ("query", Ask { uri: "/pay?to=eve", ..ask() }),
        ("no query", Ask { uri: "/pay", ..ask() }),
        ("host", ask().header("host", "other.test")),
        ("authority", Ask { uri: "http://other.test/pay?to=bob", ..ask() }),
        ("port", Ask { uri: "http://shop.test:8080/pay?to=bob", ..ask() }),
        ("body", Ask { body: r#"{"amount":2}"#, ..ask() }),
        ("no body", Ask { body: "", ..ask() }),
        ("longer body", Ask { body: "{\"amount\":1}\n", ..ask() }),
        ("type", ask().header("content-type", "text/plain")),
        ("encoding", ask().header("content-encoding", "gzip")),
    ] {
        let differing = differing.token(&token);
        for service in &machines.services {
            // HEAD has no body to compare.
            let (status, headers, body) = look(differing.send(service).await).await;
            assert_eq!((status, &headers), (401, &unknown.1), "{what}");
            assert!(body == unknown.2 || what == "HEAD", "{what}");
        }
    }
    for (what, altered) in [
        ("altered", std::str::from_utf8(&altered).unwrap()),
        ("cut", &token[1..]),
        ("longer", &format!("{token}A")),
        ("empty", ""),
        ("no text", "\u{e9}"),
        ("far too long", &"A".repeat(10_000)),
    ] {
        assert_eq!(look(ask().token(altered).send(other).await).await, unknown, "{what}");
    }
    assert_eq!((machines.calls.count(), machines.phones.push_count()), (0, 1));
    // The same host, in the header and in the URI, and in capitals.
    let same = Ask { uri: "http://SHOP.test/pay?to=bob", ..ask() };
    assert_eq!(same.token(&token).send(other).await.status(), 200);
    // The second time it is redeemed.
    for service in [one, other] {
        assert_eq!(look(ask().token(&token).send(service).await).await, unknown);
    }
    assert_eq!((machines.calls.count(), machines.phones.push_count()), (1, 1));
}

/// F5: a user who is locked by wrong OTPs on one machine is locked for approvals on both: at the first request, and at
/// a poll. The approval stays pending.
async fn a_lock_holds_on_every_way_and_at_both<S: ApprovalStore + Store + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let (verifier, _, _) = totp_verifier();
    let wrong = Attempt::new(alice(), "log in").with_otp("000000".parse().ok());
    let token = Ask::default().begin(&machines.services[0]).await;
    machines.phones.decide(Decision::Allowed);
    for _ in 0..5 {
        let verdict = verifier.clone().store(machines.stores[0].clone()).oneshot(wrong.clone()).await.unwrap();
        assert_eq!(verdict, Verdict::Denied(DenyReason::WrongOtp));
    }
    // Other users are not affected.
    let _ = Ask::default().user("bob").begin(&machines.services[1]).await;
    let again = Ask::default().token(&token);
    let throttled = DenyReason::Throttled { retry_after: Duration::from_secs(30) };
    for ask in [&again, &Ask::default()] {
        for service in &machines.services {
            let response = ask.send(service).await;
            assert_eq!(
                (kind(&response), &response.headers()["retry-after"]),
                (Some(RejectionKind::Denied(throttled)), &"30".parse().unwrap())
            );
        }
    }
    assert_eq!(machines.state(1, &token).await, "pending");
    assert_eq!(machines.calls.count(), 0);
    machines.clock.advance(30);
    assert_eq!(again.send(&machines.services[1]).await.status(), 200);
    // That success cleared the failures. Then there are too many of them, on both machines in turn.
    let fail = async |at: usize| {
        let now = machines.clock.now();
        machines.stores[at % 2].count_attempt(&alice(), &Throttle::default(), now).await.map_err(Into::into).unwrap()
    };
    for at in 0..5 {
        assert_eq!(fail(at).await, Admission::Admitted);
    }
    for at in 5..100 {
        machines.clock.advance(3600);
        assert_eq!(fail(at).await, Admission::Admitted);
    }
    for service in &machines.services {
        assert_eq!(kind(&Ask::default().send(service).await), Some(RejectionKind::Denied(DenyReason::LockedOut)));
    }
    for store in &machines.stores {
        let right = Attempt::new(alice(), "log in").with_otp(NEXT_CODE.parse().ok());
        let verdict = verifier.clone().store(store.clone()).oneshot(right).await.unwrap();
        assert_eq!(verdict, Verdict::Denied(DenyReason::LockedOut));
    }
    let _ = Ask::default().user("carol").begin(&machines.services[0]).await;
}

async fn an_approval_expires_at_both<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    // It is valid until its last moment, and not after, whatever the decision is.
    for (waited, passes) in [(LIFETIME.as_secs() - 1, true), (LIFETIME.as_secs(), false)] {
        let name = format!("user {waited}");
        let token = Ask::default().user(&name).begin(&machines.services[0]).await;
        machines.phones.decide(Decision::Allowed);
        machines.clock.advance(waited);
        let again = Ask::default().user(&name).token(&token);
        if passes {
            assert_eq!(again.send(&machines.services[1]).await.status(), 200);
        }
        machines.both_refuse(&again, RejectionKind::Denied(DenyReason::InvalidApproval)).await;
        // Only the other machine polled its end, and another approval can be requested.
        let _ = Ask::default().user(&name).begin(&machines.services[0]).await;
    }
    assert_eq!(machines.calls.count(), 1);
}

async fn with_another_key_tokens_are_invalid<S: ApprovalStore + Clone>(stores: [S; 2]) {
    let machines = Machines::new(stores);
    let stranger = service(approvals(&machines.phones, machines.stores[1].clone(), &machines.clock), &machines.calls);
    let token = Ask::default().begin(&machines.services[0]).await;
    machines.phones.decide(Decision::Allowed);
    let again = Ask::default().token(&token);
    assert_eq!(kind(&again.send(&stranger).await), Some(RejectionKind::Denied(DenyReason::InvalidApproval)));
    let (one, other) = tokio::join!(again.send(&machines.services[0]), again.send(&machines.services[1]));
    let mut statuses = [one.status().as_u16(), other.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!((statuses, machines.calls.count()), ([200, 401], 1));
}
