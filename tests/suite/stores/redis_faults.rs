//! The store in Redis while Redis or the connection fails: no false grant, no code that is used up without an error,
//! and no lasting error.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::fault_injection::ERRORS;
use crate::support::servers::{FakeStore, RedisStores};
use proptest::prelude::*;
use test_support::redis::Redis;
use test_support::resp::{Do, Fake, HELLO, fresh, good, sound};
use tower_toopher::store::{
    ApprovalStore, EndReason, NewApproval, Records, RedisError, RedisErrorKind, RedisStore, StepOutcome, Store,
    Throttle, UsedStep,
};
use tower_toopher::test_util::conformance::{NOW, time, user};
use tower_toopher::test_util::{approvals, block_on};
use tower_toopher::verify::ApprovalId;

async fn record(store: &RedisStore, step: u64) -> Result<StepOutcome, RedisError> {
    store.record_step(&user("alice"), &UsedStep::new("", step, time(NOW + 1000)), time(NOW)).await
}

/// Repeats `record` until it succeeds, because the store waits before it connects again.
fn served(store: &RedisStore, step: u64) -> StepOutcome {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match block_on(record(store, step)) {
            Ok(result) => return result,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
    }
}

/// The results of every operation, each at the store that `next_store` returns, except the release, which sends nothing
/// where nothing was counted (see `redis_cuts.rs` and `redis_locks.rs`).
async fn every_operation(next_store: impl Fn() -> RedisStore) -> Vec<Result<String, RedisError>> {
    let (alice, throttle, key) = (user("alice"), Throttle::default(), approvals::key(1));
    let approval = NewApproval::new(key, [7; 32]);
    fn to_text<T: std::fmt::Debug>(result: Result<T, RedisError>) -> Result<String, RedisError> {
        result.map(|value| format!("{value:?}"))
    }
    vec![
        to_text(next_store().count_attempt(&alice, &throttle, time(NOW)).await),
        to_text(record(&next_store(), 10).await),
        to_text(next_store().clear(&alice, Records::Failures).await),
        to_text(next_store().begin_approval(&alice, &approval, &throttle, time(NOW)).await),
        to_text(next_store().set_approval_id(&alice, key, &ApprovalId::new("id").unwrap(), time(NOW)).await),
        to_text(next_store().find_approval(&alice, &approvals::reference(1), &throttle, time(NOW)).await),
        to_text(next_store().redeem_approval(&alice, &approvals::reference(1), &throttle, time(NOW)).await),
        to_text(next_store().end_approval(&alice, key, EndReason::Sent).await),
        to_text(next_store().clear(&alice, Records::Approvals).await),
    ]
}

#[test]
fn every_error_fails_every_operation_and_only_as_long_as_it_lasts() {
    let fake = Fake::new(good);
    let store = fake.store(10_000);
    for error in ERRORS {
        let line = format!("-{error}\r\n").into_bytes();
        fake.now(sound(move |_| Do::Reply(line.clone())));
        for outcome in block_on(every_operation(|| store.clone())) {
            let error_of_case = outcome.unwrap_err();
            assert_eq!(error_of_case.code(), error.split(' ').next(), "{error_of_case}");
        }
        fake.now(good);
        assert_eq!(block_on(record(&store, 10)).unwrap(), StepOutcome::Fresh, "after {error}");
    }
}

