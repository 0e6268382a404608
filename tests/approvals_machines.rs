//! Approvals on two machines, over each kind of store: asked for at one, and waited for, redeemed, refused and locked at
//! the other, as if they were one. Each is for one request, and passes once.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::phones::{Ask, Gate, LIFETIME, Phones, Says, approvals, gate, look, session};
use common::stores::over_all_stores;
use common::{Calls, Clock, NEXT_CODE, T, alice, kind, totp_verifier};
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_toopher::approvals::{ApprovalStatus, SealingKey};
use tower_toopher::store::{Admission, PushStore, Store, Throttle};
use tower_toopher::{Attempt, DenyReason, RejectionKind, Verdict};

over_all_stores!(
    asked_at_one_and_redeemed_at_the_other,
    held_at_one_while_it_was_asked_at_the_other,
    refused_at_one_is_refused_at_both,
    a_phone_is_asked_once_and_five_times_by_both_together,
    an_otp_at_one_ends_the_wait_at_the_other,
    of_twenty_at_once_one_passes,
    an_approval_is_for_one_request,
    a_lock_holds_on_every_way_and_at_both,
    one_that_is_over_is_over_at_both,
    with_another_key_it_is_another_gate,
);

/// All that two machines share is behind their stores, in the key that each has read, and on the phone.
struct Machines<S: PushStore> {
    phones: Phones,
    clock: Clock,
    calls: Calls,
    stores: [S; 2],
    gates: [Gate<S>; 2],
    status: [ApprovalStatus<Phones, S>; 2],
}

impl<S: PushStore + Clone> Machines<S> {
    fn over(stores: [S; 2]) -> Self {
        let (phones, clock, calls) = (Phones::default(), Clock::at(T), Calls::default());
        let key = SealingKey::generate().unwrap().to_hex();
        let approvals = stores.clone().map(|store| {
            let approvals = approvals(&phones, store, &clock).key(SealingKey::parse(&key).unwrap());
            approvals.poll_every(Duration::from_millis(100))
        });
        let status = approvals.each_ref().map(|approvals| approvals.status().session(session));
        let gates = approvals.map(|approvals| gate(approvals, &calls));
        Self { phones, clock, calls, stores, gates, status }
    }

    /// What a page of alice's is told.
    async fn standing(&self, at: usize, challenge: &str) -> String {
        let request = Request::get(format!("/approvals/{challenge}")).header("cookie", "session=1");
        let response = self.status[at].clone().oneshot(request.extension(alice()).body(()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
        said["status"].as_str().unwrap().to_owned()
    }

    async fn both_refuse(&self, ask: &Ask, why: RejectionKind) {
        for gate in &self.gates {
            let response = ask.send(gate).await;
            assert_eq!((response.status().as_u16(), kind(&response)), (401, Some(why)));
        }
    }
}

async fn asked_at_one_and_redeemed_at_the_other<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    for (one, other) in [(0, 1), (1, 0)] {
        let challenge = Ask::default().begin(&machines.gates[one]).await;
        let again = Ask::default().challenge(&challenge);
        assert_eq!(again.send(&machines.gates[other]).await.status(), 202);
        assert_eq!(machines.standing(other, &challenge).await, "pending");
        machines.phones.answer(Says::Yes);
        for at in [one, other] {
            assert_eq!(machines.standing(at, &challenge).await, "granted");
        }
        assert_eq!(again.send(&machines.gates[other]).await.status(), 200);
        machines.both_refuse(&again, RejectionKind::UnknownApproval).await;
        for at in [one, other] {
            assert_eq!(machines.standing(at, &challenge).await, "expired");
        }
    }
    assert_eq!((machines.calls.count(), machines.phones.rings()), (2, 2));
}

async fn held_at_one_while_it_was_asked_at_the_other<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let challenge = Ask::default().begin(&machines.gates[0]).await;
    let again = Ask::default().challenge(&challenge);
    let (held, gate) = (again.clone().wait(30), machines.gates[1].clone());
    let held = tokio::spawn(async move { held.send(&gate).await.status() });
    let looked = async {
        while machines.phones.polls() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap();
    assert!(!held.is_finished());
    machines.phones.answer(Says::Yes);
    assert_eq!(held.await.unwrap(), 200);
    machines.both_refuse(&again, RejectionKind::UnknownApproval).await;
    assert_eq!(machines.calls.count(), 1);
}

async fn refused_at_one_is_refused_at_both<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let challenge = Ask::default().begin(&machines.gates[0]).await;
    let again = Ask::default().challenge(&challenge);
    machines.phones.answer(Says::No);
    assert_eq!(kind(&again.send(&machines.gates[1]).await), Some(RejectionKind::Refused));
    machines.both_refuse(&again, RejectionKind::UnknownApproval).await;
    // The place is free, at the one that has not heard the answer.
    let _ = Ask::default().header("cookie", "session=2").begin(&machines.gates[0]).await;
    assert_eq!((machines.calls.count(), machines.phones.rings()), (0, 2));
}

