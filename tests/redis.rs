//! The store in Redis: the suites of all stores, alone and in a cluster, and what is its own: keys, expiries, round trips.
//!
//! `REDIS_SERVER=valkey-server cargo test --test redis` runs the same against Valkey.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use common::redis::{Redis, free_port};
use proptest::prelude::*;
use tower_toopher::ApprovalId;
use tower_toopher::store::{
    Admission, AskedPush, BeginPush, FoundPush, MemoryStore, NewPush, PushBudget, PushEnd, PushStore, RedisStore,
    Spend, Store, Throttle, Ticket,
};
use tower_toopher::test_util::conformance::{NOW, admit, s, spend, user};
use tower_toopher::test_util::{block_on, push_store_conformance, pushes, store_conformance};

static ALONE: LazyLock<Option<Redis>> = LazyLock::new(|| Redis::start(&[]));

/// One node with all slots: it knows nothing of the others, but what a slot is.
static CLUSTER: LazyLock<Option<Redis>> = LazyLock::new(|| {
    let bus = free_port().to_string();
    let redis = Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])?;
    redis.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !redis.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        assert!(std::time::Instant::now() < end, "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(redis)
});

store_conformance!(alone, || store_of(&ALONE));
store_conformance!(cluster, || store_of(&CLUSTER));
push_store_conformance!(pushes_alone, || store_of(&ALONE));
push_store_conformance!(pushes_in_a_cluster, || store_of(&CLUSTER));

/// Each test that is skipped says so.
fn store_of(redis: &Option<Redis>) -> Option<RedisStore> {
    common::have(&[&common::redis::program()]).then(|| redis.as_ref().map(Redis::store))?
}

/// A server of the test's own, and a store that has keys in it of all kinds.
fn filled() -> Option<(Redis, RedisStore)> {
    let redis = Redis::start(&[])?;
    let store = redis.store();
    assert_eq!(spend(&store, "alice", "phone", 10, NOW), Spend::Fresh);
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    assert_eq!(pushes::begin(&store, "alice", &NewPush::new(pushes::ticket(1), [7; 32]), NOW), BeginPush::Begun);
    assert!(pushes::keep(&store, "alice", 1, NOW + 120));
    Some((redis, store))
}

fn keys(redis: &Redis) -> HashMap<char, String> {
    // The letter after the braces tells the kinds apart.
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]);
    keys.into_iter().map(|key| (key.split_once("}:").unwrap().1.chars().next().unwrap(), key)).collect()
}

fn ttl(redis: &Redis, key: &str) -> i64 {
    redis.ask(&["PTTL", key])
}

const SECOND: i64 = 1000;
const DAY: i64 = 24 * 3600 * SECOND;

#[test]
fn every_record_ends_but_never_before_its_time() {
    let Some((redis, store)) = filled() else { return };
    let keys = keys(&redis);
    assert_eq!(keys.len(), 3);
    for key in keys.values() {
        let bytes: u64 = redis.ask(&["MEMORY", "USAGE", key]);
        assert!(bytes < 300, "{key} takes {bytes} bytes");
    }
    // The step is kept for 1000 seconds by the suite; a minute is added.
    let ends_in = |kind: char, time: i64| {
        let left = ttl(&redis, &keys[&kind]);
        assert!(left > time && left <= time + 60 * SECOND, "{kind}: {left}");
    };
    ends_in('s', 1000 * SECOND);
    ends_in('p', 30 * DAY);
    // What a stranger leaves behind under an invented name is gone in 30 days; what brings a wait stays.
    for _ in 1..5 {
        ends_in('f', 30 * DAY);
        assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    }
    ends_in('f', 365 * DAY);
    block_on(store.clear_failures(&user("alice"))).unwrap();
    // What the verifier asks to keep outlives the acceptance of a code by far: 42 steps, where a code lives for three.
    let (verifier, ..) = common::totp_verifier();
    let gate = verifier.store(store.clone());
    let attempt = tower_toopher::Attempt::new(user("alice"), "x").with_otp(common::CODE.parse().ok());
    let verdict = block_on(tower::ServiceExt::oneshot(gate, attempt)).unwrap();
    assert_eq!(verdict, tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp));
    let written: Vec<String> = redis.ask(&["KEYS", "*:s:*"]);
    let key = written.iter().find(|key| **key != keys[&'s']).unwrap();
    assert!(ttl(&redis, key) > 42 * 30 * SECOND);
    // A later step, with less time to be kept for, takes nothing from that of the first one.
    let shorter = block_on(store.spend_step(&user("alice"), "phone", 11, s(NOW + 1), s(NOW))).unwrap();
    assert_eq!(shorter, Spend::Fresh);
    assert!(ttl(&redis, &keys[&'s']) > 990 * SECOND);
    // A clock that is far ahead for once, and then set back: what it wrote ends in its time all the same.
    assert_eq!(spend(&store, "bob", "", 10, NOW + 1_000_000_000), Spend::Fresh);
    assert!(spend(&store, "bob", "", 10, NOW) == Spend::Replayed);
    let all: Vec<String> = redis.ask(&["KEYS", "*"]);
    assert!(all.iter().all(|key| (0..=366 * DAY).contains(&ttl(&redis, key))));
}

