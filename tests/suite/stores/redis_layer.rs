//! The service while Redis or the connection fails, and afterwards: it responds with 503, grants no request, uses up no
//! code unless Redis recorded it, and locks no user out.
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::fault_injection::{Broken, ERRORS, Fault, run_in_parallel};
use crate::support::harness::{DENIED, Harness, OK, UNAVAILABLE};
use crate::support::phones::{self, Ask, Decision, Phones};
use crate::support::servers::{FakeStore, RedisStores};
use crate::support::{CODE, Calls, NEXT_CODE, OneShotService, rfc_totp, totp_verifier, user};
use http::StatusCode;
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, HELLO, real, sound};
use tower::Layer;
use tower_toopher::Approvals;
use tower_toopher::test_util::{ManualClock, block_on};
use tower_toopher::totp::{Pairing, RecoveryCode};
use tower_toopher::verify::FallbackVerifier;

/// Each fault, in either of the two operations of an attempt, once and fifteen times in a row.
#[test]
fn every_fault_is_503_until_it_is_repaired() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let junk =
        ["+OK\r\n", ":1\r\n", "$5\r\nfresh\r\n", "*2\r\n$1\r\n1\r\n$5\r\nfresh\r\n", "\0", "*1\r\n$8\r\nadmitted\r\n"];
    let mut faults: Vec<_> = ERRORS.map(Fault::Error).into();
    faults.extend(junk.map(Fault::Junk));
    faults.extend((0..46).map(Fault::CutAfter));
    faults.extend([Fault::CutBefore, Fault::Hang, Fault::Silence]);

    let cases = faults.into_iter().flat_map(|fault| {
        [("count_attempt", 1), ("count_attempt", 15), ("record_step", 1), ("record_step", 15)]
            .map(|(operation, times)| (fault.clone(), operation, times))
    });
    run_in_parallel(&cases.collect::<Vec<_>>(), |at, (fault, broken, times)| meets(&redis, at, fault, broken, *times));
}

fn meets(redis: &Arc<Redis>, at: usize, fault: &Fault, broken: &'static str, times: usize) {
    let silent = matches!(fault, Fault::Hang | Fault::Silence);
    let (deadline, times) = if silent { (500, times.min(3)) } else { (20_000, times) };
    let way = Broken::way(redis, &[(broken, fault.clone())]);
    let case = format!("{fault:?} in {broken}, {times} times");
    // A prefix for this case.
    let harness = Harness::new(way.fake.store(deadline).prefix(&format!("case-{at}")).unwrap());
    for _ in 0..times {
        assert_eq!(harness.status_of("alice", CODE), UNAVAILABLE, "{case}");
    }
    assert!(way.met() >= times, "{case}: it was never met");
    way.repair();

    // An attempt that Redis counted without verification is released, so it causes no delay.
    let burnt = broken == "record_step" && fault.done();
    if burnt {
        assert_eq!(harness.status_of("alice", CODE), DENIED, "{case}");
        harness.clock.advance(1);
    }
    let code = if burnt { NEXT_CODE } else { CODE };
    assert_eq!(harness.status_of("alice", code), OK, "{case}");
    assert_eq!(harness.status_of("alice", code), DENIED, "{case}");
}

/// Each fault in each operation of an approval, once and repeatedly: no request passes, and afterwards approvals work
/// as before.
#[test]
fn every_fault_of_an_approval_grants_nothing_and_ends_in_time() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let mut faults: Vec<_> = ERRORS.map(Fault::Error).into();
    faults.extend(["+OK\r\n", "*2\r\n$1\r\n1\r\n$5\r\nfound\r\n", "\0"].map(Fault::Junk));
    faults.extend([0, 10, 30, 40].map(Fault::CutAfter));
    faults.extend([Fault::CutBefore, Fault::Hang, Fault::Silence]);
    let operations = ["begin_approval", "set_approval_id", "find_approval", "redeem_approval", "end_approval"];
    let cases = faults
        .into_iter()
        .flat_map(|fault| operations.map(|operation| [(fault.clone(), operation, 1), (fault.clone(), operation, 8)]));
    run_in_parallel(&cases.flatten().collect::<Vec<_>>(), |at, (fault, broken, times)| {
        asks(&redis, at, fault, broken, *times);
    });
}

