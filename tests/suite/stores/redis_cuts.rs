//! The connection to Redis is cut after any byte of a command or a reply. A reported success is true. After an error
//! no request was granted, no code is used up without an error, and no user is locked out.
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::fault_injection::{self, run_in_parallel};
use crate::support::servers::{FakeStore, RedisStores};
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, answer, sound};
use tower_toopher::store::{
    Admission, ApprovalStore, BeginOutcome, FindOutcome, NewApproval, Records, RedisError, RedisErrorKind, RedisStore,
    StepOutcome, Store, Throttle, UsedStep,
};
use tower_toopher::test_util::conformance::{NOW, secs, time, user};
use tower_toopher::test_util::{approvals, block_on};
use tower_toopher::verify::ApprovalId;

/// The first failure locks the account.
fn strict() -> Throttle {
    Throttle::new(1, secs(1), secs(1), 1).unwrap()
}

fn count(store: &RedisStore) -> Result<Admission, RedisError> {
    block_on(store.count_attempt(&user("alice"), &strict(), time(NOW)))
}

fn record(store: &RedisStore) -> Result<StepOutcome, RedisError> {
    block_on(store.record_step(&user("alice"), &UsedStep::new("", 10, time(NOW + 1000)), time(NOW)))
}

fn begin(store: &RedisStore, number: u8, now: u64) -> Result<BeginOutcome, RedisError> {
    let push = NewApproval::new(approvals::key(number), [7; 32]);
    block_on(store.begin_approval(&user("alice"), &push, &Throttle::default(), time(now)))
}

fn keep(store: &RedisStore) -> Result<bool, RedisError> {
    let id = ApprovalId::new("question").unwrap();
    block_on(store.set_approval_id(&user("alice"), approvals::key(1), &id, time(NOW + 120)))
}

fn redeem(store: &RedisStore) -> Result<FindOutcome, RedisError> {
    block_on(store.redeem_approval(&user("alice"), &approvals::reference(1), &Throttle::default(), time(NOW)))
}

/// An operation during which the connection is cut.
struct Operation {
    name: &'static str,
    /// The reply of a server without faults.
    word: &'static str,
    /// The operations before it.
    before: fn(&RedisStore),
    /// Calls the operation, and checks a successful reply.
    ask: fn(&RedisStore) -> Result<(), RedisError>,
    /// The state afterwards in the same process and in another one, with and without a reported success.
    after: fn(&RedisStore, &RedisStore, bool),
}

const OPERATIONS: [Operation; 6] = [
    Operation {
        name: "count_attempt",
        word: "admitted",
        before: |_| {},
        ask: |store| count(store).map(|result| assert_eq!(result, Admission::Admitted)),
        after: |same, _, done| {
            // An attempt whose reply is lost is not verified, and does not lock the user out.
            assert_eq!(count(same).unwrap(), if done { Admission::LockedOut } else { Admission::Admitted });
            assert_eq!(count(same).unwrap(), Admission::LockedOut);
        },
    },
    Operation {
        name: "release_attempt",
        word: "released",
        before: |store| assert_eq!(count(store).unwrap(), Admission::Admitted),
        ask: |store| block_on(store.release_attempt(&user("alice"), &strict())),
        after: |same, other, _| {
            // In the end one attempt is released, and not two.
            assert_eq!(count(same).unwrap(), Admission::Admitted);
            assert_eq!(count(same).unwrap(), Admission::LockedOut);
            assert_eq!(count(other).unwrap(), Admission::LockedOut);
        },
    },
    Operation {
        name: "record_step",
        word: "fresh",
        before: |_| {},
        ask: |store| record(store).map(|result| assert_eq!(result, StepOutcome::Fresh)),
        after: |same, other, done| {
            let first = record(same).unwrap();
            assert!(!done || first == StepOutcome::Replayed, "passed twice");
            assert_eq!(record(other).unwrap(), StepOutcome::Replayed);
        },
    },
    Operation {
        name: "begin_approval",
        word: "begun",
        before: |_| {},
        ask: |store| begin(store, 1, NOW).map(|result| assert_eq!(result, BeginOutcome::Begun)),
        after: |_, other, done| {
            // An approval without a request to the phone grants nothing, and blocks others no longer than a request
            // takes.
            assert_eq!(redeem(other).unwrap(), FindOutcome::Unknown);
            let next = begin(other, 2, NOW).unwrap();
            assert!(
                matches!(next, BeginOutcome::AlreadyPending { .. }) || !done && next == BeginOutcome::Begun,
                "{next:?}"
            );
            assert_eq!(begin(other, 3, NOW + 31).unwrap(), BeginOutcome::Begun);
        },
    },
    Operation {
        name: "set_approval_id",
        word: "set",
        before: |store| assert_eq!(begin(store, 1, NOW).unwrap(), BeginOutcome::Begun),
        ask: |store| keep(store).map(|kept| assert!(kept)),
        after: |_, other, done| {
            let found = redeem(other).unwrap();
            assert!(found == FindOutcome::Found || !done && found == FindOutcome::Unknown, "{found:?}");
            // The server may execute a command just after the connection was cut.
            let later = redeem(other).unwrap();
            assert!(later == FindOutcome::Unknown || !done && found == FindOutcome::Unknown, "{later:?}");
            assert!(later == FindOutcome::Unknown || redeem(other).unwrap() == FindOutcome::Unknown, "passed twice");
            assert_eq!(begin(other, 2, NOW + 121).unwrap(), BeginOutcome::Begun);
        },
    },
    Operation {
        name: "redeem_approval",
        word: "found",
        before: |store| {
            assert_eq!(begin(store, 1, NOW).unwrap(), BeginOutcome::Begun);
            assert!(keep(store).unwrap());
        },
        ask: |store| redeem(store).map(|result| assert_eq!(result, FindOutcome::Found)),
        after: |_, other, done| {
            let second = redeem(other).unwrap();
            assert!(!done || second == FindOutcome::Unknown, "passed twice");
            assert_eq!(redeem(other).unwrap(), FindOutcome::Unknown);
            assert_eq!(begin(other, 2, NOW).unwrap(), BeginOutcome::Begun);
        },
    },
];

