//! The store in Redis: the suites of all stores, alone and in a cluster, and its keys, expiries and round trips.
//!
//! `REDIS_SERVER=valkey-server cargo test --test suite stores::redis` runs the same with Valkey.
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use crate::support::servers::RedisStores;
use proptest::prelude::*;
use test_support::redis::{Redis, free_port};
use tower_toopher::store::{
    Admission, ApprovalKey, ApprovalLimit, ApprovalRef, ApprovalStore, BeginOutcome, EndReason, FindOutcome,
    MemoryStore, NewApproval, Records, RedisErrorKind, RedisStore, StepOutcome, Store, Throttle, UsedStep,
};
use tower_toopher::test_util::conformance::{NOW, admit, record, secs, time, user};
use tower_toopher::test_util::{approval_store_conformance, approvals, block_on, store_conformance};
use tower_toopher::time::UnixTime;
use tower_toopher::verify::ApprovalId;

static ALONE: LazyLock<Option<Redis>> = LazyLock::new(|| Redis::start(&[]));

/// One node with all slots, so that it checks that the keys of an operation are in one slot.
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
approval_store_conformance!(pushes_alone, || store_of(&ALONE));
approval_store_conformance!(approvals_in_a_cluster, || store_of(&CLUSTER));

/// Each skipped test is reported.
fn store_of(redis: &Option<Redis>) -> Option<RedisStore> {
    test_support::have(&[&test_support::redis::program()]).then(|| redis.as_ref().map(Redis::store))?
}

/// A server for one test, and a store with keys of all kinds.
fn filled() -> Option<(Redis, RedisStore)> {
    let redis = Redis::start(&[])?;
    let store = redis.store();
    assert_eq!(record(&store, "alice", "phone", 10, NOW), StepOutcome::Fresh);
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    assert_eq!(
        approvals::begin(&store, "alice", &NewApproval::new(approvals::key(1), [7; 32]), NOW),
        BeginOutcome::Begun
    );
    assert!(approvals::set_id(&store, "alice", 1, NOW + 120));
    Some((redis, store))
}

fn keys(redis: &Redis) -> HashMap<char, String> {
    // The letter after the braces is the kind of the key.
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
    // The suite keeps a step for 1000 seconds. A minute is added.
    let ends_in = |kind: char, time: i64| {
        let left = ttl(&redis, &keys[&kind]);
        assert!(left > time && left <= time + 60 * SECOND, "{kind}: {left}");
    };
    ends_in('s', 1000 * SECOND);
    ends_in('a', 30 * DAY);
    // The failures of an invented name expire after 30 days. Failures with a delay remain.
    for _ in 1..5 {
        ends_in('f', 30 * DAY);
        assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    }
    ends_in('f', 365 * DAY);
    block_on(store.clear(&user("alice"), Records::Failures)).unwrap();
    // The verifier keeps a step much longer than its code is accepted: for 42 steps instead of three.
    let (verifier, ..) = crate::support::totp_verifier();
    let service = verifier.store(store.clone());
    let attempt = tower_toopher::Attempt::new(user("alice"), "x").with_otp(crate::support::CODE.parse().ok());
    let verdict = block_on(tower::ServiceExt::oneshot(service, attempt)).unwrap();
    assert_eq!(verdict, tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp));
    let written: Vec<String> = redis.ask(&["KEYS", "*:s:*"]);
    let key = written.iter().find(|key| **key != keys[&'s']).unwrap();
    assert!(ttl(&redis, key) > 42 * 30 * SECOND);
    // A later step with a shorter time does not shorten the time of the first one.
    let shorter =
        block_on(store.record_step(&user("alice"), &UsedStep::new("phone", 11, time(NOW + 1)), time(NOW))).unwrap();
    assert_eq!(shorter, StepOutcome::Fresh);
    assert!(ttl(&redis, &keys[&'s']) > 990 * SECOND);
    // A record that was written while the clock was far ahead expires in its time.
    assert_eq!(record(&store, "bob", "", 10, NOW + 1_000_000_000), StepOutcome::Fresh);
    assert!(record(&store, "bob", "", 10, NOW) == StepOutcome::Replayed);
    let all: Vec<String> = redis.ask(&["KEYS", "*"]);
    assert!(all.iter().all(|key| (0..=366 * DAY).contains(&ttl(&redis, key))));
}