fn asks(redis: &Arc<Redis>, at: usize, fault: &Fault, broken: &'static str, times: usize) {
    let silent = matches!(fault, Fault::Hang | Fault::Silence);
    let (deadline, times) = if silent { (500, times.min(3)) } else { (20_000, times) };
    let way = Broken::way(redis, &[(broken, fault.clone())]);
    let case = format!("{fault:?} in {broken}, {times} times");
    let store = way.fake.store(deadline).prefix(&format!("push-{at}")).unwrap();
    let (phones, clock, calls) = (Phones::default(), ManualClock::from_secs(crate::support::T), Calls::default());
    let service = phones::service(phones::approvals(&phones, store, &clock), &calls);
    let send = |ask: Ask| block_on(ask.send(&service)).status();
    let begin = || block_on(Ask::default().begin(&service));

    way.repair();
    let token = matches!(broken, "find_approval" | "redeem_approval" | "end_approval").then(begin);
    let ask = || token.iter().fold(Ask::default(), |ask, token| ask.token(token));
    match broken {
        "redeem_approval" => phones.decide(Decision::Allowed),
        "end_approval" => phones.decide(Decision::Denied),
        _ => {}
    }
    way.break_again();
    for nth in 0..times {
        let response = send(ask());
        match broken {
            // A denial is final, even if the approval could not be ended.
            "end_approval" => assert_eq!(response, DENIED, "{case}"),
            // The push was sent, so an approval is pending: an equal request joins it if Redis has its binding.
            "set_approval_id" if nth > 0 => {
                assert_eq!(response, if fault.done() { StatusCode::ACCEPTED } else { DENIED }, "{case}");
            }
            // Redis redeemed it, and does so once.
            "redeem_approval" if nth > 0 && fault.done() => assert_eq!(response, DENIED, "{case}"),
            _ => assert_eq!(response, UNAVAILABLE, "{case}"),
        }
    }
    assert!(way.met() > 0 && calls.count() == 0, "{case}");
    way.repair();

    match broken {
        "find_approval" => {
            phones.decide(Decision::Allowed);
            assert_eq!(send(ask()), OK, "{case}");
        }
        // It is granted once, unless Redis had redeemed it and the reply was lost.
        "redeem_approval" => assert_eq!(send(ask()), if fault.done() { DENIED } else { OK }, "{case}"),
        "end_approval" => assert_eq!(send(ask()), DENIED, "{case}"),
        _ => {}
    }
    let passed = calls.count();
    if let Some(token) = &token {
        assert_eq!(send(Ask::default().token(token)), DENIED, "{case}");
    }
    // All remaining records have expired by now.
    clock.advance(121);
    let token = begin();
    phones.decide(Decision::Allowed);
    assert_eq!(send(Ask::default().token(&token)), OK, "{case}");
    assert_eq!(calls.count(), passed + 1, "{case}");
}

/// No connection can be opened.
#[test]
fn a_server_that_accepts_no_connection_is_503_until_it_does() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let refusals = [
        Do::Reply(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Do::Reply(b"-NOAUTH HELLO must be called with the client already authenticated\r\n".to_vec()),
        Do::Reply(b"-ERR max number of clients reached\r\n".to_vec()),
        Do::ReplyAndCut(HELLO[..20].to_vec()),
        Do::Hang,
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        let case = format!("{refusal:?}");
        let fake = Fake::new(move |_| refusal.clone());
        let harness = Harness::new(fake.store(200).prefix(&format!("refusal-{at}")).unwrap());
        for _ in 0..8 {
            assert_eq!(harness.status_of("alice", CODE), UNAVAILABLE, "{case}");
        }
        let through = redis.clone();
        fake.now(sound(move |command| Do::Reply(real(&through, command))));
        // The store waits before it connects again.
        let end = Instant::now() + Duration::from_secs(20);
        let response = std::iter::repeat_with(|| harness.status_of("alice", CODE));
        let response = { response }.find(|response| *response != UNAVAILABLE || Instant::now() > end);
        assert_eq!(response, Some(OK), "{case}");
        assert_eq!(harness.status_of("alice", CODE), DENIED, "{case}");
    }
}

/// How often the script was called.
fn trips(redis: &Redis) -> u64 {
    let info: String = redis.ask(&["INFO", "commandstats"]);
    let calls =
        |line: &str| line.strip_prefix("cmdstat_eval")?.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    info.lines().filter_map(calls).sum()
}