#[test]
fn a_key_without_an_expiry_heals_and_only_a_lock_out_has_none() {
    let Some((redis, store)) = filled() else { return };
    let keys = keys(&redis);
    let persist = || keys.values().for_each(|key| redis.ask::<()>(&["PERSIST", key]));
    let healed = |kind: char| ttl(&redis, &keys[&kind]) > 0;
    persist();
    assert_eq!(spend(&store, "alice", "phone", 10, NOW), Spend::Replayed);
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    block_on(store.end_push(&user("alice"), pushes::ticket(2), PushEnd::Asked)).unwrap();
    assert!(healed('s') && healed('f') && healed('p'));
    persist();
    block_on(store.take_back_attempt(&user("alice"), &Throttle::default())).unwrap();
    assert!(!pushes::keep(&store, "alice", 2, NOW));
    assert!(healed('f') && healed('p'));
    persist();
    let second = NewPush::new(pushes::ticket(2), [7; 32]);
    assert!(matches!(pushes::begin(&store, "alice", &second, NOW), BeginPush::Join { .. }));
    assert!(healed('f') && healed('p'));
    // Whoever only looks heals too, and changes nothing else.
    persist();
    assert_eq!(
        block_on(store.find_push(&user("alice"), &pushes::asked(1), &Throttle::default(), s(NOW))).unwrap(),
        FoundPush::Open
    );
    assert!(healed('f') && healed('p'));
    // A record that is over and was never removed is in nobody's way.
    persist();
    assert_eq!(spend(&store, "alice", "phone", 9, NOW + 1000), Spend::Fresh);
    assert!(healed('s'));
    let strict = Throttle::new(1, s(1), s(1), 1).unwrap();
    let admit_strictly = |now| block_on(store.count_attempt(&user("alice"), &strict, s(now))).unwrap();
    assert_eq!(admit_strictly(NOW), Admission::Admitted);
    assert_eq!(ttl(&redis, &keys[&'f']), -1);
    redis.ask::<()>(&["PEXPIRE", &keys[&'f'], "1000000"]);
    assert_eq!(admit_strictly(NOW), Admission::LockedOut);
    assert_eq!(ttl(&redis, &keys[&'f']), -1, "a lock-out that would have ended by itself");
    block_on(store.take_back_attempt(&user("alice"), &strict)).unwrap();
    assert!(healed('f'));
}