#[test]
fn a_key_without_an_expiry_gets_one_unless_it_is_a_lock_out() {
    let Some((redis, store)) = filled() else { return };
    let keys = keys(&redis);
    let persist = || keys.values().for_each(|key| redis.ask::<()>(&["PERSIST", key]));
    let healed = |kind: char| ttl(&redis, &keys[&kind]) > 0;
    persist();
    assert_eq!(record(&store, "alice", "phone", 10, NOW), StepOutcome::Replayed);
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    block_on(store.end_approval(&user("alice"), approvals::key(2), EndReason::Sent)).unwrap();
    assert!(healed('s') && healed('f') && healed('a'));
    persist();
    block_on(store.release_attempt(&user("alice"), &Throttle::default())).unwrap();
    assert!(!approvals::set_id(&store, "alice", 2, NOW));
    assert!(healed('f') && healed('a'));
    persist();
    let second = NewApproval::new(approvals::key(2), [7; 32]);
    assert!(matches!(approvals::begin(&store, "alice", &second, NOW), BeginOutcome::Join { .. }));
    assert!(healed('f') && healed('a'));
    // An operation that only reads sets the expiry too, and changes nothing else.
    persist();
    assert_eq!(
        block_on(store.find_approval(&user("alice"), &approvals::reference(1), &Throttle::default(), time(NOW)))
            .unwrap(),
        FindOutcome::Found
    );
    assert!(healed('f') && healed('a'));
    // An expired record that was never deleted has no effect.
    persist();
    assert_eq!(record(&store, "alice", "phone", 9, NOW + 1000), StepOutcome::Fresh);
    assert!(healed('s'));
    let strict = Throttle::new(1, secs(1), secs(1), 1).unwrap();
    let admit_strictly = |now| block_on(store.count_attempt(&user("alice"), &strict, time(now))).unwrap();
    assert_eq!(admit_strictly(NOW), Admission::Admitted);
    assert_eq!(ttl(&redis, &keys[&'f']), -1);
    redis.ask::<()>(&["PEXPIRE", &keys[&'f'], "1000000"]);
    assert_eq!(admit_strictly(NOW), Admission::LockedOut);
    assert_eq!(ttl(&redis, &keys[&'f']), -1, "a lock-out with an expiry");
    block_on(store.release_attempt(&user("alice"), &strict)).unwrap();
    assert!(healed('f'));
}

