//! Several servers whose failures and spent codes are in Redis, and all else in PostgreSQL.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::cluster::{Cluster, enrolled, now, way_to, with_database};
use common::k20;
use common::process::{Running, certificate, command, requester, run, scratch};
use common::redis::{Redis, free_port};
use common::toopher::Site;
use serde_json::json;
use tower::ServiceExt;

/// Servers with this guard, as all of them are told of it.
fn cluster(postgres: &common::postgres::Postgres, redis: &Redis, name: &str) -> Cluster {
    let url = redis.url();
    Cluster::start_with(postgres, name, 2, move |command| {
        command.env("TOOPHER_SERVER_GUARD", &url);
    })
}

/// What a command says, and whether it ended well.
fn says(command: &mut Command) -> (bool, String) {
    let output = command.env("RUST_LOG", "warn").output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// `user reset` for alice, told of this guard or of none.
fn reset(cluster: &Cluster, guard: Option<&str>) -> (bool, String) {
    let mut reset = command(&cluster.folder);
    with_database(&mut reset, &cluster.url);
    reset.args(["user", "reset", cluster.credentials.key(), "alice"]);
    says(reset.args(guard.map(|guard| format!("--guard={guard}"))))
}

async fn with_code(site: &Site, user: &str, code: &str) -> (u16, serde_json::Value) {
    let (status, answer) = site.initiate(user, &[("otp", code)]).await;
    (status, answer["granted"].clone())
}

/// Whether the code passes, once the server can tell.
async fn settled(site: &Site, user: &str, code: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match with_code(site, user, code).await {
            (200, passed) => return passed == true,
            (503, passed) => assert!(passed.is_null() && Instant::now() < end, "{passed}"),
            said => panic!("{said:?}"),
        }
    }
}

