//! Several servers on one PostgreSQL database share used codes, failures and decisions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::json;
use test_support::postgres::{PASSWORD, Postgres};
use test_support::process::{command, run, scratch};
use toopher_server_test_support::cluster::{Cluster, enrolled, forward_to, now, with_database};
use toopher_server_test_support::rfc_totp;
use toopher_server_test_support::site::Site;
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn requests_continue_at_another_server() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let cluster = Cluster::start(postgres, "pg-two", 2);
    let (one, other) = (cluster.site(0), cluster.site(1));
    let (phone, _) = one.paired("alice").await;
    // A code is accepted by one server, and then by none.
    let code = phone.code(now());
    let (status, answer) = other.initiate("alice", &[("otp", &code)]).await;
    assert_eq!((status, &answer["granted"]), (200, &json!(true)), "{answer}");
    for site in [&one, &other] {
        let (status, answer) = site.initiate("alice", &[("otp", &code)]).await;
        assert_eq!((status, &answer["granted"]), (200, &json!(false)));
    }
    // One server sends the request, and the phone answers it at the other.
    let (_, asked) = one.initiate("alice", &[("terminal_name", "laptop")]).await;
    let id = asked["id"].as_str().unwrap();
    let phone = phone.with_app(&other.app);
    assert_eq!(phone.get("requests").await[0]["id"], id);
    assert_eq!(phone.post(&format!("requests/{id}/allow"), json!({})).await.0, 200);
    let (_, answer) = one.get(&format!("authentication_requests/{id}")).await;
    assert_eq!((&answer["granted"], &answer["pending"]), (&json!(true), &json!(false)));
    // Failures are counted across servers. The two replays are two of the five attempts.
    for at in 0..3 {
        let site = [&one, &other][at % 2];
        let (_, answer) = site.initiate("alice", &[("otp", "000000")]).await;
        assert_eq!(answer["granted"], false, "{at} {answer}");
    }
    assert_eq!(one.initiate("alice", &[("otp", "000000")]).await.0, 429);
    assert_eq!(other.initiate("alice", &[("terminal_name", "laptop")]).await.0, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_call_is_answered_once_across_servers() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let cluster = Cluster::start(postgres, "pg-nonces", 2);
    let (one, other) = (cluster.site(0), cluster.site(1));
    for round in 0..20 {
        let name = format!("user {round}");
        let signed = || one.signed("POST", "users/create", &[("name", &name)]);
        let (parts, _) = signed().into_parts();
        let again = || {
            let mut request = signed();
            *request.headers_mut() = parts.headers.clone();
            request
        };
        let (first, second) = tokio::join!(one.send(again()), other.send(again()));
        let mut statuses = [first.0, second.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401], "{round}");
        assert_eq!((one.send(again()).await.0, other.send(again()).await.0), (401, 401));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_at_two_servers_is_accepted_once() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let cluster = Cluster::start(postgres, "pg-race", 2);
    let sites = [cluster.site(0), cluster.site(1)];
    for round in 0..100 {
        let user = format!("user {round}");
        assert_eq!(enrolled(&sites[0], &user).await.0, 200);
        let code = rfc_totp().code_at(now()).as_str().to_owned();
        let sending = (0..4).map(|at| {
            let (site, user, code) = (sites[at % 2].clone(), user.clone(), code.clone());
            tokio::spawn(async move { site.initiate(&user, &[("otp", &code)]).await })
        });
        let mut granted = 0;
        for sent in futures_util::future::join_all(sending).await {
            let (status, answer) = sent.unwrap();
            assert_eq!(status, 200, "{answer}");
            granted += usize::from(answer["granted"] == true);
        }
        assert_eq!(granted, 1, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_wrong_codes_at_two_servers_are_five_attempts() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let cluster = Cluster::start(postgres, "pg-burst", 2);
    for round in 0..5 {
        toopher_server_test_support::burst::attack_servers(
            &[cluster.site(0), cluster.site(1)],
            &format!("user {round}"),
        )
        .await;
    }
    let database = cluster.url.rsplit_once('/').unwrap().1;
    assert_eq!(postgres.sql(database, "SELECT DISTINCT count FROM toopher.failures"), "5");
}

/// A phone that is connected to one server is notified of requests at the other, and whenever it may have missed one.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_notified_by_any_server() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let cluster = Cluster::start(postgres, "pg-events", 2);
    let (one, other) = (cluster.site(0), cluster.site(1));
    let (phone, _) = one.paired("alice").await;
    let events = one.app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
    let mut events = events.into_body();
    let mut event = async || {
        let end = Duration::from_secs(10);
        let frame = tokio::time::timeout(end, events.frame()).await.expect("no event").unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert!(event().await.contains("changed"));
    for _ in 0..3 {
        let asked = Instant::now();
        assert_eq!(other.initiate("alice", &[("terminal_name", "laptop")]).await.0, 200);
        while !event().await.contains("changed") {}
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
}

/// The example of docs/server.md, except for addresses and TLS.
#[tokio::test(flavor = "multi_thread")]
async fn behind_the_nginx_of_the_documentation() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    if !test_support::have(&["nginx"]) {
        return;
    }
    let mut cluster = Cluster::start(postgres, "pg-nginx", 2);
    let documents = include_str!("../../docs/server.md");
    let example = documents.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let example = example
        .replace("10.0.0.11:8080", &cluster.servers[0].address)
        .replace("10.0.0.12:8080", &cluster.servers[1].address)
        .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"));
    let plain: Vec<_> = example.lines().filter(|line| !line.contains("ssl_certificate")).collect();
    let folder = scratch("pg-nginx-conf");
    let paths: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {kind};\n")).concat();
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events {{}}\nhttp {{\naccess_log off;\n{paths}{}\n}}\n",
        plain.join("\n")
    );
    std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
    let prefix = format!("{}/", folder.display());
    let nginx =
        std::process::Command::new("nginx").args(["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"]).spawn();
    let _nginx = Ended(nginx.unwrap());
    let site = Site { app: forward_to(&format!("127.0.0.1:{port}")), ..cluster.site(0) };
    let start = Instant::now();
    while site.get("users").await.0 != 200 {
        let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
        assert!(start.elapsed() < Duration::from_secs(20), "{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (phone, _) = site.paired("alice").await;
    for round in 0..4 {
        let (status, asked) =
            site.initiate("alice", &[("terminal_name", "a laptop & more"), ("action_name", "pay 5 \u{20ac}")]).await;
        assert_eq!(status, 200, "{round} {asked}");
        let id = asked["id"].as_str().unwrap();
        assert_eq!(phone.post(&format!("requests/{id}/allow"), json!({})).await.0, 200);
        assert_eq!(site.get(&format!("authentication_requests/{id}")).await.1["granted"], true);
    }
    let events = site.app.clone().oneshot(phone.request("GET", "events", String::new())).await.unwrap();
    let mut events = events.into_body();
    let first = tokio::time::timeout(Duration::from_secs(10), events.frame()).await.unwrap().unwrap().unwrap();
    assert!(first.into_data().unwrap().starts_with(b"event: changed"));
    // After one of them has stopped, the other one serves all calls.
    cluster.servers[0].process.kill().unwrap();
    cluster.servers[0].process.wait().unwrap();
    for round in 0..6 {
        let (status, answer) = site.post("users/create", &[("name", "bob")]).await;
        assert_eq!(status, 200, "{round} {answer}");
    }
}

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// While the database is down, no code is accepted. After its restart all users are served, and no used code is
/// accepted again. The servers are not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_under_load_and_restarted() {
    let Some(mut postgres) = Postgres::start(&[]) else { return };
    let cluster = Cluster::start(&postgres, "pg-killed", 2);
    let sites = [cluster.site(0), cluster.site(1)];
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let passes = Arc::new(AtomicUsize::new(0));
    // Each task sends the code of a new user to both servers, and records the number of grants.
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let (sites, stopped, passes) = (sites.clone(), stopped.clone(), passes.clone());
            tokio::spawn(async move {
                let (mut passed, mut refused, mut round) = (HashMap::new(), 0_usize, 0);
                while !*stopped.borrow() {
                    round += 1;
                    let user = format!("user {worker} {round}");
                    let (status, answer) = enrolled(&sites[round % 2], &user).await;
                    assert!([200, 503].contains(&status), "{status} {answer}");
                    if status == 503 {
                        refused += 1;
                        continue;
                    }
                    let code = rfc_totp().code_at(now()).as_str().to_owned();
                    let otp = [("otp", code.as_str())];
                    let (first, second) = tokio::join!(sites[0].initiate(&user, &otp), sites[1].initiate(&user, &otp));
                    for (status, answer) in [first, second] {
                        assert!([200, 503].contains(&status), "{status} {answer}");
                        refused += usize::from(status == 503);
                        if answer["granted"] == true {
                            *passed.entry((user.clone(), code.clone())).or_insert(0) += 1;
                            passes.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
                (passed, refused)
            })
        })
        .collect();
    for _ in 0..2 {
        let served = wait_for(&sites, 200).await;
        assert!(served < Duration::from_secs(20), "{served:?}");
        // Under load.
        let (before, start) = (passes.load(Ordering::SeqCst), Instant::now());
        while passes.load(Ordering::SeqCst) < before + 20 {
            assert!(start.elapsed() < Duration::from_secs(60), "{} passed", passes.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        postgres.kill();
        wait_for(&sites, 503).await;
        postgres.start_again();
    }
    let served = wait_for(&sites, 200).await;
    assert!(served < Duration::from_secs(20), "{served:?}");
    stop.send(true).unwrap();
    let (mut passed, mut refused) = (HashMap::new(), 0);
    for worker in workers {
        let (its, more) = worker.await.unwrap();
        passed.extend(its);
        refused += more;
    }
    assert!(passed.len() >= 40 && refused > 6, "{} passed, {refused} refused", passed.len());
    assert!(passed.values().all(|times| *times == 1), "{passed:?}");
    for (user, code) in passed.keys() {
        let (status, answer) = sites[0].initiate(user, &[("otp", code)]).await;
        assert_eq!((status, &answer["granted"]), (200, &json!(false)), "{user}");
    }
}

/// Waits until both servers respond with this status to a call that writes.
async fn wait_for(sites: &[Site; 2], status: u16) -> Duration {
    let start = Instant::now();
    for site in sites {
        while site.post("users/create", &[("name", "some_user")]).await.0 != status {
            assert!(start.elapsed() < Duration::from_secs(60), "not {status} within a minute");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    start.elapsed()
}

/// Whatever locks a server held when it was killed, the other one continues with the same user.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_lock() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let mut cluster = Cluster::start(postgres, "pg-locks", 3);
    let survivor = cluster.site(2);
    enrolled(&survivor, "alice").await;
    for at in 0..2 {
        let site = cluster.site(at);
        let load: Vec<_> = (0..20)
            .map(|_| {
                let site = site.clone();
                tokio::spawn(async move {
                    let printed = [("user_name", "alice")];
                    while site.post("users/activate_next_otp_list", &printed).await.0 == 200 {}
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.servers[at].process.kill().unwrap();
        cluster.servers[at].process.wait().unwrap();
        let start = Instant::now();
        let (status, list) = survivor.post("users/activate_next_otp_list", &[("user_name", "alice")]).await;
        assert_eq!((status, list["otp_list"].as_array().map(Vec::len)), (200, Some(10)), "{list}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for task in load {
            task.await.unwrap();
        }
    }
    let (_, user) = survivor.send(survivor.signed("GET", "users", &[("name", "alice")])).await;
    assert_eq!(user[0]["number_of_pregenerated_otps_remaining"], 10);
}

#[test]
fn replicas_need_a_shared_database() {
    let folder = scratch("pg-refused");
    let (made, key) = run(&folder, &["key"]);
    assert!(made);
    std::fs::write(folder.join("toopher.key"), key).unwrap();
    for (arguments, why) in [
        (&["serve", "--replicas", "2"][..], "a SQLite file"),
        (&["--database", "other.sqlite", "serve", "--replicas", "3"], "a SQLite file"),
        (&["serve", "--demo", "--replicas", "2"], "in memory"),
    ] {
        let (ok, message) = run(&folder, arguments);
        assert!(!ok && message.contains(why) && message.contains("--database postgres://"), "{message}");
    }
    std::fs::write(folder.join("server.toml"), "replicas = 2\n").unwrap();
    let (ok, message) = run(&folder, &["--config", "server.toml", "serve"]);
    assert!(!ok && message.contains("2 replicas"), "{message}");
    let (ok, message) = run(&folder, &["serve", "--replicas", "0"]);
    assert!(!ok && message.contains("--replicas"), "{message}");
    assert!(!folder.join("other.sqlite").exists() && !folder.join("toopher.sqlite").exists());
}

#[test]
fn output_contains_no_password() {
    let Some(postgres) = test_support::postgres::shared() else { return };
    let folder = scratch("pg-words");
    std::fs::write(folder.join("toopher.key"), "7".repeat(64)).unwrap();
    let database = postgres.new_database();
    let secret = "no password of ours";
    let output_of = |url: &str, password: Option<&str>| {
        let mut command = command(&folder);
        command.args(["requester", "list"]).env("TOOPHER_SERVER_DATABASE", url);
        if let Some(password) = password {
            command.env("TOOPHER_SERVER_DATABASE_PASSWORD", password);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!text.contains(secret), "{text}");
        (output.status.success(), text)
    };
    let (ok, message) = output_of(&postgres.url(&database), Some(secret));
    assert!(!ok && message.contains("password authentication failed") && message.contains(&database), "{message}");
    assert!(output_of(&postgres.url(&database), Some(PASSWORD)).0);
    for url in ["mysql://root:no password of ours@localhost/x", "postgres://root:no password of ours@local host/"] {
        let (ok, message) = output_of(url, None);
        assert!(!ok && message.contains("--database"), "{message}");
    }
    let mut help = command(&folder);
    help.arg("--help").env("TOOPHER_SERVER_DATABASE", format!("postgres://x:{secret}@y/z"));
    let help = String::from_utf8(help.output().unwrap().stdout).unwrap();
    assert!(help.contains("TOOPHER_SERVER_DATABASE_PASSWORD") && !help.contains(secret));
    // With another key than the other servers, every call would fail.
    let listed = |key: char| {
        let mut command = command(&folder);
        command.env("TOOPHER_SERVER_KEY", key.to_string().repeat(64));
        let done = with_database(&mut command, &postgres.url(&database)).args(["requester", "list"]).output().unwrap();
        (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    };
    let mut create = command(&folder);
    let made =
        with_database(&mut create, &postgres.url(&database)).args(["requester", "create", "x"]).output().unwrap();
    assert!(made.status.success() && listed('7').0);
    let (ok, message) = listed('8');
    assert!(!ok && message.contains("encrypted with another key"), "{message}");
}