#[test]
fn keys_are_in_one_slot_and_tell_no_names() {
    let Some(redis) = &*CLUSTER else { return };
    let store = redis.store();
    let mut slots = HashSet::new();
    for name in ["alice", "{alice}", "}{", "a:f"] {
        for device in ["", "{x}", "phone"] {
            assert_eq!(spend(&store, name, device, 10, NOW), Spend::Fresh);
        }
        assert_eq!(admit(&store, name, NOW), Admission::Admitted);
    }
    let prefix = format!("{store:?}").split("prefix: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let keys: Vec<String> = redis.ask(&["KEYS", &format!("{prefix}:*")]);
    assert_eq!(keys.len(), 4 * 4);
    let mut users: HashMap<String, HashSet<u16>> = HashMap::new();
    for key in &keys {
        assert!(!key.contains("alice") && !key.contains("phone") && key.len() < 160, "{key}");
        let slot: u16 = redis.ask(&["CLUSTER", "KEYSLOT", key]);
        slots.insert(slot);
        users.entry(key.split_once('}').unwrap().0.to_owned()).or_default().insert(slot);
    }
    assert!(users.len() == 4 && users.values().all(|slots| slots.len() == 1));
    assert!(slots.len() > 1, "all users in one slot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wrong_codes_at_two_verifiers_are_no_more_than_five_tries() {
    let Some(redis) = Redis::start(&[]) else { return };
    // Two connections, and one prefix.
    let store = || RedisStore::new(&redis.url()).unwrap().deadline(Duration::from_secs(30));
    common::burst::at_verifiers([store(), store()]).await;
}

#[test]
fn a_verb_is_one_round_trip_and_an_attempt_two() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    let calls = || {
        let info: String = redis.ask(&["INFO", "commandstats"]);
        let count = |name: &str| -> u64 {
            let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
        };
        (count("evalsha"), count("eval"))
    };
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    // The server did not know the script; it does now.
    assert_eq!(calls(), (1, 1));
    let (verifier, ..) = common::totp_verifier();
    let gate = verifier.store(store.clone());
    let attempt = tower_toopher::Attempt::new(user("alice"), "x").with_otp(common::CODE.parse().ok());
    let verdict = block_on(tower::ServiceExt::oneshot(gate, attempt)).unwrap();
    assert_eq!(verdict, tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp));
    assert_eq!(calls(), (3, 1));
    let alice = user("alice");
    let (ticket, throttle) = (pushes::ticket(1), Throttle::default());
    let _ = pushes::begin(&store, "alice", &NewPush::new(ticket, [7; 32]), NOW);
    let _ = pushes::keep(&store, "alice", 1, NOW + 120);
    let _ = block_on(store.find_push(&alice, &pushes::asked(1), &throttle, s(NOW))).unwrap();
    let _ = pushes::redeem(&store, "alice", 1, NOW);
    block_on(store.end_push(&alice, ticket, PushEnd::Asked)).unwrap();
    block_on(store.clear_pushes(&alice)).unwrap();
    block_on(store.clear_failures(&alice)).unwrap();
    assert_eq!(calls(), (10, 1));
    // None is known that could be taken back, and none is guessed.
    block_on(store.take_back_attempt(&alice, &throttle)).unwrap();
    assert_eq!(calls(), (10, 1));
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    block_on(store.take_back_attempt(&alice, &throttle)).unwrap();
    assert_eq!(calls(), (12, 1));
    // An administrator empties the server's memory of scripts: one verb brings it back, and is done once.
    redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(spend(&store, "bob", "", 10, NOW), Spend::Fresh);
    assert_eq!(calls(), (13, 2));
    let clients: String = redis.ask(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|line| line.contains("resp=3")).count(), 1, "one connection: {clients}");
}