/// A thief with a session of their own neither joins nor rings a second time, whichever machine they find.
async fn a_phone_is_asked_once_and_five_times_by_both_together<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let thief = Ask::default().header("cookie", "session=2");
    for round in 0..5 {
        let (one, other) = (&machines.gates[round % 2], &machines.gates[(round + 1) % 2]);
        // Of many at once, at both, one has the phone asked.
        let flood = (0..20).map(|at| {
            let gate = machines.gates[at % 2].clone();
            let ask = Ask::default().header("cookie", format!("session={at}"));
            tokio::spawn(async move { ask.send(&gate).await.status().as_u16() })
        });
        let statuses: Vec<_> = join_all(flood).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [202, 401].contains(status)), "{statuses:?}");
        machines.clock.advance(LIFETIME.as_secs());
        if round == 4 {
            break;
        }
        let challenge = Ask::default().begin(one).await;
        assert_eq!(kind(&thief.send(other).await), Some(RejectionKind::AlreadyPending));
        // The same one joins, and has a challenge of its own.
        assert_ne!(Ask::default().begin(other).await, challenge);
        machines.phones.answer(Says::Yes);
        assert_eq!(Ask::default().challenge(&challenge).send(other).await.status(), 200);
    }
    // A success each time, so the budget was not used up; now it is.
    for round in 1..5 {
        let challenge = Ask::default().begin(&machines.gates[round % 2]).await;
        machines.phones.answer(Says::No);
        assert_eq!(Ask::default().challenge(&challenge).send(&machines.gates[(round + 1) % 2]).await.status(), 401);
    }
    machines.both_refuse(&Ask::default(), RejectionKind::OtpRequired).await;
    assert_eq!(machines.phones.rings(), 5 + 4 + 4);
}

async fn an_otp_at_one_ends_the_wait_at_the_other<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let challenge = Ask::default().begin(&machines.gates[0]).await;
    assert_eq!(Ask::default().otp(Phones::OTP).send(&machines.gates[1]).await.status(), 200);
    machines.phones.answer(Says::Yes);
    machines.both_refuse(&Ask::default().challenge(&challenge), RejectionKind::UnknownApproval).await;
    assert_eq!(machines.calls.count(), 1);
}

/// F1: twenty with one challenge, and twenty that joined and have one each.
async fn of_twenty_at_once_one_passes<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    for joined in [false, true] {
        for round in 0..5 {
            let before = machines.calls.count();
            let first = Ask::default().begin(&machines.gates[round % 2]).await;
            let mut challenges = vec![first; 20];
            if joined {
                for (at, challenge) in challenges.iter_mut().enumerate().skip(1) {
                    *challenge = Ask::default().begin(&machines.gates[at % 2]).await;
                }
            }
            machines.phones.answer(Says::Yes);
            let tasks = challenges.into_iter().enumerate().map(|(at, challenge)| {
                let gate = machines.gates[at % 2].clone();
                tokio::spawn(async move { Ask::default().challenge(&challenge).send(&gate).await.status().as_u16() })
            });
            let mut statuses: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
            statuses.sort_unstable();
            assert_eq!(statuses[0], 200);
            assert!(statuses[1..].iter().all(|status| *status == 401), "{statuses:?}");
            assert_eq!(machines.calls.count(), before + 1);
        }
    }
    assert_eq!(machines.phones.rings(), 10);
}

/// F1, F2: every request that is not the same in all that matters is told what an unknown challenge is told, byte for
/// byte, and the phone's owner can still say yes to the right one.
async fn an_approval_is_for_one_request<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let (ask, [one, other]) = (Ask::default, &machines.gates);
    let challenge = ask().begin(one).await;
    machines.phones.answer(Says::Yes);
    let unknown = look(ask().challenge("bm9uc2Vuc2U").send(other).await).await;
    assert_eq!(unknown.0, 401);
    assert_eq!(unknown.1["www-authenticate"], r#"Toopher realm="second factor", error="challenge_invalid""#);
    let mut altered = challenge.clone().into_bytes();
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
        let differing = differing.challenge(&challenge);
        for gate in &machines.gates {
            // HEAD has no body to compare.
            let (status, headers, body) = look(differing.send(gate).await).await;
            assert_eq!((status, &headers), (401, &unknown.1), "{what}");
            assert!(body == unknown.2 || what == "HEAD", "{what}");
        }
    }
    for (what, altered) in [
        ("altered", std::str::from_utf8(&altered).unwrap()),
        ("cut", &challenge[1..]),
        ("longer", &format!("{challenge}A")),
        ("empty", ""),
        ("no text", "\u{e9}"),
        ("far too long", &"A".repeat(10_000)),
    ] {
        assert_eq!(look(ask().challenge(altered).send(other).await).await, unknown, "{what}");
    }
    assert_eq!((machines.calls.count(), machines.phones.rings()), (0, 1));
    // The same host, said twice and in capitals.
    let same = Ask { uri: "http://SHOP.test/pay?to=bob", ..ask() };
    assert_eq!(same.challenge(&challenge).send(other).await.status(), 200);
    // Twice: it is used.
    for gate in [one, other] {
        assert_eq!(look(ask().challenge(&challenge).send(gate).await).await, unknown);
    }
    assert_eq!((machines.calls.count(), machines.phones.rings()), (1, 1));
}