/// A server that sends a prefix of the right reply.
#[test]
fn within_any_reply_it_is_an_error_and_then_there_is_a_new_connection() {
    run_in_parallel(&OPERATIONS, |_, operation| {
        let word = operation.word;
        let whole = move |command: &[String]| {
            Do::Reply(answer(
                command,
                if fault_injection::operation(command) == Some("count_attempt") { "admitted" } else { word },
            ))
        };
        let fake = Fake::new(sound(whole));
        let store = fake.store(20_000);
        // Without a counted attempt there is none to release.
        let count_before = || {
            if operation.name == "release_attempt" {
                assert_eq!(count(&store).unwrap(), Admission::Admitted);
            }
        };
        count_before();
        (operation.ask)(&store).unwrap();
        let length = Arc::new(AtomicUsize::new(usize::MAX));
        let mut at = 0;
        while at < length.load(Ordering::SeqCst) {
            let seen = length.clone();
            count_before();
            fake.now(sound(move |command| {
                let answer = answer(command, word);
                seen.store(answer.len(), Ordering::SeqCst);
                Do::ReplyAndCut(answer[..at].to_vec())
            }));
            let error = (operation.ask)(&store).expect_err(operation.name);
            assert!(error.kind() != RedisErrorKind::Timeout, "{}, cut after {at} bytes: {error}", operation.name);
            fake.now(sound(whole));
            (operation.ask)(&store).unwrap();
            at += 1;
        }
        assert!(at > 30, "{}", operation.name);
    });
}

/// Forwards a number of bytes in each direction, and then cuts the connection.
struct Proxy {
    port: u16,
    left: Arc<[AtomicUsize; 2]>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), left: Arc::default(), over: Arc::default() };
        proxy.lets_through([ALL; 2]);
        let (left, over) = (proxy.left.clone(), proxy.over.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (there, back) = (left.clone(), left.clone());
                std::thread::spawn(move || pass(from, to, &there[0]));
                std::thread::spawn(move || pass(server, client, &back[1]));
            }
        });
        proxy
    }

    fn lets_through(&self, bytes: [usize; 2]) {
        for (left, bytes) in self.left.iter().zip(bytes) {
            left.store(bytes, Ordering::SeqCst);
        }
    }

    /// The number of forwarded bytes in each direction.
    fn passed(&self) -> [usize; 2] {
        self.left.each_ref().map(|left| ALL - left.load(Ordering::SeqCst))
    }

    fn store(&self, prefix: &str) -> RedisStore {
        let store = RedisStore::new(&format!("redis://127.0.0.1:{}", self.port)).unwrap();
        store.prefix(prefix).unwrap().deadline(Duration::from_secs(20))
    }
}