#[test]
fn what_is_no_record_is_an_error_and_nobody_passes() {
    let Some((redis, store)) = filled() else { return };
    let keys = keys(&redis);
    let alice = user("alice");
    let throttle = Throttle::default();
    let refused = |kinds: &[char]| {
        let mut errors = vec![];
        if kinds.contains(&'f') {
            errors.push(block_on(store.count_attempt(&alice, &throttle, s(NOW))).unwrap_err());
            errors.push(block_on(store.redeem_push(&alice, &pushes::asked(1), &throttle, s(NOW))).unwrap_err());
        }
        if kinds.contains(&'s') {
            errors.push(block_on(store.spend_step(&alice, "phone", 99, s(NOW), s(NOW))).unwrap_err());
        }
        if kinds.contains(&'p') {
            let id = ApprovalId::new("x").unwrap();
            errors.push(block_on(store.redeem_push(&alice, &pushes::asked(1), &throttle, s(NOW))).unwrap_err());
            errors.push(block_on(store.find_push(&alice, &pushes::asked(1), &throttle, s(NOW))).unwrap_err());
            errors.push(block_on(store.keep_push(&alice, pushes::ticket(1), &id, s(NOW))).unwrap_err());
            errors.push(block_on(store.end_push(&alice, pushes::ticket(1), PushEnd::Asked)).unwrap_err());
        }
        for error in errors {
            assert!(error.code().is_some(), "{error}");
        }
    };
    for kind in ['f', 's', 'p'] {
        let key = &keys[&kind];
        let sound: Vec<u8> = redis.ask(&["DUMP", key]);
        for broken in [
            "",
            " ",
            "0",
            "junk",
            "1 2",
            "1 2 3 4 5 6",
            "00000000000000000010",
            "-1 0 0 0",
            "1 2 3 2",
            "1e9 1 1 0",
            "1 2 3 05",
            "1 2 3 0 7x",
            "1 2 3 0\n7",
            "1 2 3",
        ] {
            if (kind, broken) == ('p', "1 2 3") {
                continue; // It is one.
            }
            redis.ask::<()>(&["SET", key, broken]);
            refused(&[kind]);
        }
        redis.ask::<()>(&["DEL", key]);
        redis.ask::<()>(&["RPUSH", key, "a list"]);
        refused(&[kind]);
        redis.ask::<()>(&["DEL", key]);
        redis::cmd("RESTORE").arg(key).arg(100_000).arg(sound).exec(&mut redis.connection()).unwrap();
    }
    assert_eq!(pushes::redeem(&store, "alice", 1, NOW), FoundPush::Open);
}

#[test]
fn a_server_that_is_full_or_a_replica_refuses_and_loses_nothing() {
    let Some((redis, store)) = filled() else { return };
    let code = |of: Result<(), tower_toopher::store::RedisError>| of.unwrap_err().code().map(ToOwned::to_owned);
    let spend_next = || block_on(store.spend_step(&user("alice"), "phone", 11, s(NOW + 1000), s(NOW))).map(drop);
    let count = || block_on(store.count_attempt(&user("alice"), &Throttle::default(), s(NOW))).map(drop);
    let check = || block_on(store.check());
    check().unwrap();
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(code(check()).as_deref(), Some("OOM"));
    assert_eq!(code(spend_next()).as_deref(), Some("OOM"));
    assert_eq!(code(count()).as_deref(), Some("OOM"));
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(code(check()).as_deref(), Some("READONLY"));
    assert_eq!(code(spend_next()).as_deref(), Some("READONLY"));
    assert_eq!(code(count()).as_deref(), Some("READONLY"));
    redis.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    redis.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(code(check()).as_deref(), Some("NOREPLICAS"));
    assert_eq!(code(spend_next()).as_deref(), Some("NOREPLICAS"));
    assert_eq!(code(count()).as_deref(), Some("NOREPLICAS"));
    redis.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    check().unwrap();
    assert_eq!(keys(&redis).len(), 3, "a check leaves nothing behind");
    // Nothing was burnt, and nothing counted.
    assert_eq!(spend(&store, "alice", "phone", 11, NOW), Spend::Fresh);
    for _ in 0..5 {
        assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    }
}

#[test]
fn a_server_that_forgets_under_pressure_is_told_of() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    block_on(store.check()).unwrap();
    for (maxmemory, policy, good) in [
        ("100mb", "noeviction", true),
        ("0", "allkeys-lru", true),
        ("100mb", "allkeys-lru", false),
        ("100mb", "volatile-ttl", false),
    ] {
        redis.ask::<()>(&["CONFIG", "SET", "maxmemory", maxmemory, "maxmemory-policy", policy]);
        let checked = block_on(store.check());
        assert_eq!(checked.is_ok(), good, "{checked:?}");
        assert!(checked.err().is_none_or(|error| error.to_string().contains(policy)));
    }
}

