//! Several servers with failures and used codes in Redis, and all other data in PostgreSQL.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use test_support::process::{Running, certificate, command, requester, run, scratch};
use test_support::redis::{Redis, free_port};
use toopher_server_test_support::cluster::{Cluster, enrolled, forward_to, now, with_database};
use toopher_server_test_support::rfc_totp;
use toopher_server_test_support::site::Site;
use tower::ServiceExt;

/// Servers with this failure store.
fn cluster(postgres: &test_support::postgres::Postgres, redis: &Redis, name: &str) -> Cluster {
    let url = redis.url();
    Cluster::start_with(postgres, name, 2, move |command| {
        command.env("TOOPHER_SERVER_FAILURE_STORE", &url);
    })
}

/// The output of a command, and whether it succeeded.
fn output_of(command: &mut Command) -> (bool, String) {
    let output = command.env("RUST_LOG", "warn").output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// `user reset` for alice, with this failure store or the default one.
fn reset(cluster: &Cluster, store: Option<&str>) -> (bool, String) {
    let mut reset = command(&cluster.folder);
    with_database(&mut reset, &cluster.url);
    reset.args(["user", "reset", cluster.credentials.key(), "alice"]);
    output_of(reset.args(store.map(|store| format!("--failure-store={store}"))))
}

async fn with_code(site: &Site, user: &str, code: &str) -> (u16, serde_json::Value) {
    let (status, answer) = site.initiate(user, &[("otp", code)]).await;
    (status, answer["granted"].clone())
}

/// Whether the code is accepted, once the server responds.
async fn settled(site: &Site, user: &str, code: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match with_code(site, user, code).await {
            (200, passed) => return passed == true,
            (503, passed) => assert!(passed.is_null() && Instant::now() < end, "{passed}"),
            outcome => panic!("{outcome:?}"),
        }
    }
}

