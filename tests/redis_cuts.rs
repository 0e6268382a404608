//! The way to Redis is cut after any byte of a question or an answer: who is told that something was done is right, and who
//! is told nothing finds no pass given away, no code burnt without an error, and no lock.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::redis::Redis;
use common::resp::{Do, Fake, answer, sound};
use common::trouble::{self, side_by_side};
use tower_toopher::ApprovalId;
use tower_toopher::store::{
    Admission, BeginPush, FoundPush, NewPush, PushStore, RedisError, RedisStore, Spend, Store, Throttle,
};
use tower_toopher::test_util::conformance::{NOW, s, user};
use tower_toopher::test_util::{block_on, pushes};

/// The first failure is the last one.
fn strict() -> Throttle {
    Throttle::new(1, s(1), s(1), 1).unwrap()
}

fn count(store: &RedisStore) -> Result<Admission, RedisError> {
    block_on(store.count_attempt(&user("alice"), &strict(), s(NOW)))
}

fn spend(store: &RedisStore) -> Result<Spend, RedisError> {
    block_on(store.spend_step(&user("alice"), "", 10, s(NOW + 1000), s(NOW)))
}

fn begin(store: &RedisStore, number: u8, now: u64) -> Result<BeginPush, RedisError> {
    let push = NewPush::new(pushes::ticket(number), [7; 32]);
    block_on(store.begin_push(&user("alice"), &push, &Throttle::default(), s(now)))
}

fn keep(store: &RedisStore) -> Result<bool, RedisError> {
    let id = ApprovalId::new("question").unwrap();
    block_on(store.keep_push(&user("alice"), pushes::ticket(1), &id, s(NOW + 120)))
}

fn redeem(store: &RedisStore) -> Result<FoundPush, RedisError> {
    block_on(store.redeem_push(&user("alice"), &pushes::asked(1), &Throttle::default(), s(NOW)))
}

/// A verb that meets with the cut.
struct Verb {
    name: &'static str,
    /// What a sound server answers to it.
    word: &'static str,
    /// What comes before it.
    before: fn(&RedisStore),
    /// Asks, and reads an answer that is as it should be.
    ask: fn(&RedisStore) -> Result<(), RedisError>,
    /// What is so afterwards at the same process and at another one, if it was told to be done and if not.
    after: fn(&RedisStore, &RedisStore, bool),
}

const VERBS: [Verb; 6] = [
    Verb {
        name: "count",
        word: "admitted",
        before: |_| {},
        ask: |store| count(store).map(|said| assert_eq!(said, Admission::Admitted)),
        after: |same, _, done| {
            // Whose answer is lost is verified by nobody, and locks nobody out.
            assert_eq!(count(same).unwrap(), if done { Admission::LockedOut } else { Admission::Admitted });
            assert_eq!(count(same).unwrap(), Admission::LockedOut);
        },
    },
    Verb {
        name: "take_back",
        word: "taken_back",
        before: |store| assert_eq!(count(store).unwrap(), Admission::Admitted),
        ask: |store| block_on(store.take_back_attempt(&user("alice"), &strict())),
        after: |same, other, _| {
            // One is taken back, in the end, and not two.
            assert_eq!(count(same).unwrap(), Admission::Admitted);
            assert_eq!(count(same).unwrap(), Admission::LockedOut);
            assert_eq!(count(other).unwrap(), Admission::LockedOut);
        },
    },
    Verb {
        name: "spend",
        word: "fresh",
        before: |_| {},
        ask: |store| spend(store).map(|said| assert_eq!(said, Spend::Fresh)),
        after: |same, other, done| {
            let first = spend(same).unwrap();
            assert!(!done || first == Spend::Replayed, "passed twice");
            assert_eq!(spend(other).unwrap(), Spend::Replayed);
        },
    },
    Verb {
        name: "begin",
        word: "begun",
        before: |_| {},
        ask: |store| begin(store, 1, NOW).map(|said| assert_eq!(said, BeginPush::Begun)),
        after: |_, other, done| {
            // What nobody asks the phone for opens nothing, and is in nobody's way for longer than asking takes.
            assert_eq!(redeem(other).unwrap(), FoundPush::Unknown);
            let next = begin(other, 2, NOW).unwrap();
            assert!(matches!(next, BeginPush::AlreadyPending { .. }) || !done && next == BeginPush::Begun, "{next:?}");
            assert_eq!(begin(other, 3, NOW + 31).unwrap(), BeginPush::Begun);
        },
    },
    Verb {
        name: "keep",
        word: "kept",
        before: |store| assert_eq!(begin(store, 1, NOW).unwrap(), BeginPush::Begun),
        ask: |store| keep(store).map(|kept| assert!(kept)),
        after: |_, other, done| {
            let found = redeem(other).unwrap();
            assert!(found == FoundPush::Open || !done && found == FoundPush::Unknown, "{found:?}");
            assert_eq!(redeem(other).unwrap(), FoundPush::Unknown);
            assert_eq!(begin(other, 2, NOW + 121).unwrap(), BeginPush::Begun);
        },
    },
    Verb {
        name: "redeem",
        word: "open",
        before: |store| {
            assert_eq!(begin(store, 1, NOW).unwrap(), BeginPush::Begun);
            assert!(keep(store).unwrap());
        },
        ask: |store| redeem(store).map(|said| assert_eq!(said, FoundPush::Open)),
        after: |_, other, done| {
            let second = redeem(other).unwrap();
            assert!(!done || second == FoundPush::Unknown, "passed twice");
            assert_eq!(redeem(other).unwrap(), FoundPush::Unknown);
            assert_eq!(begin(other, 2, NOW).unwrap(), BeginPush::Begun);
        },
    },
];