/// More bytes than a test sends.
const ALL: usize = usize::MAX / 2;

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let may = left.load(Ordering::SeqCst).min(read);
        // Counted before the write, so that a test that has received the bytes also reads their number.
        let is_last = left.fetch_sub(may, Ordering::SeqCst) == may;
        if to.write_all(&buffer[..may]).is_err() || is_last {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Each operation, at a real server, on an established connection.
#[test]
fn after_any_byte_of_a_command_or_a_reply() {
    let Some(redis) = Redis::start(&[]) else { return };
    let direct = redis.store();
    // The server has the script, so there is one command and one reply.
    let _ = record(&direct).unwrap();
    let mut cases = vec![];
    for operation in &OPERATIONS {
        // Once without a cut, to measure their length. No number of a call is longer, and few are shorter.
        let proxy = Proxy::before(redis.port);
        let store = proxy.store(&format!("{}-x-xxx", operation.name));
        block_on(store.clear(&user("unknown"), Records::Failures)).unwrap();
        (operation.before)(&store);
        proxy.lets_through([ALL; 2]);
        (operation.ask)(&store).unwrap();
        let passed = proxy.passed();
        assert!(passed[0] > 150 && passed[1] > 30, "{}: {passed:?}", operation.name);
        cases.extend((0..2).flat_map(|way| (0..passed[way] + 2).map(move |at| (operation, way, at))));
    }
    let (errors, passes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    run_in_parallel(&cases, |_, (operation, way, at)| {
        let proxy = Proxy::before(redis.port);
        let prefix = format!("{}-{way}-{at}", operation.name);
        let (same, other) = (proxy.store(&prefix), direct.clone().prefix(&prefix).unwrap());
        block_on(same.clear(&user("unknown"), Records::Failures)).unwrap();
        (operation.before)(&same);
        let mut left = [ALL; 2];
        left[*way] = *at;
        proxy.lets_through(left);
        let result = (operation.ask)(&same);
        proxy.lets_through([ALL; 2]);
        if let Err(error) = &result {
            // The error comes at once, not at the deadline.
            assert!(error.kind() != RedisErrorKind::Timeout, "{prefix}: {error}");
        }
        if result.is_ok() { &passes } else { &errors }.fetch_add(1, Ordering::SeqCst);
        if result.is_ok() {
            // The store may not have detected a cut right after the reply yet.
            let deadline = Instant::now() + Duration::from_secs(20);
            while block_on(same.clear(&user("unknown"), Records::Failures)).is_err() {
                assert!(Instant::now() < deadline, "{prefix}: no new connection");
            }
        }
        (operation.after)(&same, &other, result.is_ok());
    });
    let (errors, passes) = (errors.into_inner(), passes.into_inner());
    assert!(errors > 2000 && passes > 10, "{errors} errors, {passes} passes");
}

/// As before, from the first byte of a new connection.
#[test]
fn while_a_connection_is_opened() {
    let Some(redis) = Redis::start(&[]) else { return };
    let direct = redis.store();
    let _ = record(&direct).unwrap();
    let cases: Vec<_> =
        [(0, 500), (1, 400)].into_iter().flat_map(|(way, to)| (0..to).map(move |at| (way, at))).collect();
    let (errors, passes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    run_in_parallel(&cases, |_, (way, at)| {
        let proxy = Proxy::before(redis.port);
        let mut left = [ALL; 2];
        left[*way] = *at;
        proxy.lets_through(left);
        let prefix = format!("way-{way}-{at}");
        let result = record(&proxy.store(&prefix));
        let after = record(&direct.clone().prefix(&prefix).unwrap()).unwrap();
        match result {
            Ok(StepOutcome::Fresh) => {
                passes.fetch_add(1, Ordering::SeqCst);
                assert_eq!(after, StepOutcome::Replayed, "passed twice: {prefix}");
            }
            Ok(other) => panic!("{other:?}, but no attempt had used it: {prefix}"),
            Err(error) => {
                errors.fetch_add(1, Ordering::SeqCst);
                assert!(error.kind() != RedisErrorKind::Timeout, "{prefix}: {error}");
            }
        }
    });
    let (errors, passes) = (errors.into_inner(), passes.into_inner());
    assert!(errors > 300 && passes > 50, "{errors} errors, {passes} passes");
}
