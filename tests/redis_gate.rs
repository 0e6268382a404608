//! The gate while Redis, or the way to it, is in trouble, and afterwards: 503 for as long as it lasts, never a pass, never
//! a code that is burnt unless Redis had spent it, never a lock that time does not open.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::house::{DENIED, House, OK, UNAVAILABLE};
use common::phones::{self, Ask, Phones, Says};
use common::redis::Redis;
use common::resp::{Do, Fake, HELLO, real, sound};
use common::trouble::{Broken, ERRORS, Trouble, side_by_side};
use common::{CODE, Calls, NEXT_CODE, Strict, k20, totp_verifier, user};
use http::StatusCode;
use tower::Layer;
use tower_toopher::test_util::{ManualClock, block_on};
use tower_toopher::totp::{BackupCode, Pairing};
use tower_toopher::{Approvals, EitherVerifier};

/// Each trouble, in either of the two verbs of an attempt, once and fifteen times in a row.
#[test]
fn every_trouble_is_503_while_it_lasts_and_is_over_with_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let junk =
        ["+OK\r\n", ":1\r\n", "$5\r\nfresh\r\n", "*2\r\n$1\r\n1\r\n$5\r\nfresh\r\n", "\0", "*1\r\n$8\r\nadmitted\r\n"];
    let mut troubles: Vec<_> = ERRORS.map(Trouble::Error).into();
    troubles.extend(junk.map(Trouble::Junk));
    troubles.extend((0..46).map(Trouble::CutAfter));
    troubles.extend([Trouble::CutBefore, Trouble::Hang, Trouble::Silence]);

    let cases = troubles.into_iter().flat_map(|trouble| {
        [("count", 1), ("count", 15), ("spend", 1), ("spend", 15)].map(|(verb, times)| (trouble.clone(), verb, times))
    });
    side_by_side(&cases.collect::<Vec<_>>(), |at, (trouble, broken, times)| meets(&redis, at, trouble, broken, *times));
}

fn meets(redis: &Arc<Redis>, at: usize, trouble: &Trouble, broken: &'static str, times: usize) {
    let silent = matches!(trouble, Trouble::Hang | Trouble::Silence);
    let (deadline, times) = if silent { (500, times.min(3)) } else { (20_000, times) };
    let way = Broken::way(redis, &[(broken, trouble.clone())]);
    let case = format!("{trouble:?} in {broken}, {times} times");
    // Keys of its own.
    let house = House::of(way.fake.store(deadline).prefix(&format!("case-{at}")).unwrap());
    for _ in 0..times {
        assert_eq!(house.says("alice", CODE), UNAVAILABLE, "{case}");
    }
    assert!(way.met() >= times, "{case}: it was never met");
    way.is_mended();

    // What Redis had counted and nobody verified is taken back, so it brings no wait.
    let burnt = broken == "spend" && trouble.done();
    if burnt {
        assert_eq!(house.says("alice", CODE), DENIED, "{case}");
        house.clock.advance(1);
    }
    let code = if burnt { NEXT_CODE } else { CODE };
    assert_eq!(house.says("alice", code), OK, "{case}");
    assert_eq!(house.says("alice", code), DENIED, "{case}");
}

/// Each trouble in each verb of an approval, once and again and again: nobody passes, and when it is over people can be
/// asked as before.
#[test]
fn every_trouble_of_an_approval_lets_nobody_in_and_is_over_in_time() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let mut troubles: Vec<_> = ERRORS.map(Trouble::Error).into();
    troubles.extend(["+OK\r\n", "*2\r\n$1\r\n1\r\n$4\r\nopen\r\n", "\0"].map(Trouble::Junk));
    troubles.extend([0, 10, 30, 40].map(Trouble::CutAfter));
    troubles.extend([Trouble::CutBefore, Trouble::Hang, Trouble::Silence]);
    let verbs = ["begin", "keep", "find", "redeem", "ended"];
    let cases = troubles
        .into_iter()
        .flat_map(|trouble| verbs.map(|verb| [(trouble.clone(), verb, 1), (trouble.clone(), verb, 8)]));
    side_by_side(&cases.flatten().collect::<Vec<_>>(), |at, (trouble, broken, times)| {
        asks(&redis, at, trouble, broken, *times);
    });
}