/// F5: whoever is locked by wrong OTPs at one is locked at both on the way by the phone as well: at the first request, and
/// when it is fetched. The approval is not burnt by that.
async fn a_lock_holds_on_every_way_and_at_both<S: PushStore + Store + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let (verifier, _, _) = totp_verifier();
    let wrong = Attempt::new(alice(), "log in").with_otp("000000".parse().ok());
    let challenge = Ask::default().begin(&machines.gates[0]).await;
    machines.phones.answer(Says::Yes);
    for _ in 0..5 {
        let said = verifier.clone().store(machines.stores[0].clone()).oneshot(wrong.clone()).await.unwrap();
        assert_eq!(said, Verdict::Denied(DenyReason::WrongOtp));
    }
    // Which is no matter to anybody else.
    let _ = Ask::default().user("bob").begin(&machines.gates[1]).await;
    let again = Ask::default().challenge(&challenge);
    for ask in [&again, &Ask::default()] {
        for gate in &machines.gates {
            let response = ask.send(gate).await;
            assert_eq!(
                (kind(&response), &response.headers()["retry-after"]),
                (Some(RejectionKind::Throttled), &"30".parse().unwrap())
            );
        }
    }
    assert_eq!(machines.standing(1, &challenge).await, "pending");
    assert_eq!(machines.calls.count(), 0);
    machines.clock.advance(30);
    assert_eq!(again.send(&machines.gates[1]).await.status(), 200);
    // That was a success, so the failures are forgotten, and then there are too many of them, at both in turn.
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
    for gate in &machines.gates {
        assert_eq!(kind(&Ask::default().send(gate).await), Some(RejectionKind::LockedOut));
    }
    for store in &machines.stores {
        let right = Attempt::new(alice(), "log in").with_otp(NEXT_CODE.parse().ok());
        let said = verifier.clone().store(store.clone()).oneshot(right).await.unwrap();
        assert_eq!(said, Verdict::Denied(DenyReason::LockedOut));
    }
    let _ = Ask::default().user("carol").begin(&machines.gates[0]).await;
}

async fn one_that_is_over_is_over_at_both<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    // The last moment counts, and the next one does not, whatever the phone has said by then.
    for (waited, passes) in [(LIFETIME.as_secs() - 1, true), (LIFETIME.as_secs(), false)] {
        let name = format!("user {waited}");
        let challenge = Ask::default().user(&name).begin(&machines.gates[0]).await;
        machines.phones.answer(Says::Yes);
        machines.clock.advance(waited);
        let again = Ask::default().user(&name).challenge(&challenge);
        if passes {
            assert_eq!(again.send(&machines.gates[1]).await.status(), 200);
        }
        machines.both_refuse(&again, RejectionKind::UnknownApproval).await;
        // Nobody has found it over but the other one, and there is a place.
        let _ = Ask::default().user(&name).begin(&machines.gates[0]).await;
    }
    assert_eq!(machines.calls.count(), 1);
}

async fn with_another_key_it_is_another_gate<S: PushStore + Clone>(stores: [S; 2]) {
    let machines = Machines::over(stores);
    let stranger = gate(approvals(&machines.phones, machines.stores[1].clone(), &machines.clock), &machines.calls);
    let challenge = Ask::default().begin(&machines.gates[0]).await;
    machines.phones.answer(Says::Yes);
    let again = Ask::default().challenge(&challenge);
    assert_eq!(kind(&again.send(&stranger).await), Some(RejectionKind::UnknownApproval));
    let (one, other) = tokio::join!(again.send(&machines.gates[0]), again.send(&machines.gates[1]));
    let mut statuses = [one.status().as_u16(), other.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!((statuses, machines.calls.count()), ([200, 401], 1));
}