#[test]
fn a_server_without_a_log_is_told_of() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert!(!block_on(store.keeps_a_log()).unwrap());
    redis.ask::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    assert!(block_on(store.keeps_a_log()).unwrap());
}

#[test]
fn the_rights_that_are_documented_are_enough() {
    let Some(redis) = Redis::start(&[]) else { return };
    redis.ask::<()>(&[
        "ACL",
        "SETUSER",
        "gate",
        "on",
        ">hunter2",
        "resetkeys",
        "~toopher:*",
        "-@all",
        "+eval",
        "+evalsha",
        "+get",
        "+set",
        "+del",
        "+pttl",
        "+pexpire",
        "+info",
    ]);
    let url = |password: &str| format!("redis://gate:{password}@127.0.0.1:{}/0", redis.port);
    let store = RedisStore::new(&url("hunter2")).unwrap();
    block_on(store.check()).unwrap();
    for _ in 0..2 {
        let _ = admit(&store, "alice", NOW);
        let _ = spend(&store, "alice", "", 10, NOW);
    }
    let elsewhere = || block_on(RedisStore::new(&url("hunter2").replace("/0", "/3")).unwrap().check());
    assert!(elsewhere().unwrap_err().code().is_some());
    redis.ask::<()>(&["ACL", "SETUSER", "gate", "+select"]);
    elsewhere().unwrap();
    assert!(!format!("{store:?} {store:#?}").contains("hunter2"));
    assert!(format!("{store:?}").contains("127.0.0.1"));
    let other = store.clone().prefix("other").unwrap();
    for error in [block_on(other.clear_failures(&user("alice"))).unwrap_err(), block_on(other.check()).unwrap_err()] {
        assert_eq!(error.code(), Some("NOPERM"), "{error}");
    }
    // One right too few is found out before somebody needs it.
    for right in ["set", "get", "pttl", "pexpire", "del", "info"] {
        redis.ask::<()>(&["ACL", "SETUSER", "gate", &format!("-{right}")]);
        assert!(block_on(store.check()).is_err(), "{right}");
        redis.ask::<()>(&["ACL", "SETUSER", "gate", &format!("+{right}")]);
    }
    block_on(store.check()).unwrap();
    let wrong = RedisStore::new(&url("wrong-one")).unwrap();
    let error = block_on(wrong.check()).unwrap_err();
    assert_eq!(error.code(), Some("WRONGPASS"));
}