#[test]
fn an_error_while_connecting_keeps_its_cause() {
    let fake = Fake::new(good);
    for answer in [
        Do::Reply(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Do::Reply(b"-NOAUTH HELLO must be called with the client already authenticated\r\n".to_vec()),
        Do::Reply(b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n".to_vec()),
        Do::Reply(b"-NOPROTO unsupported protocol version\r\n".to_vec()),
        Do::Reply(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Do::ReplyAndCut(vec![]),
        Do::ReplyAndCut(HELLO[..20].to_vec()),
        Do::Hang,
    ] {
        let store = fake.store(500);
        let refuse = answer.clone();
        fake.now(move |_| refuse.clone());
        for _ in 0..2 {
            let error = block_on(record(&store, 10)).unwrap_err();
            assert_eq!(error.kind() == RedisErrorKind::Timeout, matches!(answer, Do::Hang), "{answer:?}: {error}");
        }
        fake.now(good);
        assert_eq!(served(&store, 10), StepOutcome::Fresh, "{answer:?}");
    }
    // A port without a listener.
    let port = test_support::ClosedPort::new();
    let gone = RedisStore::new(&format!("redis://{}", port.address)).unwrap();
    let error = block_on(record(&gone, 10)).unwrap_err();
    assert!(error.kind() == RedisErrorKind::Connection && error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_server_that_hangs_is_an_error_at_the_deadline() {
    let fake = Fake::new(sound(|_| Do::Hang));
    let store = fake.store(300);
    let begun = Instant::now();
    for outcome in block_on(every_operation(|| store.clone())) {
        assert!(outcome.unwrap_err().kind() == RedisErrorKind::Timeout);
    }
    assert!((Duration::from_millis(2600)..Duration::from_secs(20)).contains(&begun.elapsed()));
    // It connects again each time: the old connection may be to a machine that no longer exists.
    assert_eq!(fake.connections.load(Ordering::SeqCst), 9);
    fake.now(good);
    assert_eq!(block_on(record(&store, 10)).unwrap(), StepOutcome::Fresh);
}

/// Requests arrive all the time, also while the server hangs for longer than their deadline. When it has recovered, new
/// requests are served: the store connects although the request that started the connection has ended.
#[test]
fn steady_traffic_is_served_again_after_a_hang() {
    let fake = Fake::new(good);
    let store = fake.store(500);
    assert_eq!(block_on(record(&store, 1)).unwrap(), StepOutcome::Fresh);
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
                if record(&store, 2).await.is_ok() {
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
}

/// A server that became a replica reports it over healthy connections. The name leads to another server.
#[test]
fn a_server_that_reports_its_state_is_replaced_by_the_next() {
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
                return Do::Reply(format!("-{error}\r\n").into_bytes());
            }
            good(command)
        });
        let store = fake.store(10_000);
        assert_eq!(block_on(record(&store, 10)).unwrap_err().code(), error.split(' ').next());
        assert_eq!(served(&store, 10), StepOutcome::Fresh, "{error}");
        assert_eq!(fake.connections.load(Ordering::SeqCst), 2, "{error}");
    }
}

/// One for each 100 ms, and the first one.
fn most_connections(begun: Instant) -> usize {
    2 + (begun.elapsed().as_millis() / 100) as usize
}

#[test]
fn a_failing_server_is_not_called_once_for_each_request() {
    let readonly = |_: &[String]| Do::Reply(b"-READONLY You can't write against a read only replica.\r\n".to_vec());
    let loading = |_: &[String]| Do::Reply(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec());
    let fakes = [(Fake::new(sound(readonly)), "READONLY"), (Fake::new(loading), "LOADING")];
    for (fake, code) in fakes {
        let store = fake.store(10_000);
        let begun = Instant::now();
        block_on(async {
            let records = (0..400).map(|_| record(&store, 1));
            // Concurrent requests get the cause of the failure, not a timeout.
            for result in futures_util::future::join_all(records).await {
                assert_eq!(result.unwrap_err().code(), Some(code));
            }
            for _ in 0..400 {
                assert_eq!(record(&store, 1).await.unwrap_err().code(), Some(code));
            }
        });
        let connections = fake.connections.load(Ordering::SeqCst);
        assert!(connections <= most_connections(begun), "{connections} for {code}");
    }
    let port = test_support::ClosedPort::new();
    let gone = RedisStore::new(&format!("redis://{}", port.address)).unwrap();
    block_on(async {
        for result in futures_util::future::join_all((0..400).map(|_| record(&gone, 1))).await {
            let error = result.unwrap_err();
            assert!(error.kind() == RedisErrorKind::Connection && error.to_string().contains("refused"), "{error}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_is_kept_alive() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert_eq!(block_on(record(&store, 1)).unwrap(), StepOutcome::Fresh);
    // Of the client's socket: the active timer, 02 for keepalive, and its time in hundredths of a second.
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
fn callers_that_give_up_do_not_keep_a_dead_connection_alive() {
    let fake = Fake::new(sound(|_| Do::Hang));
    let store = fake.store(300);
    // Each caller drops its request long before the deadline, as with a timeout of the application.
    let end = Instant::now() + Duration::from_secs(20);
    while fake.connections.load(Ordering::SeqCst) < 3 {
        assert!(Instant::now() < end, "the first connection is never replaced");
        let impatient = async { tokio::time::timeout(Duration::from_millis(20), record(&store, 10)).await };
        assert!(block_on(impatient).is_err());
    }
}

#[test]
fn a_reply_to_another_call_is_an_error() {
    // It replies twice to each command.
    let twice = Arc::new(AtomicBool::new(true));
    let doubling = twice.clone();
    let fake = Fake::new(sound(move |command| {
        let answer = fresh(command);
        Do::Reply(if doubling.load(Ordering::SeqCst) { answer.repeat(2) } else { b"-ERR\r\n".to_vec() })
    }));
    let store = fake.store(10_000);
    for _ in 0..20 {
        twice.store(true, Ordering::SeqCst);
        let _ = block_on(record(&store, 10));
        twice.store(false, Ordering::SeqCst);
        assert!(block_on(record(&store, 11)).is_err());
    }
    // Replies in another order than the commands.
    let waiting = Mutex::new(Vec::new());
    fake.now(sound(move |command| {
        let mut waiting = waiting.lock().unwrap();
        waiting.push(fresh(command));
        if waiting.len() < 2 { Do::Hang } else { Do::Reply(waiting.drain(..).rev().flatten().collect()) }
    }));
    let store = fake.store(2000);
    let both = block_on(async { tokio::join!(record(&store, 10), record(&store, 11)) });
    assert!(both.0.is_err() && both.1.is_err(), "{both:?}");
}

#[test]
fn an_invalid_reply_is_an_error() {
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
        fake.now(sound(move |_| Do::Reply(junk.into())));
        assert!(block_on(record(&store, 10)).is_err(), "{junk:?}");
        fake.now(good);
        // The previous reply may remain in the connection. The connection after that is healthy.
        let sound = (0..2).any(|_| block_on(record(&store, 10)).is_ok_and(|record| record == StepOutcome::Fresh));
        assert!(sound, "after {junk:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_grant_anything(bytes in prop::collection::vec(prop_oneof![
        Just(b'*'), Just(b'$'), Just(b':'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()
    ], 0..60)) {
        let fake = Fake::new(sound(move |_| Do::ReplyAndCut(bytes.clone())));
        for outcome in block_on(every_operation(|| fake.store(10_000))) {
            prop_assert!(outcome.is_err(), "{:?}", outcome);
        }
    }
}

/// Requests that are dropped before the reply: their operation is executed completely or not at all, and the
/// connection still serves other requests.
#[test]
fn dropped_futures_leave_nothing_half_done() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert_eq!(block_on(record(&store, 0)).unwrap(), StepOutcome::Fresh);
    let connections = || -> u64 {
        let info: String = redis.ask(&["INFO", "stats"]);
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    };
    let before = connections();
    let mut halfway = 0;
    for step in 1..200 {
        block_on(async {
            let (alice, used) = (user("alice"), UsedStep::new("", step, time(NOW + 1000)));
            let mut dropped = Box::pin(store.record_step(&alice, &used, time(NOW)));
            // On a busy machine the reply may arrive before this thread runs.
            halfway += usize::from(futures_util::poll!(&mut dropped).is_pending());
            drop(dropped);
            // Whichever came first, the code is used now, once.
            let _ = record(&store, step).await.unwrap();
            assert_eq!(record(&store, step).await.unwrap(), StepOutcome::Replayed);
        });
    }
    assert!(halfway > 100, "{halfway} of 199 were dropped before the reply");
    // One for each poll.
    assert_eq!(connections(), before + 1);
}

/// The server restarts while the store is idle: the first request is served.
#[test]
fn an_idle_connection_that_was_cut_causes_no_error() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    for step in 0..3 {
        assert_eq!(block_on(record(&store, step)).unwrap(), StepOutcome::Fresh);
        redis.kill();
        redis.start_again();
        // A background task detects the cut.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(block_on(record(&store, 10)).unwrap(), StepOutcome::Fresh);
}