fn code() -> String {
    k20().code_at(now()).as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_at_two_servers_at_once_passes_once() {
    let Some(postgres) = common::postgres::shared() else { return };
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
        let said = futures_util::future::join_all(sending).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        // 503 says a server that was not answered in time, as on a busy machine. It passes nobody, and the code may have
        // been spent for one who could not be told; if it was not, it still passes.
        assert!(
            said.iter().all(|(status, passed)| *status == 200 || *status == 503 && passed.is_null()),
            "{round}: {said:?}"
        );
        let mut granted = said.iter().filter(|(_, passed)| *passed == true).count();
        let in_time = said.iter().all(|(status, _)| *status == 200);
        for site in sites.iter().filter(|_| !in_time) {
            granted += usize::from(settled(site, &user, &code).await);
        }
        assert!(granted == 1 || granted == 0 && !in_time, "{round}: {granted} of {said:?}");
        late += usize::from(!in_time);
    }
    assert!(late <= 20, "too slow to tell: {late} of 100 were not answered in time");
    // It was Redis that saw to that.
    assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "toopher:{*}:s:*"]).len(), 100);
    let database = cluster.url.rsplit_once('/').unwrap().1;
    let rows = "SELECT (SELECT count(*) FROM toopher.spent_steps) + (SELECT count(*) FROM toopher.failures)";
    assert_eq!(postgres.sql(database, rows), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wrong_codes_at_two_servers_are_no_more_than_five_tries() {
    let Some(postgres) = common::postgres::shared() else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-burst");
    for round in 0..5 {
        common::burst::at_servers(&[cluster.site(0), cluster.site(1)], &format!("user {round}")).await;
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "toopher:{*}:f"]);
    assert_eq!(keys.len(), 5);
    for key in keys {
        assert!(redis.ask::<String>(&["GET", &key]).starts_with("5 "), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_locks_out_all_do_until_an_administrator_ends_it() {
    let Some(postgres) = common::postgres::shared() else { return };
    let Some(mut redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-lock");
    let (one, other) = (cluster.site(0), cluster.site(1));
    let (phone, _) = one.paired("alice").await;
    let (_, asked) = one.initiate("alice", &[("terminal_name", "laptop")]).await;
    let allow = format!("requests/{}/allow", asked["id"].as_str().unwrap());
    // Five are free, whoever is asked.
    for site in [&one, &other, &one, &other, &one] {
        assert_eq!(with_code(site, "alice", "no code").await, (200, json!(false)));
        assert_eq!(with_code(site, "alice", "000000").await, (200, json!(false)));
    }
    for site in [&one, &other] {
        assert_eq!(site.initiate("alice", &[("otp", &phone.code(now()))]).await.0, 429);
        // Nor is there another door. To knock at it is no failure, and so is not counted.
        for _ in 0..3 {
            assert_eq!(site.initiate("alice", &[("terminal_name", "laptop")]).await.0, 429);
            assert_eq!(phone.at(&site.app).post(&allow, json!({})).await.0, 429);
        }
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "toopher:{*}:f"]);
    let value: String = redis.ask(&["GET", &keys[0]]);
    assert!(keys.len() == 1 && value.starts_with("5 "), "{keys:?} {value}");
    // As ninety-five more of them would leave it: there is no waiting for the end.
    let locked = || redis.ask::<()>(&["SET", &keys[0], "100 0 0 1"]);
    locked();
    for site in [&one, &other] {
        let request = site.signed("POST", "authentication_requests/initiate", &[("user_name", "alice"), ("otp", "1")]);
        let answer = site.app.clone().oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (429, None));
    }
    // An administrator who does not say where the failures are would forget none.
    for wrong in [None, Some("database")] {
        let (ok, message) = reset(&cluster, wrong);
        assert!(!ok && message.contains("Redis, under the prefix toopher") && message.contains("--guard"), "{message}");
    }
    // And has ended nothing.
    let mut list = command(&cluster.folder);
    let list = with_database(&mut list, &cluster.url).args(["user", "list", cluster.credentials.key()]);
    assert!(says(list).1.contains("1 pairings\talice"));
    assert_eq!(other.initiate("alice", &[("otp", "000000")]).await.0, 429);
    let (ok, message) = reset(&cluster, Some(&redis.url()));
    assert!(ok && message.contains("outcome=\"reset\" by=\"administrator\""), "{message}");
    let secret_again = async || {
        assert_eq!(enrolled(&other, "alice").await.0, 200);
        with_code(&one, "alice", &code()).await
    };
    assert_eq!(secret_again().await, (200, json!(true)));
    // While Redis is gone the pairings are ended, and the lock is not; and the administrator is told.
    locked();
    let url = redis.url();
    redis.kill();
    let (ok, message) = reset(&cluster, Some(&url));
    assert!(!ok && message.contains("the pairings are ended") && message.contains("do it again"), "{message}");
    assert!(message.contains("refused"), "{message}");
    assert_eq!(one.post("users/reset", &[("name", "alice")]).await.0, 503);
    redis.start_again();
    redis.ask::<()>(&["SET", &keys[0], "100 0 0 1"]);
    assert_ne!(one.initiate("alice", &[("otp", "000000")]).await.0, 200);
    // For a moment after a connection that could not be made, nobody makes another one.
    let start = Instant::now();
    while one.post("users/reset", &[("name", "alice")]).await.0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "Redis does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(secret_again().await, (200, json!(true)));
}

/// While Redis is gone nobody passes; when it is back, everybody is served; and no code that passed does again. Neither
/// server is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_under_load_and_comes_back() {
    let Some(postgres) = common::postgres::shared() else { return };
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
        // What was under way may pass yet; what begins now does not.
        for site in &sites {
            enrolled(site, "somebody").await;
            assert_eq!(site.initiate("somebody", &[("otp", &code())]).await.0, 503);
            assert_eq!(site.initiate("somebody", &[("terminal_name", "laptop")]).await.0, 503);
            let (status, answer) = common::toopher::text(&site.app, "/readyz").await;
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
        assert!(server.log().contains("could not be asked: "), "{}", server.log());
    }
}

/// Two places would let one code pass twice, so there is one, and the database says which.
#[tokio::test(flavor = "multi_thread")]
async fn all_servers_on_a_database_have_one_place() {
    let Some(postgres) = common::postgres::shared() else { return };
    let Some(redis) = Redis::start(&[]) else { return };
    let cluster = cluster(postgres, &redis, "redis-place");
    let url = redis.url();
    let third = |arguments: &[&str]| {
        let mut third = command(&cluster.folder);
        third.args(["serve", "--listen", "127.0.0.1:0", "--replicas", "3", "--public-url", "https://x.test"]);
        says(with_database(&mut third, &cluster.url).args(arguments))
    };
    for (arguments, ours) in [
        (&[][..], "in the database"),
        (&["--guard", "database"], "in the database"),
        (&["--guard", &url, "--guard-prefix", "other"], "under the prefix other"),
    ] {
        let (ok, message) = third(arguments);
        assert!(!ok && message.contains("in one place: they are in Redis, under the prefix toopher"), "{message}");
        assert!(message.contains(ours) && message.contains("move-guard"), "{message}");
    }
    // Whoever moves it has stopped them all; one that was not says that it is not ready.
    let ready = async |at: usize| common::toopher::text(&cluster.site(at).app, "/readyz").await.0;
    assert_eq!(ready(0).await, 200);
    let moved = |arguments: &[&str]| {
        let mut moving = command(&cluster.folder);
        says(with_database(&mut moving, &cluster.url).arg("move-guard").args(arguments))
    };
    assert_eq!(moved(&[]), (true, String::new()));
    assert_eq!((ready(0).await, ready(1).await), (503, 503));
    let (ok, message) = third(&["--guard", &url]);
    assert!(!ok && message.contains("they are in the database"), "{message}");
    assert!(reset(&cluster, Some("database")).1.contains("no user of this name"));
    let (ok, message) = moved(&["--guard", &format!("redis://127.0.0.1:{}", free_port())]);
    assert!(!ok && message.contains("refused"), "{message}");
    assert_eq!(moved(&["--guard", &url]), (true, String::new()));
    assert_eq!((ready(0).await, ready(1).await), (200, 200));
}

/// A folder with a key, and a configuration file if there is something in it.
fn folder(name: &str, configuration: &str) -> std::path::PathBuf {
    let folder = scratch(name);
    std::fs::write(folder.join("toopher.key"), "7".repeat(64)).unwrap();
    common::output("chmod", &["600", folder.join("toopher.key").to_str().unwrap()]);
    std::fs::write(folder.join("server.toml"), configuration).unwrap();
    folder
}

fn serve(folder: &Path) -> Command {
    let mut serve = command(folder);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--config", "server.toml"]);
    serve
}

#[test]
fn a_guard_that_cannot_be_is_refused_at_the_start() {
    let Some(redis) = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) else { return };
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let forgetful = redis.url();
    let folder = folder("redis-refused", "");
    for (guard, whys) in [
        ("postgres", &["--guard", "redis://"][..]),
        ("", &["--guard", "redis://"]),
        ("http://127.0.0.1/", &["--guard", "not a URL of a server", "rediss://"]),
        ("redis://127.0.0.1/zero", &["--guard", "not a URL of a server"]),
        ("rediss://127.0.0.1/#insecure", &["--guard", "would trust anybody"]),
        (&nobody, &["--guard", &nobody, "refused", "it must run"]),
        (&forgetful, &["--guard", &forgetful, "allkeys-lru", "must be noeviction"]),
    ] {
        let (ok, message) = says(serve(&folder).arg(format!("--guard={guard}")));
        assert!(!ok && whys.iter().all(|why| message.contains(why)), "{message}");
    }
    for (arguments, why) in [
        (&["--guard-prefix", "x"][..], "--guard redis://"),
        (&["--guard", &nobody, "--guard-prefix", "a b"], "--guard-prefix"),
        (&["--guard", &nobody, "--guard-password-file", "nowhere"], "nowhere"),
        (&["--guard", &nobody, "--guard-ca", "toopher.key"], "no certificate"),
    ] {
        let (ok, message) = says(serve(&folder).args(arguments));
        assert!(!ok && message.contains(why), "{message}");
    }
    // All else is in the file, which is for one.
    let (ok, message) = says(serve(&folder).args(["--replicas", "2", "--guard", &nobody]));
    assert!(!ok && message.contains("a SQLite file") && message.contains("--database postgres://"), "{message}");
    let (ok, message) = says(serve(&folder).args(["--demo", "--replicas", "2", "--guard", &nobody]));
    assert!(!ok && message.contains("in memory"), "{message}");
    // Commands that neither count nor spend do not need it.
    assert_eq!(run(&folder, &["--guard", &nobody, "requester", "list"]), (true, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_taken_from_where_others_cannot_read_it_and_is_in_no_output() {
    let Some(redis) = Redis::start(&[]) else { return };
    let password = "s3cret/of ours:@%#?";
    let rights = "~shop:* -@all +eval +evalsha +get +set +del +pttl +pexpire +info";
    let user = ["ACL", "SETUSER", "gate", "on", &format!(">{password}")];
    redis.ask::<()>(&user.into_iter().chain(rights.split(' ')).collect::<Vec<_>>());
    let url = format!("redis://gate@127.0.0.1:{}", redis.port);
    let configuration = format!("guard = \"{url}\"\nguard_prefix = \"shop\"\n");
    let folder = folder("redis-password", &configuration);
    std::fs::write(folder.join("password"), format!("{password}\n")).unwrap();
    let mut texts = Vec::new();
    // By the environment, and by a file.
    let ways: [(&str, &str); 2] =
        [("TOOPHER_SERVER_GUARD_PASSWORD", password), ("TOOPHER_SERVER_GUARD_PASSWORD_FILE", "password")];
    for (name, value) in ways {
        let mut server = Running::start_with(&folder, &["--config", "server.toml"], |command| {
            command.env(name, value).env("RUST_LOG", "trace");
        });
        let answer = common::toopher::text(&way_to(&server.address), "/readyz").await;
        assert_eq!(answer, (200, "ready\n".into()));
        assert!(server.stop());
        texts.push(server.log());
    }
    for (password, prefix, why) in [
        ("s3cret of others", "shop", "the password that it is given"),
        ("", "shop", "is empty"),
        // To which this user has no right.
        (password, "other", "the server answered"),
    ] {
        let mut serve = serve(&folder);
        serve.env("TOOPHER_SERVER_GUARD_PASSWORD", password).env("TOOPHER_SERVER_GUARD_PREFIX", prefix);
        let (ok, message) = says(&mut serve);
        assert!(!ok && message.contains(why), "{message}");
        texts.push(message);
    }
    let inside = format!("redis://gate:s3cret@127.0.0.1:{}", redis.port);
    for arguments in [&["--guard", &inside][..], &["--guard", "redis://gate:s3cret@local host"], &["--guard", "s3cret"]]
    {
        let (ok, message) = says(serve(&folder).args(arguments));
        assert!(!ok && message.contains("--guard"), "{message}");
        texts.push(message);
    }
    assert!(texts.iter().any(|text| text.contains("others can read the password of Redis")));
    let (ok, message) = says(serve(&folder).args(["--guard", &inside]).env("TOOPHER_SERVER_GUARD_PASSWORD", password));
    assert!(!ok && message.contains("give one"), "{message}");
    texts.push(message);
    let (_, help) = says(command(&folder).args(["serve", "--help"]).env("TOOPHER_SERVER_GUARD", inside));
    assert!(help.contains("TOOPHER_SERVER_GUARD_PASSWORD") && help.contains("--guard-prefix"), "{help}");
    texts.push(help);
    for text in texts {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn over_tls_with_an_authority_of_its_own() {
    if !common::have(&[&common::redis::program(), "openssl"]) {
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
    assert!(Running::start(&folder, &["--guard", &url, "--guard-ca", "tls.pem"]).stop());
    let (ok, message) = says(serve(&folder).args(["--guard", &url]));
    assert!(!ok && message.contains(&url) && message.contains("certificate"), "{message}");
}