#[test]
fn keys_are_in_one_slot_and_contain_no_names() {
    let Some(redis) = &*CLUSTER else { return };
    let store = redis.store();
    let mut slots = HashSet::new();
    for name in ["alice", "{alice}", "}{", "a:f"] {
        for device in ["", "{x}", "phone"] {
            assert_eq!(record(&store, name, device, 10, NOW), StepOutcome::Fresh);
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
    crate::support::burst::at_verifiers([store(), store()]).await;
}

#[test]
fn an_operation_is_one_round_trip_and_an_attempt_two() {
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
    // The first call loaded the script.
    assert_eq!(calls(), (1, 1));
    let (verifier, ..) = crate::support::totp_verifier();
    let service = verifier.store(store.clone());
    let attempt = tower_toopher::Attempt::new(user("alice"), "x").with_otp(crate::support::CODE.parse().ok());
    let verdict = block_on(tower::ServiceExt::oneshot(service, attempt)).unwrap();
    assert_eq!(verdict, tower_toopher::Verdict::Granted(tower_toopher::Factor::Totp));
    assert_eq!(calls(), (3, 1));
    let alice = user("alice");
    let (key, throttle) = (approvals::key(1), Throttle::default());
    let _ = approvals::begin(&store, "alice", &NewApproval::new(key, [7; 32]), NOW);
    let _ = approvals::set_id(&store, "alice", 1, NOW + 120);
    let _ = block_on(store.find_approval(&alice, &approvals::reference(1), &throttle, time(NOW))).unwrap();
    let _ = approvals::redeem(&store, "alice", 1, NOW);
    block_on(store.end_approval(&alice, key, EndReason::Sent)).unwrap();
    block_on(store.clear(&alice, Records::Approvals)).unwrap();
    block_on(store.clear(&alice, Records::Failures)).unwrap();
    block_on(store.clear(&alice, Records::FailuresAndApprovals)).unwrap();
    assert_eq!(calls(), (11, 1));
    // The store knows no attempt to release, so it sends nothing.
    block_on(store.release_attempt(&alice, &throttle)).unwrap();
    assert_eq!(calls(), (11, 1));
    assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    block_on(store.release_attempt(&alice, &throttle)).unwrap();
    assert_eq!(calls(), (13, 1));
    // An administrator flushes the scripts: the next operation loads the script, and is executed once.
    redis.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(record(&store, "bob", "", 10, NOW), StepOutcome::Fresh);
    assert_eq!(calls(), (14, 2));
    let clients: String = redis.ask(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().filter(|line| line.contains("resp=3")).count(), 1, "one connection: {clients}");
}

#[test]
fn an_invalid_record_is_an_error_and_grants_nothing() {
    let Some((redis, store)) = filled() else { return };
    let keys = keys(&redis);
    let alice = user("alice");
    let throttle = Throttle::default();
    let refused = |kinds: &[char]| {
        let mut errors = vec![];
        if kinds.contains(&'f') {
            errors.push(block_on(store.count_attempt(&alice, &throttle, time(NOW))).unwrap_err());
            errors.push(
                block_on(store.redeem_approval(&alice, &approvals::reference(1), &throttle, time(NOW))).unwrap_err(),
            );
        }
        if kinds.contains(&'s') {
            errors.push(
                block_on(store.record_step(&alice, &UsedStep::new("phone", 99, time(NOW)), time(NOW))).unwrap_err(),
            );
        }
        if kinds.contains(&'a') {
            let id = ApprovalId::new("x").unwrap();
            errors.push(
                block_on(store.redeem_approval(&alice, &approvals::reference(1), &throttle, time(NOW))).unwrap_err(),
            );
            errors.push(
                block_on(store.find_approval(&alice, &approvals::reference(1), &throttle, time(NOW))).unwrap_err(),
            );
            errors.push(block_on(store.set_approval_id(&alice, approvals::key(1), &id, time(NOW))).unwrap_err());
            errors.push(block_on(store.end_approval(&alice, approvals::key(1), EndReason::Sent)).unwrap_err());
        }
        for error in errors {
            assert!(error.code().is_some(), "{error}");
        }
    };
    for kind in ['f', 's', 'a'] {
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
            if (kind, broken) == ('a', "1 2 3") {
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
    assert_eq!(approvals::redeem(&store, "alice", 1, NOW), FindOutcome::Found);
}

#[test]
fn a_server_that_is_full_or_a_replica_refuses_and_loses_nothing() {
    let Some((redis, store)) = filled() else { return };
    let code = |of: Result<(), tower_toopher::store::RedisError>| of.unwrap_err().code().map(ToOwned::to_owned);
    let record_next = || {
        block_on(store.record_step(&user("alice"), &UsedStep::new("phone", 11, time(NOW + 1000)), time(NOW))).map(drop)
    };
    let count = || block_on(store.count_attempt(&user("alice"), &Throttle::default(), time(NOW))).map(drop);
    let check = || block_on(store.check());
    check().unwrap();
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(code(check()).as_deref(), Some("OOM"));
    assert_eq!(code(record_next()).as_deref(), Some("OOM"));
    assert_eq!(code(count()).as_deref(), Some("OOM"));
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(code(check()).as_deref(), Some("READONLY"));
    assert_eq!(code(record_next()).as_deref(), Some("READONLY"));
    assert_eq!(code(count()).as_deref(), Some("READONLY"));
    redis.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    redis.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(code(check()).as_deref(), Some("NOREPLICAS"));
    assert_eq!(code(record_next()).as_deref(), Some("NOREPLICAS"));
    assert_eq!(code(count()).as_deref(), Some("NOREPLICAS"));
    redis.ask::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    check().unwrap();
    assert_eq!(keys(&redis).len(), 3, "a check leaves nothing behind");
    // No code was used up, and no attempt was counted.
    assert_eq!(record(&store, "alice", "phone", 11, NOW), StepOutcome::Fresh);
    for _ in 0..5 {
        assert_eq!(admit(&store, "alice", NOW), Admission::Admitted);
    }
}

#[test]
fn a_server_that_evicts_keys_is_reported() {
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
fn a_server_without_a_log_is_not_persistent() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = redis.store();
    assert!(!block_on(store.is_persistent()).unwrap());
    redis.ask::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    assert!(block_on(store.is_persistent()).unwrap());
}

#[test]
fn the_documented_permissions_are_sufficient() {
    let Some(redis) = Redis::start(&[]) else { return };
    redis.ask::<()>(&[
        "ACL",
        "SETUSER",
        "toopher",
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
    let url = |password: &str| format!("redis://toopher:{password}@127.0.0.1:{}/0", redis.port);
    let store = RedisStore::new(&url("hunter2")).unwrap();
    block_on(store.check()).unwrap();
    for _ in 0..2 {
        let _ = admit(&store, "alice", NOW);
        let _ = record(&store, "alice", "", 10, NOW);
    }
    let elsewhere = || block_on(RedisStore::new(&url("hunter2").replace("/0", "/3")).unwrap().check());
    assert!(elsewhere().unwrap_err().code().is_some());
    redis.ask::<()>(&["ACL", "SETUSER", "toopher", "+select"]);
    elsewhere().unwrap();
    assert!(!format!("{store:?} {store:#?}").contains("hunter2"));
    assert!(format!("{store:?}").contains("127.0.0.1"));
    let other = store.clone().prefix("other").unwrap();
    for error in
        [block_on(other.clear(&user("alice"), Records::Failures)).unwrap_err(), block_on(other.check()).unwrap_err()]
    {
        assert_eq!(error.code(), Some("NOPERM"), "{error}");
    }
    // A missing permission is reported at the start, not when it is needed.
    for right in ["set", "get", "pttl", "pexpire", "del", "info"] {
        redis.ask::<()>(&["ACL", "SETUSER", "toopher", &format!("-{right}")]);
        assert!(block_on(store.check()).is_err(), "{right}");
        redis.ask::<()>(&["ACL", "SETUSER", "toopher", &format!("+{right}")]);
    }
    block_on(store.check()).unwrap();
    let wrong = RedisStore::new(&url("wrong-one")).unwrap();
    let error = block_on(wrong.check()).unwrap_err();
    assert_eq!(error.code(), Some("WRONGPASS"));
}

#[test]
fn valid_and_invalid_urls() {
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
        assert!(!format!("{error} {error:?}").contains("hunter2") && error.kind() != RedisErrorKind::Timeout, "{bad}");
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
    let error =
        futures_util::FutureExt::now_or_never(store.clear(&user("alice"), Records::Failures)).unwrap().unwrap_err();
    assert!(error.to_string().contains("runtime"));
}

#[test]
fn over_tls_with_an_authority_of_its_own() {
    if !test_support::have(&[&test_support::redis::program(), "openssl"]) {
        return;
    }
    let folder = test_support::process::scratch("redis-tls");
    test_support::process::certificate(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let port = free_port().to_string();
    let (certificate, key) = (path("tls.pem"), path("tls.key"));
    let options =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let Some(_redis) = Redis::start(&options) else { return };
    let url = format!("rediss://127.0.0.1:{port}");
    let store = RedisStore::with_roots(&url, &std::fs::read(&certificate).unwrap()).unwrap();
    block_on(store.check()).unwrap();
    assert_eq!(record(&store, "alice", "", 10, NOW), StepOutcome::Fresh);
    // The certificate is not from an authority that this machine trusts.
    let stranger = RedisStore::new(&url).unwrap();
    let error = block_on(stranger.check()).unwrap_err();
    assert!(error.kind() == RedisErrorKind::Connection, "{error}");
    // The authority is trusted, and the certificate is for another host: it names the address, and no host.
    let elsewhere =
        RedisStore::with_roots(&url.replace("127.0.0.1", "localhost"), &std::fs::read(&certificate).unwrap());
    let error = block_on(elsewhere.unwrap().check()).unwrap_err();
    assert!(error.kind() == RedisErrorKind::Connection && error.to_string().contains("not valid for name"), "{error}");
}

/// An operation with its arguments, for which the script is compared with the rules.
#[derive(Clone, Debug)]
enum Operation {
    Count(bool),
    Release(bool),
    RecordStep(u8, u64, u64),
    ClearFailures,
    ClearBoth,
    Begin { number: u8, binding: u8, joins: bool, limited: bool, request_timeout: u64, lifetime: u64 },
    SetId(u8, u64),
    Find(Ref),
    Redeem(Ref),
    End(u8, EndReason),
    ClearApprovals,
}

/// The key, the binding, and the number of the id.
#[derive(Clone, Debug)]
struct Ref(u8, u8, u8);

fn operation() -> impl Strategy<Value = Operation> {
    let step = prop_oneof![0..6_u64, (1_u64 << 53) - 2..(1 << 53) + 3, u64::MAX - 3..=u64::MAX];
    prop_oneof![
        6 => any::<bool>().prop_map(Operation::Count),
        1 => any::<bool>().prop_map(Operation::Release),
        4 => (0..2_u8, step, 0..100_000_u64).prop_map(|(device, step, keep)| Operation::RecordStep(device, step, keep)),
        1 => Just(Operation::ClearFailures),
        1 => Just(Operation::ClearBoth),
        13 => approval_operation(),
    ]
}

/// Few approvals, so that many of them belong to a user.
fn approval_operation() -> impl Strategy<Value = Operation> {
    let number = 0..3_u8;
    let begin = (number.clone(), 0..2_u8, any::<bool>(), any::<bool>(), 0..50_000_u64, 0..200_000_u64).prop_map(
        |(number, binding, joins, limited, request_timeout, lifetime)| Operation::Begin {
            number,
            binding,
            joins,
            limited,
            request_timeout,
            lifetime,
        },
    );
    let approval = (number.clone(), 0..2_u8, number.clone(), any::<bool>())
        .prop_map(|(number, binding, other, its_own)| Ref(number, binding, if its_own { number } else { other }));
    let end = prop_oneof![1 => Just(EndReason::Sent), 1 => Just(EndReason::NotSent), 3 => Just(EndReason::Uncertain)];
    prop_oneof![
        4 => begin,
        3 => (number.clone(), 0..200_000_u64).prop_map(|(number, until)| Operation::SetId(number, until)),
        2 => approval.clone().prop_map(Operation::Find),
        2 => approval.prop_map(Operation::Redeem),
        4 => (number, end).prop_map(|(number, end)| Operation::End(number, end)),
        1 => Just(Operation::ClearApprovals),
    ]
}

/// The change of the clock between two operations, in milliseconds.
fn moves() -> impl Strategy<Value = i64> {
    let year = Throttle::COUNT_TTL.as_millis() as i64;
    let day = Throttle::SMALL_COUNT_TTL.as_millis() as i64;
    prop_oneof![
        4 => Just(0),
        4 => 0..5_000_i64,
        3 => 0..100_000_i64,
        1 => 0..90_000_000_i64,
        1 => -100_000..0_i64,
        1 => prop::sample::select(vec![-year, year, year + 1, 100 * year, -100 * year, day, day + 1]),
    ]
}

async fn done<S: ApprovalStore>(store: &S, operation: &Operation, now: UnixTime) -> String
where
    S::Error: std::fmt::Debug,
{
    let alice = user("alice");
    let ms = Duration::from_millis;
    let key = |number: u8| ApprovalKey::from_bytes([number; 16]);
    let id = |number: u8| ApprovalId::new(format!("{number} \0\n{{}} \u{e9}")).unwrap();
    let approval_ref = |Ref(number, binding, of): &Ref| ApprovalRef::new(key(*number), [*binding; 32], id(*of));
    let default = Throttle::default();
    let strict = Throttle::new(2, ms(1500), ms(7001), 9).unwrap();
    let throttle = |other: bool| if other { &strict } else { &default };
    match operation {
        Operation::Count(other) => format!("{:?}", store.count_attempt(&alice, throttle(*other), now).await.unwrap()),
        Operation::Release(other) => format!("{:?}", store.release_attempt(&alice, throttle(*other)).await.unwrap()),
        Operation::RecordStep(device, step, keep) => {
            let device = ["", "phone"][usize::from(*device)];
            // In whole seconds: a store may keep a step for longer, and the memory store does so up to the next one.
            let until = UnixTime::from_secs((now + ms(*keep)).since_epoch().as_millis().div_ceil(1000) as u64);
            format!("{:?}", store.record_step(&alice, &UsedStep::new(device, *step, until), now).await.unwrap())
        }
        Operation::ClearBoth => {
            format!("{:?}", store.clear(&alice, Records::FailuresAndApprovals).await.unwrap())
        }
        Operation::ClearFailures => format!("{:?}", store.clear(&alice, Records::Failures).await.unwrap()),
        Operation::Begin { number, binding, joins, limited, request_timeout, lifetime } => {
            let mut approval = NewApproval::new(key(*number), [*binding; 32])
                .with_joining(*joins)
                .with_request_timeout(ms(*request_timeout))
                .with_lifetime(ms(*lifetime));
            if *limited {
                approval = approval.with_limit(ApprovalLimit::new(2, ms(60_001)).unwrap());
            }
            format!("{:?}", store.begin_approval(&alice, &approval, &default, now).await.unwrap())
        }
        Operation::SetId(number, until) => {
            format!("{:?}", store.set_approval_id(&alice, key(*number), &id(*number), now + ms(*until)).await.unwrap())
        }
        Operation::Find(approval) => {
            format!("{:?}", store.find_approval(&alice, &approval_ref(approval), &default, now).await.unwrap())
        }
        Operation::Redeem(approval) => {
            format!("{:?}", store.redeem_approval(&alice, &approval_ref(approval), &default, now).await.unwrap())
        }
        Operation::End(number, end) => {
            format!("{:?}", store.end_approval(&alice, key(*number), *end).await.unwrap())
        }
        Operation::ClearApprovals => format!("{:?}", store.clear(&alice, Records::Approvals).await.unwrap()),
    }
}

/// The script and the rules in Rust return the same, for any operations and any clock.
fn alike(operations: &[(Operation, i64)]) -> Result<(), TestCaseError> {
    let Some(redis) = &*ALONE else { return Ok(()) };
    let (store, model) = (redis.store(), MemoryStore::new());
    let mut now: i64 = 20_000_000_000_000;
    for (operation, step) in operations {
        now = (now + step).max(0);
        let time = UnixTime::from_millis(now as u64);
        let (returned, expected) =
            block_on(async { (done(&store, operation, time).await, done(&model, operation, time).await) });
        prop_assert_eq!(returned, expected, "{:?} at {}", operation, now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_script_keeps_the_rules(operations in prop::collection::vec((operation(), moves()), 1..80)) {
        alike(&operations)?;
    }

    /// Longer, so that uncertain ends reach limits too.
    #[test]
    fn the_script_keeps_the_rules_of_approvals(
        operations in prop::collection::vec((approval_operation(), moves()), 1..150),
    ) {
        alike(&operations)?;
    }
}