fn asks(redis: &Arc<Redis>, at: usize, trouble: &Trouble, broken: &'static str, times: usize) {
    let silent = matches!(trouble, Trouble::Hang | Trouble::Silence);
    let (deadline, times) = if silent { (500, times.min(3)) } else { (20_000, times) };
    let way = Broken::way(redis, &[(broken, trouble.clone())]);
    let case = format!("{trouble:?} in {broken}, {times} times");
    let store = way.fake.store(deadline).prefix(&format!("push-{at}")).unwrap();
    let (phones, clock, calls) = (Phones::default(), ManualClock::at(common::T), Calls::default());
    let gate = phones::gate(phones::approvals(&phones, store, &clock), &calls);
    let send = |ask: Ask| block_on(ask.send(&gate)).status();
    let begin = || block_on(Ask::default().begin(&gate));

    way.is_mended();
    let challenge = matches!(broken, "find" | "redeem" | "ended").then(begin);
    let ask = || challenge.iter().fold(Ask::default(), |ask, challenge| ask.challenge(challenge));
    match broken {
        "redeem" => phones.answer(Says::Yes),
        "ended" => phones.answer(Says::No),
        _ => {}
    }
    way.breaks_again();
    for nth in 0..times {
        let said = send(ask());
        match broken {
            // That it could not be noted changes nothing about a no.
            "ended" => assert_eq!(said, DENIED, "{case}"),
            // The phone has been asked, so the place is taken: for whoever asks the same, if Redis knows of what.
            "keep" if nth > 0 => {
                assert_eq!(said, if trouble.done() { StatusCode::ACCEPTED } else { DENIED }, "{case}");
            }
            // Redis has redeemed it, and does so once.
            "redeem" if nth > 0 && trouble.done() => assert_eq!(said, DENIED, "{case}"),
            _ => assert_eq!(said, UNAVAILABLE, "{case}"),
        }
    }
    assert!(way.met() > 0 && calls.count() == 0, "{case}");
    way.is_mended();

    match broken {
        "find" => {
            phones.answer(Says::Yes);
            assert_eq!(send(ask()), OK, "{case}");
        }
        // Once, and if Redis has redeemed it, whoever it was for has not been told.
        "redeem" => assert_eq!(send(ask()), if trouble.done() { DENIED } else { OK }, "{case}"),
        "ended" => assert_eq!(send(ask()), DENIED, "{case}"),
        _ => {}
    }
    let passed = calls.count();
    if let Some(challenge) = &challenge {
        assert_eq!(send(Ask::default().challenge(challenge)), DENIED, "{case}");
    }
    // Whatever was left behind is over by now.
    clock.advance(121);
    let challenge = begin();
    phones.answer(Says::Yes);
    assert_eq!(send(Ask::default().challenge(&challenge)), OK, "{case}");
    assert_eq!(calls.count(), passed + 1, "{case}");
}

/// Not even a connection is to be had.
#[test]
fn a_server_that_lets_nobody_in_is_503_and_then_forgotten() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let refusals = [
        Do::Say(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Do::Say(b"-NOAUTH HELLO must be called with the client already authenticated\r\n".to_vec()),
        Do::Say(b"-ERR max number of clients reached\r\n".to_vec()),
        Do::SayAndCut(HELLO[..20].to_vec()),
        Do::Hang,
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        let case = format!("{refusal:?}");
        let fake = Fake::new(move |_| refusal.clone());
        let house = House::of(fake.store(200).prefix(&format!("refusal-{at}")).unwrap());
        for _ in 0..8 {
            assert_eq!(house.says("alice", CODE), UNAVAILABLE, "{case}");
        }
        let through = redis.clone();
        fake.now(sound(move |command| Do::Say(real(&through, command))));
        // A connection that failed just now is not made anew at once.
        let end = Instant::now() + Duration::from_secs(20);
        let said = std::iter::repeat_with(|| house.says("alice", CODE));
        let said = { said }.find(|said| *said != UNAVAILABLE || Instant::now() > end);
        assert_eq!(said, Some(OK), "{case}");
        assert_eq!(house.says("alice", CODE), DENIED, "{case}");
    }
}

/// How often the script was called.
fn trips(redis: &Redis) -> u64 {
    let info: String = redis.ask(&["INFO", "commandstats"]);
    let calls =
        |line: &str| line.strip_prefix("cmdstat_eval")?.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    info.lines().filter_map(calls).sum()
}

/// Whatever comes of it: who is let in costs two, who is not at most as many.
#[test]
fn a_request_is_two_round_trips_at_the_most() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cost = |what: &dyn Fn() -> StatusCode| {
        let before = trips(&redis);
        let status = what();
        (status, trips(&redis) - before)
    };
    let house = House::of(redis.store());
    // The script, which the server keeps.
    assert_eq!(cost(&|| house.says("alice", "000000")), (DENIED, 2));
    assert_eq!(cost(&|| house.says("alice", "000000")), (DENIED, 1));
    assert_eq!(cost(&|| house.says("alice", CODE)), (OK, 2));
    assert_eq!(cost(&|| house.says("alice", CODE)), (DENIED, 2));
    assert_eq!(cost(&|| house.says("nobody", CODE)), (DENIED, 1));
    for _ in 0..4 {
        house.says("alice", "000000");
    }
    assert_eq!(cost(&|| house.says("alice", NEXT_CODE)), (StatusCode::TOO_MANY_REQUESTS, 1));

    let (phones, clock, calls) = (Phones::default(), ManualClock::at(common::T), Calls::default());
    let gate = phones::gate(phones::approvals(&phones, redis.store(), &clock), &calls);
    let challenge = std::cell::RefCell::new(String::new());
    let begin = || {
        *challenge.borrow_mut() = block_on(Ask::default().begin(&gate));
        StatusCode::ACCEPTED
    };
    let come_back = || block_on(Ask::default().challenge(&challenge.borrow()).send(&gate)).status();
    assert_eq!(cost(&begin), (StatusCode::ACCEPTED, 2));
    assert_eq!(cost(&come_back), (StatusCode::ACCEPTED, 1));
    phones.answer(Says::Yes);
    assert_eq!(cost(&come_back), (OK, 2));
    assert_eq!(cost(&come_back), (DENIED, 1));
    begin();
    phones.answer(Says::No);
    assert_eq!(cost(&come_back), (DENIED, 2));
}