fn code() -> String {
    rfc_totp().code_at(now()).as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_at_two_servers_is_accepted_once() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-race");
    let sites = [cluster.site(0), cluster.site(1)];
    let mut late = 0;
    for round in 0..100 {
        let user = format!("user {round}");
        assert_eq!(enrolled(&sites[0], &user).await.0, 200);
        let code = code();
        let sending = (0..4).map(|at| {
            let (site, user, code) = (sites[at % 2].clone(), user.clone(), code.clone());
            tokio::spawn(async move { with_code(&site, &user, &code).await })
        });
        let outcome = futures_util::future::join_all(sending).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        // The status is 503 if Redis did not respond in time, as on a busy machine. Nothing is granted then, and the
        // code may be used up. If it is not, it is still accepted.
        assert!(
            outcome.iter().all(|(status, passed)| *status == 200 || *status == 503 && passed.is_null()),
            "{round}: {outcome:?}"
        );
        let mut granted = outcome.iter().filter(|(_, passed)| *passed == true).count();
        let in_time = outcome.iter().all(|(status, _)| *status == 200);
        for site in sites.iter().filter(|_| !in_time) {
            granted += usize::from(settled(site, &user, &code).await);
        }
        assert!(granted == 1 || granted == 0 && !in_time, "{round}: {granted} of {outcome:?}");
        late += usize::from(!in_time);
    }
    assert!(late <= 20, "too slow to tell: {late} of 100 were not answered in time");
    // The codes are in Redis.
    assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "toopher:{*}:s:*"]).len(), 100);
    let database = cluster.url.rsplit_once('/').unwrap().1;
    let rows = "SELECT (SELECT count(*) FROM toopher.used_steps) + (SELECT count(*) FROM toopher.failures)";
    assert_eq!(postgres.sql(database, rows), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wrong_codes_at_two_servers_are_five_attempts() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-burst");
    for round in 0..5 {
        toopher_server_test_support::burst::attack_servers(
            &[cluster.site(0), cluster.site(1)],
            &format!("user {round}"),
        )
        .await;
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "toopher:{*}:f"]);
    assert_eq!(keys.len(), 5);
    for key in keys {
        assert!(redis.ask::<String>(&["GET", &key]).starts_with("5 "), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_applies_to_all_servers_until_a_reset() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let Some(mut redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-lock");
    let (one, other) = (cluster.site(0), cluster.site(1));
    let (phone, _) = one.paired("alice").await;
    let (_, asked) = one.initiate("alice", &[("terminal_name", "laptop")]).await;
    let allow = format!("requests/{}/allow", asked["id"].as_str().unwrap());
    // Five attempts are free, across servers.
    for site in [&one, &other, &one, &other, &one] {
        assert_eq!(with_code(site, "alice", "no code").await, (200, json!(false)));
        assert_eq!(with_code(site, "alice", "000000").await, (200, json!(false)));
    }
    for site in [&one, &other] {
        assert_eq!(site.initiate("alice", &[("otp", &phone.code(now()))]).await.0, 429);
        // The other factors are locked, too. These calls do not count as failures.
        for _ in 0..3 {
            assert_eq!(site.initiate("alice", &[("terminal_name", "laptop")]).await.0, 429);
            assert_eq!(phone.with_app(&site.app).post(&allow, json!({})).await.0, 429);
        }
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "toopher:{*}:f"]);
    let value: String = redis.ask(&["GET", &keys[0]]);
    assert!(keys.len() == 1 && value.starts_with("5 "), "{keys:?} {value}");
    // The state after ninety-five more failures, without waiting for them.
    let locked = || redis.ask::<()>(&["SET", &keys[0], "100 0 0 1 0 0"]);
    locked();
    for site in [&one, &other] {
        let request = site.signed("POST", "authentication_requests/initiate", &[("user_name", "alice"), ("otp", "1")]);
        let answer = site.app.clone().oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (429, None));
    }
    // Without the failure store, an administrator would clear no failures.
    for wrong in [None, Some("database")] {
        let (ok, message) = reset(&cluster, wrong);
        assert!(
            !ok && message.contains("Redis, under the prefix toopher") && message.contains("--failure-store"),
            "{message}"
        );
    }
    // And has deactivated nothing.
    let mut list = command(&cluster.folder);
    let list = with_database(&mut list, &cluster.url).args(["user", "list", cluster.credentials.key()]);
    assert!(output_of(list).1.contains("1 pairings\talice"));
    assert_eq!(other.initiate("alice", &[("otp", "000000")]).await.0, 429);
    let (ok, message) = reset(&cluster, Some(&redis.url()));
    assert!(ok && message.contains("outcome=\"reset\" by=\"administrator\""), "{message}");
    let secret_again = async || {
        assert_eq!(enrolled(&other, "alice").await.0, 200);
        with_code(&one, "alice", &code()).await
    };
    assert_eq!(secret_again().await, (200, json!(true)));
    // While Redis is down, the reset deactivates the pairings, but does not unlock, and reports an error.
    locked();
    let url = redis.url();
    redis.kill();
    let (ok, message) = reset(&cluster, Some(&url));
    assert!(!ok && message.contains("the pairings are deactivated") && message.contains("retry"), "{message}");
    assert!(message.contains("refused"), "{message}");
    assert_eq!(one.post("users/reset", &[("name", "alice")]).await.0, 503);
    redis.start_again();
    redis.ask::<()>(&["SET", &keys[0], "100 0 0 1 0 0"]);
    assert_ne!(one.initiate("alice", &[("otp", "000000")]).await.0, 200);
    // After a failed connection, there is a short pause before the next one.
    let start = Instant::now();
    while one.post("users/reset", &[("name", "alice")]).await.0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "Redis does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(secret_again().await, (200, json!(true)));
}