#[test]
fn urls_and_what_is_none() {
    for good in
        ["redis://127.0.0.1", "valkey://user:pw@[::1]:1234/3", "unix:///run/redis.sock?db=1&pass=pw", "rediss://a.b"]
    {
        assert!(RedisStore::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "127.0.0.1:6379",
        "http://a/",
        "redis://",
        "redis://a/x",
        "rediss://:hunter2@a/#insecure",
        "redis://:hunter2@a:b",
    ] {
        let error = RedisStore::new(bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2") && !error.is_timeout(), "{bad}");
    }
    let roots = RedisStore::with_roots("redis://127.0.0.1", b"");
    assert!(roots.is_err(), "roots for a connection without TLS");
    for none in
        [&b""[..], b"no PEM", &[0x30, 0x82, 1, 1], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    {
        let error = RedisStore::with_roots("rediss://a.b", none).unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
    }
}

#[test]
fn without_a_runtime_it_is_an_error() {
    let store = RedisStore::new("redis://127.0.0.1:1").unwrap();
    let error = futures_util::FutureExt::now_or_never(store.clear_failures(&user("alice"))).unwrap().unwrap_err();
    assert!(error.to_string().contains("runtime"));
}

#[test]
fn over_tls_with_an_authority_of_its_own() {
    if !common::have(&[&common::redis::program(), "openssl"]) {
        return;
    }
    let folder = common::process::scratch("redis-tls");
    common::process::certificate(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let (certificate, key) = (path("tls.pem"), path("tls.key"));
    let options =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let Some(_redis) = Redis::start(&options) else { return };
    let url = format!("rediss://127.0.0.1:{port}");
    let store = RedisStore::with_roots(&url, &std::fs::read(&certificate).unwrap()).unwrap();
    block_on(store.check()).unwrap();
    assert_eq!(spend(&store, "alice", "", 10, NOW), Spend::Fresh);
    // Nobody whom this machine knows has signed it.
    let stranger = RedisStore::new(&url).unwrap();
    let error = block_on(stranger.check()).unwrap_err();
    assert!(error.is_connection(), "{error}");
    // Who has signed it is known, and it is another's: it names the address, and no host.
    let elsewhere =
        RedisStore::with_roots(&url.replace("127.0.0.1", "localhost"), &std::fs::read(&certificate).unwrap());
    let error = block_on(elsewhere.unwrap().check()).unwrap_err();
    assert!(error.is_connection() && error.to_string().contains("not valid for name"), "{error}");
}

/// One verb with its arguments, by which the script is compared to the rules.
#[derive(Clone, Debug)]
enum Verb {
    Count(bool),
    TakeBack(bool),
    Spend(u8, u64, u64),
    ClearFailures,
    Begin { ticket: u8, about: u8, joins: bool, budget: bool, starting_for: u64, lifetime: u64 },
    Keep(u8, u64),
    Find(Asked),
    Redeem(Asked),
    End(u8, PushEnd),
    ClearPushes,
}

/// The ticket, what it is about, and whose id is said to be its own.
#[derive(Clone, Debug)]
struct Asked(u8, u8, u8);

fn verb() -> impl Strategy<Value = Verb> {
    let step = prop_oneof![0..6_u64, (1_u64 << 53) - 2..(1 << 53) + 3, u64::MAX - 3..=u64::MAX];
    prop_oneof![
        6 => any::<bool>().prop_map(Verb::Count),
        1 => any::<bool>().prop_map(Verb::TakeBack),
        4 => (0..2_u8, step, 0..100_000_u64).prop_map(|(device, step, keep)| Verb::Spend(device, step, keep)),
        1 => Just(Verb::ClearFailures),
        13 => push_verb(),
    ]
}

/// Of few pushes, so that many of them are somebody's.
fn push_verb() -> impl Strategy<Value = Verb> {
    let ticket = 0..3_u8;
    let begin = (ticket.clone(), 0..2_u8, any::<bool>(), any::<bool>(), 0..50_000_u64, 0..200_000_u64).prop_map(
        |(ticket, about, joins, budget, starting_for, lifetime)| Verb::Begin {
            ticket,
            about,
            joins,
            budget,
            starting_for,
            lifetime,
        },
    );
    let asked = (ticket.clone(), 0..2_u8, ticket.clone(), any::<bool>())
        .prop_map(|(ticket, about, other, its_own)| Asked(ticket, about, if its_own { ticket } else { other }));
    let end = prop_oneof![1 => Just(PushEnd::Asked), 1 => Just(PushEnd::NotAsked), 3 => Just(PushEnd::Uncertain)];
    prop_oneof![
        4 => begin,
        3 => (ticket.clone(), 0..200_000_u64).prop_map(|(ticket, until)| Verb::Keep(ticket, until)),
        2 => asked.clone().prop_map(Verb::Find),
        2 => asked.prop_map(Verb::Redeem),
        4 => (ticket, end).prop_map(|(ticket, end)| Verb::End(ticket, end)),
        1 => Just(Verb::ClearPushes),
    ]
}

/// How the clock moves between two verbs, in milliseconds.
fn moves() -> impl Strategy<Value = i64> {
    let year = Throttle::FORGET_AFTER.as_millis() as i64;
    let day = Throttle::FORGET_FEW_AFTER.as_millis() as i64;
    prop_oneof![
        4 => Just(0),
        4 => 0..5_000_i64,
        3 => 0..100_000_i64,
        1 => 0..90_000_000_i64,
        1 => -100_000..0_i64,
        1 => prop_oneof![Just(-year), Just(year), Just(year + 1), Just(100 * year), Just(-100 * year), Just(day), Just(day + 1)],
    ]
}

async fn done<S: Store + PushStore>(store: &S, verb: &Verb, now: Duration) -> String
where
    <S as Store>::Error: std::fmt::Debug,
    <S as PushStore>::Error: std::fmt::Debug,
{
    let alice = user("alice");
    let ms = Duration::from_millis;
    let ticket = |number: u8| Ticket::from_bytes([number; 16]);
    let id = |number: u8| ApprovalId::new(format!("{number} \0\n{{}} \u{e9}")).unwrap();
    let asked = |Asked(number, about, of): &Asked| AskedPush::new(ticket(*number), [*about; 32], id(*of));
    let default = Throttle::default();
    let strict = Throttle::new(2, ms(1500), ms(7001), 9).unwrap();
    let throttle = |other: bool| if other { &strict } else { &default };
    match verb {
        Verb::Count(other) => format!("{:?}", store.count_attempt(&alice, throttle(*other), now).await.unwrap()),
        Verb::TakeBack(other) => format!("{:?}", store.take_back_attempt(&alice, throttle(*other)).await.unwrap()),
        Verb::Spend(device, step, keep) => {
            let device = ["", "phone"][usize::from(*device)];
            // In whole seconds: a store may keep a step for longer, and the memory store does so up to the next one.
            let until = Duration::from_secs((now + ms(*keep)).as_millis().div_ceil(1000) as u64);
            format!("{:?}", store.spend_step(&alice, device, *step, until, now).await.unwrap())
        }
        Verb::ClearFailures => format!("{:?}", store.clear_failures(&alice).await.unwrap()),
        Verb::Begin { ticket: number, about, joins, budget, starting_for, lifetime } => {
            let mut push = NewPush::new(ticket(*number), [*about; 32]);
            push.joins = *joins;
            push.starting_for = ms(*starting_for);
            push.lifetime = ms(*lifetime);
            if *budget {
                push.budget = PushBudget::new(2, ms(60_001)).unwrap();
            }
            format!("{:?}", store.begin_push(&alice, &push, &default, now).await.unwrap())
        }
        Verb::Keep(number, until) => {
            format!("{:?}", store.keep_push(&alice, ticket(*number), &id(*number), now + ms(*until)).await.unwrap())
        }
        Verb::Find(push) => format!("{:?}", store.find_push(&alice, &asked(push), &default, now).await.unwrap()),
        Verb::Redeem(push) => format!("{:?}", store.redeem_push(&alice, &asked(push), &default, now).await.unwrap()),
        Verb::End(number, end) => format!("{:?}", store.end_push(&alice, ticket(*number), *end).await.unwrap()),
        Verb::ClearPushes => format!("{:?}", store.clear_pushes(&alice).await.unwrap()),
    }
}

/// Whatever comes, and however the clocks jump, the script says what the rules in Rust say.
fn alike(verbs: &[(Verb, i64)]) -> Result<(), TestCaseError> {
    let Some(redis) = &*ALONE else { return Ok(()) };
    let (store, model) = (redis.store(), MemoryStore::new());
    let mut now: i64 = 20_000_000_000_000;
    for (verb, step) in verbs {
        now = (now + step).max(0);
        let time = Duration::from_millis(now as u64);
        let (said, expected) = block_on(async { (done(&store, verb, time).await, done(&model, verb, time).await) });
        prop_assert_eq!(said, expected, "{:?} at {}", verb, now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_script_keeps_the_rules(verbs in prop::collection::vec((verb(), moves()), 1..80)) {
        alike(&verbs)?;
    }

    /// Longer, so that budgets are spent by what nobody is certain of, too.
    #[test]
    fn the_script_keeps_the_rules_of_pushes(verbs in prop::collection::vec((push_verb(), moves()), 1..150)) {
        alike(&verbs)?;
    }
}