/// A server that says what a sound one says, and no more than so much of it.
#[test]
fn within_any_answer_it_is_an_error_and_then_there_is_a_new_connection() {
    side_by_side(&VERBS, |_, verb| {
        let word = verb.word;
        let whole = move |command: &[String]| {
            Do::Say(answer(command, if trouble::verb(command) == Some("count") { "admitted" } else { word }))
        };
        let fake = Fake::new(sound(whole));
        let store = fake.store(20_000);
        // Of none that was counted there is none to take back.
        let count_before = || {
            if verb.name == "take_back" {
                assert_eq!(count(&store).unwrap(), Admission::Admitted);
            }
        };
        count_before();
        (verb.ask)(&store).unwrap();
        let length = Arc::new(AtomicUsize::new(usize::MAX));
        let mut at = 0;
        while at < length.load(Ordering::SeqCst) {
            let seen = length.clone();
            count_before();
            fake.now(sound(move |command| {
                let answer = answer(command, word);
                seen.store(answer.len(), Ordering::SeqCst);
                Do::SayAndCut(answer[..at].to_vec())
            }));
            let error = (verb.ask)(&store).expect_err(verb.name);
            assert!(!error.is_timeout(), "{}, cut after {at} bytes: {error}", verb.name);
            fake.now(sound(whole));
            (verb.ask)(&store).unwrap();
            at += 1;
        }
        assert!(at > 30, "{}", verb.name);
    });
}

/// Lets so many bytes through each way from now on, and then cuts.
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

    /// How many of all bytes have come through each way.
    fn passed(&self) -> [usize; 2] {
        self.left.each_ref().map(|left| ALL - left.load(Ordering::SeqCst))
    }

    fn store(&self, prefix: &str) -> RedisStore {
        let store = RedisStore::new(&format!("redis://127.0.0.1:{}", self.port)).unwrap();
        store.prefix(prefix).unwrap().deadline(Duration::from_secs(20))
    }
}

/// More than there are.
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
        if to.write_all(&buffer[..may]).is_err() || left.fetch_sub(may, Ordering::SeqCst) == may {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Each verb, at a real server, on a connection that was sound until now.
#[test]
fn after_any_byte_of_a_question_or_an_answer() {
    let Some(redis) = Redis::start(&[]) else { return };
    let direct = redis.store();
    // The server knows the script, so there is one question and one answer.
    let _ = spend(&direct).unwrap();
    let mut cases = vec![];
    for verb in &VERBS {
        // Once without a cut, to see how long they are. No number of a call is longer, and few are shorter.
        let proxy = Proxy::before(redis.port);
        let store = proxy.store(&format!("{}-x-xxx", verb.name));
        block_on(store.clear_failures(&user("nobody"))).unwrap();
        (verb.before)(&store);
        proxy.lets_through([ALL; 2]);
        (verb.ask)(&store).unwrap();
        let passed = proxy.passed();
        assert!(passed[0] > 150 && passed[1] > 30, "{}: {passed:?}", verb.name);
        cases.extend((0..2).flat_map(|way| (0..passed[way] + 2).map(move |at| (verb, way, at))));
    }
    let (errors, passes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    side_by_side(&cases, |_, (verb, way, at)| {
        let proxy = Proxy::before(redis.port);
        let prefix = format!("{}-{way}-{at}", verb.name);
        let (same, other) = (proxy.store(&prefix), direct.clone().prefix(&prefix).unwrap());
        block_on(same.clear_failures(&user("nobody"))).unwrap();
        (verb.before)(&same);
        let mut left = [ALL; 2];
        left[*way] = *at;
        proxy.lets_through(left);
        let said = (verb.ask)(&same);
        proxy.lets_through([ALL; 2]);
        if let Err(error) = &said {
            // Found out at once, and not by waiting for what cannot come.
            assert!(!error.is_timeout(), "{prefix}: {error}");
        }
        if said.is_ok() { &passes } else { &errors }.fetch_add(1, Ordering::SeqCst);
        (verb.after)(&same, &other, said.is_ok());
    });
    let (errors, passes) = (errors.into_inner(), passes.into_inner());
    assert!(errors > 2000 && passes > 10, "{errors} errors, {passes} passes");
}

/// The same from the first byte of a connection on, before anything is known of it.
#[test]
fn while_a_connection_is_made() {
    let Some(redis) = Redis::start(&[]) else { return };
    let direct = redis.store();
    let _ = spend(&direct).unwrap();
    let cases: Vec<_> =
        [(0, 500), (1, 400)].into_iter().flat_map(|(way, to)| (0..to).map(move |at| (way, at))).collect();
    let (errors, passes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    side_by_side(&cases, |_, (way, at)| {
        let proxy = Proxy::before(redis.port);
        let mut left = [ALL; 2];
        left[*way] = *at;
        proxy.lets_through(left);
        let prefix = format!("way-{way}-{at}");
        let said = spend(&proxy.store(&prefix));
        let after = spend(&direct.clone().prefix(&prefix).unwrap()).unwrap();
        match said {
            Ok(Spend::Fresh) => {
                passes.fetch_add(1, Ordering::SeqCst);
                assert_eq!(after, Spend::Replayed, "passed twice: {prefix}");
            }
            Ok(other) => panic!("{other:?}, but nobody had spent it: {prefix}"),
            Err(error) => {
                errors.fetch_add(1, Ordering::SeqCst);
                assert!(!error.is_timeout(), "{prefix}: {error}");
            }
        }
    });
    let (errors, passes) = (errors.into_inner(), passes.into_inner());
    assert!(errors > 300 && passes > 50, "{errors} errors, {passes} passes");
}