/// While Redis is down, no code is accepted. After its restart all users are served, and no used code is accepted
/// again. The servers are not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_under_load_and_restarted() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let cluster = cluster(postgres, &redis, "redis-killed");
    let sites = [cluster.site(0), cluster.site(1)];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let passes = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (sites, stopped, passes) = (sites.clone(), stopped.clone(), passes.clone());
            tokio::spawn(async move {
                let (mut passed, mut refused, mut round) = (HashMap::new(), 0_usize, 0);
                while !*stopped.borrow() {
                    round += 1;
                    let user = format!("user {worker} {round}");
                    assert_eq!(enrolled(&sites[round % 2], &user).await.0, 200);
                    let code = code();
                    let (first, second) =
                        tokio::join!(with_code(&sites[0], &user, &code), with_code(&sites[1], &user, &code));
                    for (status, granted) in [first, second] {
                        assert!([200, 503].contains(&status), "{status}");
                        refused += usize::from(status == 503);
                        if granted == true {
                            *passed.entry((user.clone(), code.clone())).or_insert(0) += 1;
                            passes.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                (passed, refused)
            })
        })
        .collect();
    let some_more = async || {
        let (before, start) = (passes.load(Ordering::SeqCst), Instant::now());
        while passes.load(Ordering::SeqCst) < before + 20 {
            assert!(start.elapsed() < Duration::from_secs(60), "{} passed", passes.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    for _ in 0..2 {
        some_more().await;
        redis.kill();
        // Calls in progress may still succeed. New ones do not.
        for site in &sites {
            enrolled(site, "some_user").await;
            assert_eq!(site.initiate("some_user", &[("otp", &code())]).await.0, 503);
            assert_eq!(site.initiate("some_user", &[("terminal_name", "laptop")]).await.0, 503);
            let (status, answer) = toopher_server_test_support::site::text(&site.app, "/readyz").await;
            assert_eq!((status, answer.as_str()), (503, "not ready\n"));
        }
        redis.start_again();
    }
    some_more().await;
    stop.send(true).unwrap();
    let (mut passed, mut refused) = (HashMap::new(), 0);
    for worker in workers {
        let (its, more) = worker.await.unwrap();
        passed.extend(its);
        refused += more;
    }
    assert!(passed.len() >= 60 && refused > 4, "{} passed, {refused} refused", passed.len());
    assert!(passed.values().all(|times| *times == 1), "{passed:?}");
    for (user, code) in passed.keys() {
        assert_eq!(with_code(&sites[0], user, code).await, (200, json!(false)), "{user}");
    }
    for server in &cluster.servers {
        assert!(server.log().contains("store failed: Redis: "), "{}", server.log());
    }
}

/// With two failure stores, a code would be accepted twice. So there is one, whose location is in the database.
#[tokio::test(flavor = "multi_thread")]
async fn all_servers_on_a_database_use_one_failure_store() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-place");
    let url = redis.url();
    let third = |arguments: &[&str]| {
        let mut third = command(&cluster.folder);
        third.args(["serve", "--listen", "127.0.0.1:0", "--replicas", "3", "--public-url", "https://x.test"]);
        output_of(with_database(&mut third, &cluster.url).args(arguments))
    };
    for (arguments, ours) in [
        (&[][..], "this one the database"),
        (&["--failure-store", "database"], "this one the database"),
        (&["--failure-store", &url, "--failure-store-prefix", "other"], "this one Redis, under the prefix other"),
    ] {
        let (ok, message) = third(arguments);
        assert!(!ok && message.contains("the others use Redis, under the prefix toopher"), "{message}");
        assert!(message.contains(ours) && message.contains("--failure-store to the same value"), "{message}");
        // No command that deletes failures and used codes is suggested.
        assert!(!message.contains("migrate-failure-store") && message.contains("docs/server.md"), "{message}");
    }
    // A server that was not stopped before the migration is not ready.
    let ready = async |at: usize| toopher_server_test_support::site::text(&cluster.site(at).app, "/readyz").await.0;
    // The previous result is used for a second.
    let becomes = async |at: usize, status: u16| {
        let start = Instant::now();
        while ready(at).await != status {
            assert!(start.elapsed() < Duration::from_secs(60), "server {at} does not become {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(ready(0).await, 200);
    let moved = |arguments: &[&str]| {
        let mut moving = command(&cluster.folder);
        output_of(with_database(&mut moving, &cluster.url).arg("migrate-failure-store").args(arguments))
    };
    assert_eq!(moved(&[]), (true, String::new()));
    becomes(0, 503).await;
    becomes(1, 503).await;
    let (ok, message) = third(&["--failure-store", &url]);
    assert!(!ok && message.contains("the others use the database"), "{message}");
    assert!(reset(&cluster, Some("database")).1.contains("no user of this name"));
    let (ok, message) = moved(&["--failure-store", &format!("redis://127.0.0.1:{}", free_port())]);
    assert!(!ok && message.contains("refused"), "{message}");
    assert_eq!(moved(&["--failure-store", &url]), (true, String::new()));
    becomes(0, 200).await;
    becomes(1, 200).await;
}

/// A folder with a key, and a configuration file.
fn folder(name: &str, configuration: &str) -> std::path::PathBuf {
    let folder = scratch(name);
    std::fs::write(folder.join("toopher.key"), "7".repeat(64)).unwrap();
    test_support::output("chmod", &["600", folder.join("toopher.key").to_str().unwrap()]);
    std::fs::write(folder.join("server.toml"), configuration).unwrap();
    folder
}

fn serve(folder: &Path) -> Command {
    let mut serve = command(folder);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--config", "server.toml"]);
    serve
}

#[test]
fn an_unusable_failure_store_is_rejected_at_the_start() {
    let Some(redis) = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) else { return };
    let unreachable = format!("redis://127.0.0.1:{}", free_port());
    let evicting = redis.url();
    let folder = folder("redis-refused", "");
    for (store, expected) in [
        ("postgres", &["--failure-store", "redis://"][..]),
        ("", &["--failure-store", "redis://"]),
        ("http://127.0.0.1/", &["--failure-store", "not a URL of a server", "rediss://"]),
        ("redis://127.0.0.1/zero", &["--failure-store", "not a URL of a server"]),
        ("rediss://127.0.0.1/#insecure", &["--failure-store", "would accept every certificate"]),
        (&unreachable, &["--failure-store", &unreachable, "refused", "it must run"]),
        (&evicting, &["--failure-store", &evicting, "allkeys-lru", "must be noeviction"]),
    ] {
        let (ok, message) = output_of(serve(&folder).arg(format!("--failure-store={store}")));
        assert!(!ok && expected.iter().all(|why| message.contains(why)), "{message}");
    }
    for (arguments, why) in [
        (&["--failure-store-prefix", "x"][..], "--failure-store redis://"),
        (&["--failure-store", &unreachable, "--failure-store-prefix", "a b"], "--failure-store-prefix"),
        (&["--failure-store", &unreachable, "--failure-store-password-file", "nowhere"], "nowhere"),
        (&["--failure-store", &unreachable, "--failure-store-ca", "toopher.key"], "no certificate"),
    ] {
        let (ok, message) = output_of(serve(&folder).args(arguments));
        assert!(!ok && message.contains(why), "{message}");
    }
    // The database is a file, which only supports one server.
    let (ok, message) = output_of(serve(&folder).args(["--replicas", "2", "--failure-store", &unreachable]));
    assert!(!ok && message.contains("a SQLite file") && message.contains("--database postgres://"), "{message}");
    let (ok, message) = output_of(serve(&folder).args(["--demo", "--replicas", "2", "--failure-store", &unreachable]));
    assert!(!ok && message.contains("in memory"), "{message}");
    // Commands that do not use the failure store do not need it.
    assert_eq!(run(&folder, &["--failure-store", &unreachable, "requester", "list"]), (true, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_read_from_the_environment_or_a_file_and_never_shown() {
    let Some(redis) = Redis::start(&[]) else { return };
    let password = "s3cret/of ours:@%#?";
    let rights = "~shop:* -@all +eval +evalsha +get +set +del +pttl +pexpire +info";
    let user = ["ACL", "SETUSER", "app", "on", &format!(">{password}")];
    redis.ask::<()>(&user.into_iter().chain(rights.split(' ')).collect::<Vec<_>>());
    let url = format!("redis://app@127.0.0.1:{}", redis.port);
    let configuration = format!("failure_store = \"{url}\"\nfailure_store_prefix = \"shop\"\n");
    let folder = folder("redis-password", &configuration);
    std::fs::write(folder.join("password"), format!("{password}\n")).unwrap();
    let mut texts = Vec::new();
    // In the environment, and in a file.
    let ways: [(&str, &str); 2] = [
        ("TOOPHER_SERVER_FAILURE_STORE_PASSWORD", password),
        ("TOOPHER_SERVER_FAILURE_STORE_PASSWORD_FILE", "password"),
    ];
    for (name, value) in ways {
        let mut server = Running::start_with(&folder, &["--config", "server.toml"], |command| {
            command.env(name, value).env("RUST_LOG", "trace");
        });
        let answer = toopher_server_test_support::site::text(&forward_to(&server.address), "/readyz").await;
        assert_eq!(answer, (200, "ready\n".into()));
        assert!(server.stop());
        texts.push(server.log());
    }
    for (password, prefix, why) in [
        ("s3cret of others", "shop", "the user and the password"),
        ("", "shop", "is empty"),
        // This user has no rights for that prefix.
        (password, "other", "the server reported"),
    ] {
        let mut serve = serve(&folder);
        serve.env("TOOPHER_SERVER_FAILURE_STORE_PASSWORD", password).env("TOOPHER_SERVER_FAILURE_STORE_PREFIX", prefix);
        let (ok, message) = output_of(&mut serve);
        assert!(!ok && message.contains(why), "{message}");
        texts.push(message);
    }
    let inside = format!("redis://app:s3cret@127.0.0.1:{}", redis.port);
    for arguments in [
        &["--failure-store", &inside][..],
        &["--failure-store", "redis://app:s3cret@local host"],
        &["--failure-store", "s3cret"],
    ] {
        let (ok, message) = output_of(serve(&folder).args(arguments));
        assert!(!ok && message.contains("--failure-store"), "{message}");
        texts.push(message);
    }
    assert!(texts.iter().any(|text| text.contains("others can read the password of Redis")));
    let (ok, message) = output_of(
        serve(&folder).args(["--failure-store", &inside]).env("TOOPHER_SERVER_FAILURE_STORE_PASSWORD", password),
    );
    assert!(!ok && message.contains("set one of them"), "{message}");
    texts.push(message);
    let (_, help) = output_of(command(&folder).args(["serve", "--help"]).env("TOOPHER_SERVER_FAILURE_STORE", inside));
    assert!(
        help.contains("TOOPHER_SERVER_FAILURE_STORE_PASSWORD") && help.contains("--failure-store-prefix"),
        "{help}"
    );
    texts.push(help);
    for text in texts {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn over_tls_with_a_private_authority() {
    if !test_support::have(&[&test_support::redis::program(), "openssl"]) {
        return;
    }
    let folder = folder("redis-tls-server", "");
    requester(&folder);
    certificate(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (port, pem, key) = (free_port().to_string(), path("tls.pem"), path("tls.key"));
    let options = ["--tls-port", &port, "--tls-cert-file", &pem, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let Some(_redis) = Redis::start(&options) else { return };
    let url = format!("rediss://127.0.0.1:{port}");
    assert!(Running::start(&folder, &["--failure-store", &url, "--failure-store-ca", "tls.pem"]).stop());
    let (ok, message) = output_of(serve(&folder).args(["--failure-store", &url]));
    assert!(!ok && message.contains(&url) && message.contains("certificate"), "{message}");
}
