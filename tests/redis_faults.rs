//! The store in Redis when Redis, or the way to it, is in trouble: never a pass that was not, never a code that is burnt
//! without an error, never an error that stays.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::redis::Redis;
use common::resp::{Do, Fake, HELLO, fresh, good, sound};
use common::trouble::ERRORS;
use proptest::prelude::*;
use tower_toopher::ApprovalId;
use tower_toopher::store::{NewPush, PushEnd, PushStore, RedisError, RedisStore, Spend, Store, Throttle};
use tower_toopher::test_util::conformance::{NOW, s, user};
use tower_toopher::test_util::{block_on, pushes};

async fn spend(store: &RedisStore, step: u64) -> Result<Spend, RedisError> {
    store.spend_step(&user("alice"), "", step, s(NOW + 1000), s(NOW)).await
}

/// What a spend says when it first succeeds: a connection that failed just now is not made anew at once.
fn served(store: &RedisStore, step: u64) -> Spend {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match block_on(spend(store, step)) {
            Ok(said) => return said,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

/// Every verb once, each at the store that `at` gives, and what came of it; but not the one that takes back, which asks
/// for nothing where nothing was counted (`redis_cuts.rs` and `redis_locks.rs` have it).
async fn every_verb(at: impl Fn() -> RedisStore) -> Vec<Result<String, RedisError>> {
    let (alice, throttle, ticket) = (user("alice"), Throttle::default(), pushes::ticket(1));
    let push = NewPush::new(ticket, [7; 32]);
    fn said<T: std::fmt::Debug>(result: Result<T, RedisError>) -> Result<String, RedisError> {
        result.map(|said| format!("{said:?}"))
    }
    vec![
        said(at().count_attempt(&alice, &throttle, s(NOW)).await),
        said(spend(&at(), 10).await),
        said(at().clear_failures(&alice).await),
        said(at().begin_push(&alice, &push, &throttle, s(NOW)).await),
        said(at().keep_push(&alice, ticket, &ApprovalId::new("id").unwrap(), s(NOW)).await),
        said(at().find_push(&alice, &pushes::asked(1), &throttle, s(NOW)).await),
        said(at().redeem_push(&alice, &pushes::asked(1), &throttle, s(NOW)).await),
        said(at().end_push(&alice, ticket, PushEnd::Asked).await),
        said(at().clear_pushes(&alice).await),
    ]
}

#[test]
fn every_error_is_one_for_every_verb_and_only_as_long_as_it_lasts() {
    let fake = Fake::new(good);
    let store = fake.store(10_000);
    for error in ERRORS {
        let line = format!("-{error}\r\n").into_bytes();
        fake.now(sound(move |_| Do::Say(line.clone())));
        for outcome in block_on(every_verb(|| store.clone())) {
            let said = outcome.unwrap_err();
            assert_eq!(said.code(), error.split(' ').next(), "{said}");
        }
        fake.now(good);
        assert_eq!(block_on(spend(&store, 10)).unwrap(), Spend::Fresh, "after {error}");
    }
}

#[test]
fn trouble_while_connecting_passes_with_its_cause() {
    let fake = Fake::new(good);
    for answer in [
        Do::Say(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Do::Say(b"-NOAUTH HELLO must be called with the client already authenticated\r\n".to_vec()),
        Do::Say(b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n".to_vec()),
        Do::Say(b"-NOPROTO unsupported protocol version\r\n".to_vec()),
        Do::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Do::SayAndCut(vec![]),
        Do::SayAndCut(HELLO[..20].to_vec()),
        Do::Hang,
    ] {
        let store = fake.store(500);
        let refuse = answer.clone();
        fake.now(move |_| refuse.clone());
        for _ in 0..2 {
            let error = block_on(spend(&store, 10)).unwrap_err();
            assert_eq!(error.is_timeout(), matches!(answer, Do::Hang), "{answer:?}: {error}");
        }
        fake.now(good);
        assert_eq!(served(&store, 10), Spend::Fresh, "{answer:?}");
    }
    // Nobody listens there.
    let gone = RedisStore::new(&format!("redis://127.0.0.1:{}", common::redis::free_port())).unwrap();
    let error = block_on(spend(&gone, 10)).unwrap_err();
    assert!(error.is_connection() && error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_server_that_hangs_is_left_in_time() {
    let fake = Fake::new(sound(|_| Do::Hang));
    let store = fake.store(300);
    let begun = Instant::now();
    for outcome in block_on(every_verb(|| store.clone())) {
        assert!(outcome.unwrap_err().is_timeout());
    }
    assert!((Duration::from_millis(2600)..Duration::from_secs(20)).contains(&begun.elapsed()));
    // Each time it tries anew: the old connection may be to a machine that is no more.
    assert_eq!(fake.connections.load(Ordering::SeqCst), 9);
    fake.now(good);
    assert_eq!(block_on(spend(&store, 10)).unwrap(), Spend::Fresh);
}

/// Requests come all the time, also while the server hangs for longer than any of them waits. When it is well again,
/// those who come are served: a connection is made although whoever wanted it first has gone by then.
#[test]
fn steady_traffic_is_served_again_after_a_hang() {
    let fake = Fake::new(good);
    let store = fake.store(500);
    assert_eq!(block_on(spend(&store, 1)).unwrap(), Spend::Fresh);
    fake.now(|_| Do::Hang);
    let begun = Instant::now();
    let served = Arc::new(AtomicUsize::new(0));
    block_on(async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let mut well = false;
        while served.load(Ordering::SeqCst) < 100 {
            tick.tick().await;
            assert!(begun.elapsed() < Duration::from_secs(20), "{} were served", served.load(Ordering::SeqCst));
            if !well && begun.elapsed() > Duration::from_millis(1200) {
                well = true;
                // A connection takes its time, as over a network.
                fake.now(|command| {
                    if command[0] == "HELLO" {
                        std::thread::sleep(Duration::from_millis(30));
                    }
                    good(command)
                });
            }
            let (store, served) = (store.clone(), served.clone());
            tokio::spawn(async move {
                if spend(&store, 2).await.is_ok() {
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
}

/// A server that is no longer the one to write to says so over connections that are sound; the name leads elsewhere.
#[test]
fn what_a_server_says_of_itself_has_the_next_one_asked() {
    for error in [
        "READONLY You can't write against a read only replica.",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots",
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "MOVED 3999 127.0.0.1:6381",
        "MASTERDOWN Link with MASTER is down",
        "OOM command not allowed",
        "NOAUTH Authentication required.",
    ] {
        let connections = AtomicUsize::new(0);
        let fake = Fake::new(move |command| {
            if command[0] == "HELLO" {
                connections.fetch_add(1, Ordering::SeqCst);
            } else if connections.load(Ordering::SeqCst) == 1 {
                return Do::Say(format!("-{error}\r\n").into_bytes());
            }
            good(command)
        });
        let store = fake.store(10_000);
        assert_eq!(block_on(spend(&store, 10)).unwrap_err().code(), error.split(' ').next());
        assert_eq!(served(&store, 10), Spend::Fresh, "{error}");
        assert_eq!(fake.connections.load(Ordering::SeqCst), 2, "{error}");
    }
}

/// One for each 100 ms, and the one before.
fn most_connections(begun: Instant) -> usize {
    2 + (begun.elapsed().as_millis() / 100) as usize
}

#[test]
fn a_server_in_trouble_is_not_called_once_for_each_request() {
    let readonly = |_: &[String]| Do::Say(b"-READONLY You can't write against a read only replica.\r\n".to_vec());
    let loading = |_: &[String]| Do::Say(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec());
    let fakes = [(Fake::new(sound(readonly)), "READONLY"), (Fake::new(loading), "LOADING")];
    for (fake, code) in fakes {
        let store = fake.store(10_000);
        let begun = Instant::now();
        block_on(async {
            let spends = (0..400).map(|_| spend(&store, 1));
            // Whoever waits with others is told what the trouble is, and not that time ran out.
            for said in futures_util::future::join_all(spends).await {
                assert_eq!(said.unwrap_err().code(), Some(code));
            }
            for _ in 0..400 {
                assert_eq!(spend(&store, 1).await.unwrap_err().code(), Some(code));
            }
        });
        let connections = fake.connections.load(Ordering::SeqCst);
        assert!(connections <= most_connections(begun), "{connections} for {code}");
    }
    let gone = RedisStore::new(&format!("redis://127.0.0.1:{}", common::redis::free_port())).unwrap();
    block_on(async {
        for said in futures_util::future::join_all((0..400).map(|_| spend(&gone, 1))).await {
            let error = said.unwrap_err();
            assert!(error.is_connection() && error.to_string().contains("refused"), "{error}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_is_kept_alive() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert_eq!(block_on(spend(&store, 1)).unwrap(), Spend::Fresh);
    // Of our end of it: the timer that runs, 02 for keepalive, and in how many hundredths of a second.
    let timer = || {
        let there = format!(":{:04X}", redis.port);
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut ours = ours.filter(|socket| socket[2].ends_with(&there) && socket[3] == "01");
        let (kind, left) = ours.next()?[5].split_once(':')?;
        (kind == "02").then(|| u64::from_str_radix(left, 16).unwrap())
    };
    let end = Instant::now() + Duration::from_secs(10);
    let left = loop {
        assert!(Instant::now() < end, "no keepalive");
        if let Some(left) = timer() {
            break left;
        }
    };
    assert!(left <= 3000, "{left}");
}

#[test]
fn callers_who_lose_patience_do_not_keep_a_dead_connection_alive() {
    let fake = Fake::new(sound(|_| Do::Hang));
    let store = fake.store(300);
    // Each of them is gone long before the deadline, as under a time limit of the application's own.
    let end = Instant::now() + Duration::from_secs(20);
    while fake.connections.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < end, "the first connection is never left");
        let impatient = async { tokio::time::timeout(Duration::from_millis(20), spend(&store, 10)).await };
        assert!(block_on(impatient).is_err());
    }
}

#[test]
fn an_answer_to_another_call_is_none() {
    // It says everything twice, as if it had been asked twice.
    let twice = Arc::new(AtomicBool::new(true));
    let doubling = twice.clone();
    let fake = Fake::new(sound(move |command| {
        let answer = fresh(command);
        Do::Say(if doubling.load(Ordering::SeqCst) { answer.repeat(2) } else { b"-ERR\r\n".to_vec() })
    }));
    let store = fake.store(10_000);
    for _ in 0..20 {
        twice.store(true, Ordering::SeqCst);
        let _ = block_on(spend(&store, 10));
        twice.store(false, Ordering::SeqCst);
        assert!(block_on(spend(&store, 11)).is_err());
    }
    // Answers that come in another order than the questions.
    let waiting = Mutex::new(Vec::new());
    fake.now(sound(move |command| {
        let mut waiting = waiting.lock().unwrap();
        waiting.push(fresh(command));
        if waiting.len() < 2 { Do::Hang } else { Do::Say(waiting.drain(..).rev().flatten().collect()) }
    }));
    let store = fake.store(2000);
    let both = block_on(async { tokio::join!(spend(&store, 10), spend(&store, 11)) });
    assert!(both.0.is_err() && both.1.is_err(), "{both:?}");
}

#[test]
fn junk_is_an_error() {
    let fake = Fake::new(good);
    let store = fake.store(300);
    for junk in [
        "+OK\r\n",
        ":1\r\n",
        ":0\r\n",
        "$-1\r\n",
        "_\r\n",
        "*-1\r\n",
        "*0\r\n",
        "#t\r\n",
        ",1.0\r\n",
        "$5\r\nfresh\r\n",
        "+fresh\r\n",
        "*1\r\n$5\r\nfresh\r\n",
        "*2\r\n$1\r\n1\r\n$5\r\nfresh\r\n",
        "*2\r\n$-1\r\n$5\r\nfresh\r\n",
        "\r\n",
        "\0",
        "*99999999999\r\n",
        "$99999999999\r\n",
        "$-2\r\n",
        "%1\r\n",
        "*1\r\n*1\r\n*1\r\n",
        ">2\r\n+x\r\n+y\r\n",
        "=1\r\n\r\n",
        "!-1\r\n",
        "=-9\r\n",
        "~-5\r\n",
        "|9223372036854775807\r\n",
        "HTTP/1.1 200 OK\r\n\r\nfresh",
        "fresh",
    ] {
        fake.now(sound(move |_| Do::Say(junk.into())));
        assert!(block_on(spend(&store, 10)).is_err(), "{junk:?}");
        fake.now(good);
        // What came before may have been left over in the connection; the one after that is sound for certain.
        let sound = (0..2).any(|_| block_on(spend(&store, 10)).is_ok_and(|spend| spend == Spend::Fresh));
        assert!(sound, "after {junk:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_bytes_come_nobody_passes(bytes in prop::collection::vec(prop_oneof![
        Just(b'*'), Just(b'$'), Just(b':'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()
    ], 0..60)) {
        let fake = Fake::new(sound(move |_| Do::SayAndCut(bytes.clone())));
        for outcome in block_on(every_verb(|| fake.store(10_000))) {
            prop_assert!(outcome.is_err(), "{:?}", outcome);
        }
    }
}

/// Requests that are gone before they are answered: what they asked for is done whole or not at all, and the connection
/// is everybody's as before.
#[test]
fn dropped_futures_leave_nothing_half_done() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert_eq!(block_on(spend(&store, 0)).unwrap(), Spend::Fresh);
    let connections = || -> u64 {
        let info: String = redis.ask(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    };
    let before = connections();
    let mut halfway = 0;
    for step in 1..200 {
        block_on(async {
            let alice = user("alice");
            let mut dropped = Box::pin(store.spend_step(&alice, "", step, s(NOW + 1000), s(NOW)));
            // On a busy machine the answer is there, now and then, before this thread is.
            halfway += usize::from(futures_util::poll!(&mut dropped).is_pending());
            drop(dropped);
            // Whichever of the two came first, the code is spent now, once.
            let _ = spend(&store, step).await.unwrap();
            assert_eq!(spend(&store, step).await.unwrap(), Spend::Replayed);
        });
    }
    assert!(halfway > 100, "{halfway} of 199 were dropped before they were answered");
    // One for each look.
    assert_eq!(connections(), before + 1);
}

/// A server that was started again while nobody asked: the first who asks is served.
#[test]
fn an_idle_connection_that_was_cut_costs_nobody_an_error() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    for step in 0..3 {
        assert_eq!(block_on(spend(&store, step)).unwrap(), Spend::Fresh);
        redis.kill();
        redis.start_again();
        // That it is cut is seen by a task of its own.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(block_on(spend(&store, 10)).unwrap(), Spend::Fresh);
}