/// One secret under several names is spent under each of them, and each is a round trip of its own.
#[test]
fn a_secret_under_two_names_is_a_round_trip_more() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (verifier, ..) = totp_verifier();
    let verifier = verifier.store(redis.store());
    let paired = |names: &[&'static str]| -> Vec<_> {
        names.iter().map(|name| Pairing::confirmed(k20()).device(*name)).collect()
    };
    let cost = |names: &[&'static str], otp: &str| {
        let before = trips(&redis);
        let _ = block_on(verifier.verify_otp(&user("alice"), &paired(names), &otp.parse().unwrap())).unwrap();
        trips(&redis) - before
    };
    // The script, which the server keeps.
    assert_eq!(cost(&["a"], "000000"), 2);
    assert_eq!(cost(&["a", "b"], "000000"), 1);
    assert_eq!(cost(&["a", "b"], CODE), 1 + 2);
    // Found out at the first of them.
    assert_eq!(cost(&["a", "b"], CODE), 1 + 1);
    assert_eq!(cost(&["c", "a", "b"], CODE), 1 + 2);
}

/// The same where people can be asked as well, over the same store: an OTP that is spent there has the pushes forgotten
/// with it.
#[test]
fn an_otp_in_place_of_an_approval_is_two_round_trips() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    let (otps, clock, users) = totp_verifier();
    let code = BackupCode::generate().unwrap().remove(0);
    users.insert(user("backup"), Pairing::confirmed(k20()));
    users.set_backup_codes(user("backup"), [code.digest(&user("backup"))]);
    let (phones, calls) = (Phones::default(), Calls::default());
    let both = EitherVerifier::new(otps.store(store.clone()), phones.clone());
    let over = |both, store| {
        let approvals = Approvals::new(both).unwrap().store(store).clock(clock.reading());
        phones::layer(approvals).layer(Strict::new(&calls))
    };
    let gate = over(both.clone(), store.clone());
    let cost = |gate: &_, name: &str, otp: &str| {
        let before = trips(&redis);
        let status = block_on(Ask::default().user(name).otp(otp).send(gate)).status();
        (status, trips(&redis) - before)
    };
    let pushes = || redis.ask::<Vec<String>>(&["KEYS", "*:p"]).len();
    // The script, which the server keeps.
    assert_eq!(cost(&gate, "alice", "000000"), (DENIED, 2));
    assert_eq!(cost(&gate, "alice", "000000"), (DENIED, 1));
    assert_eq!(pushes(), 0);
    block_on(Ask::default().begin(&gate));
    assert_eq!(pushes(), 1);
    assert_eq!(cost(&gate, "alice", CODE), (OK, 2));
    assert_eq!(pushes(), 0);
    assert_eq!(cost(&gate, "alice", CODE), (DENIED, 2));
    // Failures are forgotten where pushes are not, and by calls of their own: for one of ten codes that is no matter.
    assert_eq!(cost(&gate, "backup", &code.to_string()), (OK, 3));
    // Who has no authenticator here is verified elsewhere, and costs what is forgotten here.
    assert_eq!(cost(&gate, "bob", Phones::OTP), (OK, 1));
    assert_eq!(cost(&gate, "bob", "000000"), (DENIED, 0));
    for _ in 0..5 {
        cost(&gate, "alice", "000000");
    }
    assert_eq!(cost(&gate, "alice", NEXT_CODE), (StatusCode::TOO_MANY_REQUESTS, 1));

    // Not a clone of it, but one that leads to the same place, or to another: it cannot be told, so all is done.
    for (at, elsewhere) in [redis.store(), store.clone().prefix("elsewhere").unwrap()].into_iter().enumerate() {
        let name = format!("user {at}");
        users.insert(user(&name), Pairing::confirmed(k20()));
        let gate = over(both.clone(), elsewhere);
        block_on(Ask::default().user(&name).begin(&gate));
        assert_eq!(pushes(), 1);
        assert_eq!(cost(&gate, &name, CODE), (OK, 3));
        assert_eq!(pushes(), 0);
    }
}