/// A granted request takes two round trips, and a rejected one at most two.
#[test]
fn a_request_is_at_most_two_round_trips() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cost = |what: &dyn Fn() -> StatusCode| {
        let before = trips(&redis);
        let status = what();
        (status, trips(&redis) - before)
    };
    let harness = Harness::new(redis.store());
    // The call that loads the script.
    assert_eq!(cost(&|| harness.status_of("alice", "000000")), (DENIED, 2));
    assert_eq!(cost(&|| harness.status_of("alice", "000000")), (DENIED, 1));
    assert_eq!(cost(&|| harness.status_of("alice", CODE)), (OK, 2));
    assert_eq!(cost(&|| harness.status_of("alice", CODE)), (DENIED, 2));
    assert_eq!(cost(&|| harness.status_of("unknown", CODE)), (DENIED, 1));
    for _ in 0..4 {
        harness.status_of("alice", "000000");
    }
    assert_eq!(cost(&|| harness.status_of("alice", NEXT_CODE)), (StatusCode::TOO_MANY_REQUESTS, 1));

    let (phones, clock, calls) = (Phones::default(), ManualClock::from_secs(crate::support::T), Calls::default());
    let service = phones::service(phones::approvals(&phones, redis.store(), &clock), &calls);
    let token = std::cell::RefCell::new(String::new());
    let begin = || {
        *token.borrow_mut() = block_on(Ask::default().begin(&service));
        StatusCode::ACCEPTED
    };
    let come_back = || block_on(Ask::default().token(&token.borrow()).send(&service)).status();
    assert_eq!(cost(&begin), (StatusCode::ACCEPTED, 2));
    assert_eq!(cost(&come_back), (StatusCode::ACCEPTED, 1));
    phones.decide(Decision::Allowed);
    assert_eq!(cost(&come_back), (OK, 2));
    assert_eq!(cost(&come_back), (DENIED, 1));
    begin();
    phones.decide(Decision::Denied);
    assert_eq!(cost(&come_back), (DENIED, 2));
}

/// A step is recorded for its secret, whatever the number of pairings with that secret.
#[test]
fn one_secret_of_two_devices_is_no_further_round_trip() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (verifier, ..) = totp_verifier();
    let verifier = verifier.store(redis.store());
    let cost = |pairings: usize, otp: &str| {
        let before = trips(&redis);
        let pairings = vec![Pairing::confirmed(rfc_totp()); pairings];
        let _ = block_on(verifier.verify_otp(&user("alice"), &pairings, &otp.parse().unwrap())).unwrap();
        trips(&redis) - before
    };
    // The call that loads the script.
    assert_eq!(cost(1, "000000"), 2);
    assert_eq!(cost(2, "000000"), 1);
    assert_eq!(cost(2, CODE), 2);
    assert_eq!(cost(3, CODE), 2);
}

/// An OTP in place of an approval is one round trip more, which clears the approvals.
#[test]
fn an_otp_during_an_approval_is_three_round_trips() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    let (otps, clock, users) = totp_verifier();
    let code = RecoveryCode::generate().unwrap().remove(0);
    users.insert(user("backup"), Pairing::confirmed(rfc_totp()));
    users.set_recovery_codes(user("backup"), [code.digest(&user("backup"))]);
    let (phones, calls) = (Phones::default(), Calls::default());
    let both = FallbackVerifier::new(otps.store(store.clone()), phones.clone());
    let over = |both, store| {
        let approvals = Approvals::new(both).unwrap().store(store).clock(&clock);
        phones::layer(approvals).layer(OneShotService::new(&calls))
    };
    let service = over(both.clone(), store.clone());
    let cost = |service: &_, name: &str, otp: &str| {
        let before = trips(&redis);
        let status = block_on(Ask::default().user(name).otp(otp).send(service)).status();
        (status, trips(&redis) - before)
    };
    let pushes = || redis.ask::<Vec<String>>(&["KEYS", "*:a"]).len();
    // The call that loads the script.
    assert_eq!(cost(&service, "alice", "000000"), (DENIED, 2));
    assert_eq!(cost(&service, "alice", "000000"), (DENIED, 1));
    assert_eq!(pushes(), 0);
    block_on(Ask::default().begin(&service));
    assert_eq!(pushes(), 1);
    assert_eq!(cost(&service, "alice", CODE), (OK, 3));
    assert_eq!(pushes(), 0);
    assert_eq!(cost(&service, "alice", CODE), (DENIED, 2));
    // A recovery code is no recorded step: the verifier clears, and then `Approvals` does.
    assert_eq!(cost(&service, "backup", &code.to_string()), (OK, 3));
    // A user without an authenticator is verified by the phones, and the records are cleared here.
    assert_eq!(cost(&service, "bob", Phones::OTP), (OK, 1));
    assert_eq!(cost(&service, "bob", "000000"), (DENIED, 0));
    for _ in 0..5 {
        cost(&service, "alice", "000000");
    }
    assert_eq!(cost(&service, "alice", NEXT_CODE), (StatusCode::TOO_MANY_REQUESTS, 1));

    // The same with another store, at the same address or at another one.
    for (at, elsewhere) in [redis.store(), store.clone().prefix("elsewhere").unwrap()].into_iter().enumerate() {
        let name = format!("user {at}");
        users.insert(user(&name), Pairing::confirmed(rfc_totp()));
        let service = over(both.clone(), elsewhere);
        block_on(Ask::default().user(&name).begin(&service));
        assert_eq!(pushes(), 1);
        assert_eq!(cost(&service, &name, CODE), (OK, 3));
        assert_eq!(pushes(), 0);
    }
}
