//! The gate while Redis, or the way to it, is in trouble, and afterwards: 503 for as long as it lasts, never a pass, never
//! a code that is burnt unless Redis had spent it, never a lock that time does not open.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::house::{self, DENIED, House, OK, UNAVAILABLE};
use common::phones::{self, Ask, Phones, Says};
use common::redis::Redis;
use common::resp::{Do, Fake, HELLO, arguments, real, sound};
use common::{CODE, Calls, NEXT_CODE, Strict, k20, totp_verifier, user};
use http::StatusCode;
use tower::Layer;
use tower_toopher::test_util::{ManualClock, block_on};
use tower_toopher::totp::{BackupCode, Pairing};
use tower_toopher::{Approvals, EitherVerifier};

/// The ways in which one verb goes wrong.
#[derive(Clone, Debug)]
enum Trouble {
    /// Redis does nothing, and says so.
    Error(&'static str),
    /// Redis does nothing, and says nothing.
    Hang,
    /// The connection is cut before Redis has read the question.
    CutBefore,
    /// Redis does it, and the connection is cut within the answer.
    CutAfter(usize),
    /// Redis does it, and what comes is something else.
    Junk(&'static str),
}

impl Trouble {
    fn done(&self) -> bool {
        matches!(self, Self::CutAfter(_) | Self::Junk(_))
    }

    fn meet(&self, redis: &Redis, command: &[String]) -> Do {
        match self {
            Self::Error(said) => Do::Say(format!("-{said}\r\n").into_bytes()),
            Self::Hang => Do::Hang,
            Self::CutBefore => Do::SayAndCut(vec![]),
            Self::CutAfter(bytes) => {
                let answer = real(redis, command);
                // Whole, it would be an answer.
                Do::SayAndCut(answer[..(*bytes).min(answer.len() - 1)].to_vec())
            }
            Self::Junk(said) => {
                real(redis, command);
                Do::SayAndCut(said.as_bytes().to_vec())
            }
        }
    }
}

fn verb(command: &[String]) -> Option<&str> {
    command[0].starts_with("EVAL").then(|| &*arguments(command)[0])
}

/// Each trouble, in either of the two verbs of an attempt, once and fifteen times in a row.
#[test]
fn every_trouble_is_503_while_it_lasts_and_is_over_with_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let redis = Arc::new(redis);
    let errors = [
        "ERR something",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MOVED 3999 127.0.0.1:6381",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down",
        "BUSY Redis is busy",
        "NOAUTH Authentication required.",
        "NOSCRIPT No matching script.",
    ];
    let junk =
        ["+OK\r\n", ":1\r\n", "$5\r\nfresh\r\n", "*2\r\n$1\r\n1\r\n$5\r\nfresh\r\n", "\0", "*1\r\n$8\r\nadmitted\r\n"];
    let mut troubles: Vec<_> = errors.map(Trouble::Error).into();
    troubles.extend(junk.map(Trouble::Junk));
    troubles.extend((0..46).map(Trouble::CutAfter));
    troubles.extend([Trouble::CutBefore, Trouble::Hang]);

    let cases = troubles.iter().flat_map(|trouble| {
        [("count", 1), ("count", 15), ("spend", 1), ("spend", 15)].map(|(verb, times)| (trouble, verb, times))
    });
    let cases: Vec<_> = cases.enumerate().collect();
    // Side by side, since each reconnection waits for its time.
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((at, (trouble, broken, times))) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    meets(&redis, *at, trouble, broken, *times);
                }
            });
        }
    });
}

fn meets(redis: &Arc<Redis>, at: usize, trouble: &Trouble, broken: &'static str, times: usize) {
    let (deadline, times) = if matches!(trouble, Trouble::Hang) { (200, times.min(3)) } else { (20_000, times) };
    let (in_trouble, met) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let fake = Fake::new(sound({
        let (redis, trouble, in_trouble, met) = (redis.clone(), trouble.clone(), in_trouble.clone(), met.clone());
        move |command| match verb(command) {
            Some(verb) if verb == broken && in_trouble.load(Ordering::SeqCst) => {
                met.fetch_add(1, Ordering::SeqCst);
                trouble.meet(&redis, command)
            }
            _ => Do::Say(real(&redis, command)),
        }
    }));
    let case = format!("{trouble:?} in {broken}, {times} times");
    // Keys of its own.
    let house = House::of(fake.store(deadline).prefix(&format!("case-{at}")).unwrap());
    for _ in 0..times {
        assert_eq!(house.says("alice", CODE), UNAVAILABLE, "{case}");
    }
    assert!(met.load(Ordering::SeqCst) >= times, "{case}: it was never met");
    in_trouble.store(false, Ordering::SeqCst);

    let burnt = broken == "spend" && trouble.done();
    // The attempts that Redis had counted bring a wait, and no more than that.
    if broken == "count" && trouble.done() && times > 5 {
        assert_eq!(house.says("alice", CODE), StatusCode::TOO_MANY_REQUESTS, "{case}");
        house.clock.advance(30);
    }
    if burnt {
        assert_eq!(house.says("alice", CODE), DENIED, "{case}");
        house.clock.advance(1);
    }
    let code = if burnt { NEXT_CODE } else { CODE };
    assert_eq!(house.says("alice", code), OK, "{case}");
    assert_eq!(house.says("alice", code), DENIED, "{case}");
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

/// `kill -9` under load, and a server that is empty when it comes back. In the life of one server a code passes once;
/// meanwhile there is 503, and afterwards there is none, without anything done on this side.
#[test]
fn killed_under_load_and_started_again_empty() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let house = House::of(redis.store().deadline(Duration::from_millis(500)));
    house::killed_under_load(house, &mut redis, 3, |_, _| {});
}

/// What the documentation asks for: with the log written before each answer, a crash forgets nothing that was told.
#[test]
fn a_server_that_writes_before_it_answers_forgets_nothing_when_it_is_killed() {
    let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let house = House::of(redis.store());
    for round in 0..5 {
        let name = format!("user {round}");
        house.users.insert(user(&name), Pairing::confirmed(k20()));
        assert_eq!(house.says(&name, CODE), OK);
        for _ in 0..5 {
            assert_eq!(house.says(&name, "000000"), DENIED);
        }
        redis.kill();
        redis.start_again();
        // Spent, and throttled, as before.
        assert_eq!(house.says(&name, CODE), StatusCode::TOO_MANY_REQUESTS);
        house.clock.advance(30);
        assert_eq!(house.says(&name, CODE), DENIED);
        house.clock.set(common::T);
    }
}
