//! PostgreSQL: real concurrency, other settings of the database, and two servers in one process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use test_support::postgres::{Postgres, shared};
use tokio::sync::Barrier;
use toopher_server::{SealingKey, Server};
use toopher_server_test_support::site::{HOST, Phone, Site};
use toopher_server_test_support::{Clock, T, alice, user};
use tower::ServiceExt;
use tower_toopher::store::{Admission, PgDatabase, PgStore, Records, StepOutcome, Store, Throttle, UsedStep};
use tower_toopher::time::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(T);
const LATER: UnixTime = UnixTime::from_secs(T + 1000);

/// Runs the futures concurrently, and returns their results.
async fn run_concurrently<T: Send + 'static, F: Future<Output = T> + Send + 'static>(work: Vec<F>) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(work.len()));
    let tasks = work.into_iter().map(|work| {
        let barrier = barrier.clone();
        tokio::spawn(async move {
            barrier.wait().await;
            work.await
        })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

fn pg_database(postgres: &Postgres, name: &str) -> PgDatabase {
    PgDatabase::new(&postgres.socket_url(name)).unwrap()
}

async fn stores(postgres: &Postgres, database: &str, count: usize) -> Vec<PgStore> {
    let location = pg_database(postgres, database);
    // At once: one of them creates the tables, and the others wait for it.
    let opening: Vec<_> = (0..count)
        .map(|_| {
            let location = location.clone();
            async move { PgStore::open(&location).await.unwrap() }
        })
        .collect();
    run_concurrently(opening).await
}

/// The guarantees hold whatever the settings of the database are.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_database_do_not_weaken_the_guarantees() {
    let Some(postgres) = shared() else { return };
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "synchronous_commit = off",
        "search_path = ''",
    ] {
        let database = postgres.new_database();
        postgres.sql("postgres", &format!("ALTER DATABASE {database} SET {setting}"));
        let stores = stores(postgres, &database, 3).await;
        for round in 0..10 {
            let name = user(&format!("user {round}"));
            let counting = (0..30).map(|at| {
                let (store, name) = (stores[at % 3].clone(), name.clone());
                async move { store.count_attempt(&name, &Throttle::default(), NOW).await.unwrap() }
            });
            let admitted = run_concurrently(counting.collect()).await;
            assert_eq!(admitted.iter().filter(|outcome| **outcome == Admission::Admitted).count(), 5, "{setting}");
            let recording = (0..30).map(|at| {
                let (store, name) = (stores[at % 3].clone(), name.clone());
                async move { store.record_step(&name, &UsedStep::new("", 10, LATER), NOW).await.unwrap() }
            });
            let outcomes = run_concurrently(recording.collect()).await;
            assert_eq!(outcomes.iter().filter(|outcome| **outcome == StepOutcome::Fresh).count(), 1, "{setting}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wrong_codes_at_two_verifiers_are_five_attempts() {
    let Some(postgres) = shared() else { return };
    let stores = stores(postgres, &postgres.new_database(), 2).await;
    toopher_server_test_support::burst::attack_verifiers(stores.try_into().unwrap()).await;
}

/// Concurrent resets, successes and attempts: none of them restores what another one has deleted.
#[tokio::test(flavor = "multi_thread")]
async fn cleared_failures_are_not_restored() {
    let Some(postgres) = shared() else { return };
    let database = postgres.new_database();
    let stores = stores(postgres, &database, 2).await;
    let throttle = Throttle::new(100, Duration::from_secs(1), Duration::from_secs(1), 100).unwrap();
    for round in 0..20 {
        for _ in 0..30 {
            let _ = stores[0].count_attempt(&alice(), &throttle, NOW).await.unwrap();
        }
        let work = (0..8).map(|at| {
            let store = stores[at % 2].clone();
            async move {
                match at {
                    4 => store.clear(&alice(), Records::Failures).await.unwrap(),
                    _ => drop(store.count_attempt(&alice(), &throttle, NOW).await.unwrap()),
                }
            }
        });
        run_concurrently(work.collect()).await;
        let left = postgres.sql(&database, "SELECT coalesce(max(count), 0) FROM toopher.failures");
        assert!(left.parse::<u32>().unwrap() <= 7, "{round}: {left}");
        stores[0].clear(&alice(), Records::Failures).await.unwrap();
    }
}

/// A future that is dropped at any time leaves no lock and no connection in an unknown state.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_operations_hold_no_locks() {
    let Some(postgres) = shared() else { return };
    let location = pg_database(postgres, &postgres.new_database()).connections(2);
    let store = PgStore::open(&location).await.unwrap();
    let alice = alice();
    for step in 0..200_u64 {
        let used = UsedStep::new("", step, LATER);
        let record = store.record_step(&alice, &used, NOW);
        let _ = tokio::time::timeout(Duration::from_micros(step * 20), record).await;
    }
    let start = std::time::Instant::now();
    assert_eq!(store.record_step(&alice, &UsedStep::new("", 1000, LATER), NOW).await.unwrap(), StepOutcome::Fresh);
    assert_eq!(store.record_step(&alice, &UsedStep::new("", 999, LATER), NOW).await.unwrap(), StepOutcome::Replayed);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// An operation behind a lock of another client fails in time, and succeeds when the lock is released.
#[tokio::test(flavor = "multi_thread")]
async fn all_waits_are_limited() {
    let Some(postgres) = shared() else { return };
    let database = postgres.new_database();
    let store = PgStore::open(&pg_database(postgres, &database)).await.unwrap();
    let _ = store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap();
    let holding = {
        let database = database.clone();
        std::thread::spawn(move || {
            let hold = "BEGIN; LOCK TABLE toopher.failures; SELECT pg_sleep(7); COMMIT";
            shared().unwrap().sql(&database, hold)
        })
    };
    let held =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'toopher.failures'::regclass";
    while postgres.sql(&database, held) != "1" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let start = std::time::Instant::now();
    let error = store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(7), "{error} {:?}", start.elapsed());
    holding.join().unwrap();
    for _ in 0..4 {
        assert_eq!(store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap(), Admission::Admitted);
    }
    let outcome = store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap();
    assert!(matches!(outcome, Admission::Throttled { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_rows_are_deleted_and_no_others() {
    let Some(postgres) = shared() else { return };
    let store = PgStore::open(&pg_database(postgres, &postgres.new_database())).await.unwrap();
    for (name, until) in [("a", 10), ("b", 20), ("c", 30)] {
        let until = NOW + Duration::from_secs(until);
        assert_eq!(
            store.record_step(&user(name), &UsedStep::new("", 1, until), NOW).await.unwrap(),
            StepOutcome::Fresh
        );
    }
    let now = NOW + Duration::from_secs(20);
    assert_eq!(store.delete_expired(now).await.unwrap(), 1);
    assert_eq!(store.delete_expired(now).await.unwrap(), 0);
    assert_eq!(store.record_step(&user("c"), &UsedStep::new("", 1, LATER), now).await.unwrap(), StepOutcome::Replayed);
    store.clear(&user("c"), Records::Approvals).await.unwrap();
}

/// A standby is not used, whatever it contains. The store recovers when there is a primary again.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_not_used() {
    let Some(mut postgres) = Postgres::start(&[]) else { return };
    let location = pg_database(&postgres, "postgres");
    let store = PgStore::open(&location).await.unwrap();
    assert_eq!(store.record_step(&alice(), &UsedStep::new("", 10, LATER), NOW).await.unwrap(), StepOutcome::Fresh);
    for _ in 0..5 {
        let _ = store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap();
    }
    postgres.kill();
    postgres.become_standby(true);
    postgres.start_again();
    assert!(PgStore::open(&location).await.unwrap_err().to_string().contains("standby"));
    assert!(store.record_step(&alice(), &UsedStep::new("", 11, LATER), NOW).await.is_err());
    // This would succeed without a write.
    assert!(store.count_attempt(&alice(), &Throttle::default(), NOW).await.is_err());
    postgres.kill();
    postgres.become_standby(false);
    postgres.start_again();
    assert!(matches!(
        store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap(),
        Admission::Throttled { .. }
    ));
    assert_eq!(store.record_step(&alice(), &UsedStep::new("", 10, LATER), NOW).await.unwrap(), StepOutcome::Replayed);
}

/// The tables of an application in the same database are separate.
#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_separate_and_needs_few_rights() {
    let Some(postgres) = shared() else { return };
    let database = postgres.new_database();
    postgres.sql(
        &database,
        "CREATE TABLE users (x INT); CREATE TABLE failures (x INT); CREATE TABLE _sqlx_migrations (x INT)",
    );
    postgres.sql(&database, &format!("CREATE ROLE guest_of_{database} LOGIN PASSWORD 'guest'"));
    postgres.sql(&database, &format!("CREATE SCHEMA toopher AUTHORIZATION guest_of_{database}"));
    let url = format!("postgres://guest_of_{database}:guest@127.0.0.1:{}/{database}", postgres.port);
    for _ in 0..2 {
        let store = PgStore::open(&PgDatabase::new(&url).unwrap()).await.unwrap();
        assert_eq!(store.count_attempt(&alice(), &Throttle::default(), NOW).await.unwrap(), Admission::Admitted);
    }
    assert_eq!(postgres.sql(&database, "SELECT count(*) FROM toopher.failures"), "1");
    assert_eq!(postgres.sql(&database, "SELECT count(*) FROM public.failures"), "0");
}

/// Two servers, which only share the database, as in two processes.
struct Two {
    database: String,
    servers: [Server; 2],
    sites: [Site; 2],
}

async fn two(postgres: &Postgres, clock: &Clock) -> Two {
    let database = postgres.new_database();
    let server = async || {
        let key = SealingKey::parse(&"7".repeat(64)).unwrap();
        let server = Server::open_postgres(&pg_database(postgres, &database), key, &format!("https://{HOST}")).await;
        let clock = clock.clone();
        server.unwrap().clock(clock)
    };
    let servers = [server().await, server().await];
    let one = Site::new(&servers[0], clock).await;
    let sites = [one.clone(), Site { app: servers[1].router(), ..one }];
    Two { database, servers, sites }
}

/// Calls both servers alternately and concurrently.
async fn both(sites: &[Site; 2], times: usize, path: &str, parameters: &[(&str, &str)]) -> Vec<(u16, Value)> {
    let owned: Vec<_> = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let work = (0..times).map(|at| {
        let (site, path, owned) = (sites[at % 2].clone(), path.to_owned(), owned.clone());
        async move {
            let parameters: Vec<_> = owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            site.post(&path, &parameters).await
        }
    });
    run_concurrently(work.collect()).await
}

fn count(answers: &[(u16, Value)], status: u16) -> usize {
    answers.iter().filter(|(given, _)| *given == status).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_apply_across_servers() {
    let Some(postgres) = shared() else { return };
    let two = two(postgres, &Clock::from_secs(T)).await;
    for round in 0..5 {
        let name = format!("user {round}");
        let made = both(&two.sites, 10, "users/create", &[("name", &name)]).await;
        assert!(made.iter().all(|(status, user)| *status == 200 && user["id"] == made[0].1["id"]), "{made:?}");
        two.sites[0].paired(&name).await;
        let ask = [("user_name", name.as_str()), ("terminal_name", "laptop")];
        let asked = both(&two.sites, 20, "authentication_requests/initiate", &ask).await;
        assert_eq!((count(&asked, 200), count(&asked, 429)), (5, 15), "{asked:?}");
        // One of the lists of recovery codes is valid.
        let lists = both(&two.sites, 6, "users/activate_next_otp_list", &[("user_name", &name)]).await;
        assert_eq!(count(&lists, 200), 6);
        let left =
            "SELECT count(*) FROM toopher.recovery_codes c JOIN toopher.users u ON u.id = c.user_id WHERE u.name = ";
        assert_eq!(postgres.sql(&two.database, &format!("{left}'{name}'")), "10");
        // Each code once.
        let list = two.sites[1].post("users/activate_next_otp_list", &[("user_name", &name)]).await.1;
        let code = list["otp_list"][3].as_str().unwrap();
        let sent =
            both(&two.sites, 4, "authentication_requests/initiate", &[("user_name", &name), ("otp", code)]).await;
        assert_eq!(sent.iter().filter(|(_, answer)| answer["granted"] == true).count(), 1, "{sent:?}");
    }
}

/// An attacker with the password pairs on a page while the user does: one of them is first.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_concurrent_pairings_from_pages_is_allowed() {
    let Some(postgres) = shared() else { return };
    let two = two(postgres, &Clock::from_secs(T)).await;
    for round in 0..10 {
        let name = format!("user {round}");
        let mut waiting = Vec::new();
        for site in &two.sites {
            let phone = Phone::register(&site.app).await;
            let (_, phrase) = phone.post("phrases", json!({})).await;
            let phrase = phrase["phrase"].as_str().unwrap();
            let pair = [("user_name", name.as_str()), ("pairing_phrase", phrase)];
            let (status, pairing) = site.post("pairings/create", &pair).await;
            assert_eq!(status, 200);
            let path = format!("pairings/{}/allow", pairing["id"].as_str().unwrap());
            waiting.push(async move { phone.post(&path, json!({})).await });
        }
        postgres.sql(&two.database, "UPDATE toopher.pairings SET from_page = TRUE WHERE state = 'pending'");
        let allowed = run_concurrently(waiting).await;
        assert_eq!((count(&allowed, 200), count(&allowed, 404)), (1, 1), "{allowed:?}");
    }
}

/// The first decision is final, and no rule is created for a terminal that has changed.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_answers_and_changes() {
    let Some(postgres) = shared() else { return };
    let clock = Clock::from_secs(T);
    let two = two(postgres, &clock).await;
    let (phone, _) = two.sites[0].paired("alice").await;
    for round in 0..40 {
        clock.advance(60);
        two.sites.iter().for_each(|site| site.clock.set(clock.now().as_secs()));
        let asks = [("terminal_name", "laptop"), ("terminal_name_extra", &format!("cookie {round}"))];
        let (status, asked) = two.sites[0].initiate("alice", &asks).await;
        assert_eq!(status, 200, "{asked}");
        let (id, terminal) = (asked["id"].as_str().unwrap(), asked["terminal"]["id"].as_str().unwrap());
        let (phone, other, one) = (phone.with_app(&two.sites[1].app), two.sites[1].clone(), two.sites[0].clone());
        let (allow, change) = (format!("requests/{id}/allow"), format!("user_terminals/{terminal}"));
        let cancel = format!("authentication_requests/{id}/cancel");
        type Work = std::pin::Pin<Box<dyn Future<Output = (u16, Value)> + Send>>;
        let new = format!("new cookie {round}");
        let mut work: Vec<Work> = vec![
            Box::pin(async move { phone.post(&allow, json!({ "automate": true })).await }),
            Box::pin(async move { one.post(&change, &[("name_extra", &new)]).await }),
        ];
        if round % 2 == 0 {
            work.push(Box::pin(async move { other.post(&cancel, &[]).await }));
        }
        let outcome = run_concurrently(work).await;
        assert_eq!(outcome[1].0, 200, "{outcome:?}");
        let states = two.sites.each_ref().map(async |site| site.get(&format!("authentication_requests/{id}")).await.1);
        let [first, second] = states;
        let (first, second) = tokio::join!(first, second);
        assert_eq!((&first["granted"], &first["cancelled"]), (&second["granted"], &second["cancelled"]));
        // One response reports the grant.
        assert_eq!(outcome[0].0 == 200, first["granted"] == true, "{outcome:?} {first}");
        assert_eq!(first["granted"] == true, first["cancelled"] == false, "{first}");
        assert_eq!(postgres.sql(&two.database, "SELECT count(*) FROM toopher.automations"), "0", "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_has_one_phrase_and_one_server_cleans_up_at_a_time() {
    let Some(postgres) = shared() else { return };
    let clock = Clock::from_secs(T);
    let two = two(postgres, &clock).await;
    let phone = Phone::register(&two.sites[0].app).await;
    for _ in 0..5 {
        let dealing = (0..6).map(|at| {
            let phone = phone.with_app(&two.sites[at % 2].app);
            async move { phone.post("phrases", json!({})).await }
        });
        let dealt = run_concurrently(dealing.collect()).await;
        // One request of a phone waits at each server.
        let shown = count(&dealt, 200);
        assert!(shown > 0 && shown + count(&dealt, 429) == 6, "{dealt:?}");
        let good = postgres.sql(&two.database, &format!("SELECT count(*) FROM toopher.phrases WHERE expires > {T}"));
        assert_eq!(good, "1");
    }
    let sweeping = (0..8).map(|at| {
        let server = two.servers[at % 2].clone();
        async move { server.cleanup().await.unwrap() }
    });
    run_concurrently(sweeping.collect()).await;
    // Expired rows are deleted, and no others.
    clock.advance(2 * 24 * 3600);
    let (paired, _) = {
        two.sites[0].clock.set(clock.now().as_secs());
        two.sites[0].paired("alice").await
    };
    two.servers[1].cleanup().await.unwrap();
    assert_eq!(postgres.sql(&two.database, "SELECT count(*) FROM toopher.devices"), "1");
    assert_eq!(paired.get("pairings").await[0]["user"], "alice");
}

/// Although this server does not forward the notifications of the other one.
#[tokio::test]
async fn a_phone_is_notified_in_time_without_notifications() {
    let Some(postgres) = shared() else { return };
    let two = two(postgres, &Clock::from_secs(T)).await;
    let (phone, _) = two.sites[0].paired("alice").await;
    let events = two.sites[0].app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
    let mut events = events.into_body();
    let mut event = async || {
        let frame = events.frame();
        let frame = tokio::time::timeout(Duration::from_secs(10), frame).await.ok()?.unwrap().unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    assert!(event().await.unwrap().contains("changed"));
    // There is no event before that time.
    tokio::time::pause();
    assert_eq!(event().await, None);
    let mut waited = 10;
    while !event().await.is_some_and(|event| event.contains("changed")) {
        waited += 10;
        assert!(waited <= 30);
    }
}

/// Calls reject text that PostgreSQL cannot store, before the database does.
#[tokio::test]
async fn text_that_cannot_be_stored_is_rejected() {
    let Some(postgres) = shared() else { return };
    let two = two(postgres, &Clock::from_secs(T)).await;
    let site = &two.sites[0];
    assert_eq!(site.post("users/create", &[("name", "a\0b")]).await.0, 400);
    assert_eq!(site.initiate("a\0b", &[("otp", "000000")]).await.0, 400);
    let phone = Phone::register(&site.app).await;
    assert_eq!(phone.post("devices", json!({ "name": "a\0b" })).await.0, 400);
    assert_eq!(phone.post("claims", json!({ "claim": "a\0b" })).await.0, 404);
    assert_eq!(phone.post("requests/a%00b/allow", json!({})).await.0, 404);
    let stranger = toopher_oauth1::Credentials::new("a\0b", "secret").unwrap();
    let stranger = Site { credentials: stranger, ..site.clone() };
    assert_eq!(stranger.post("users/create", &[("name", "bob")]).await.0, 401);
    // The longest names can be stored, including everything that contains them.
    let longest = "\u{20ac}".repeat(170);
    site.paired(&longest).await;
    let asks = [("terminal_name", longest.as_str()), ("terminal_name_extra", &longest), ("action_name", &longest)];
    assert_eq!(site.initiate(&longest, &asks).await.0, 200);
}
