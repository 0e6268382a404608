//! `toopher-server` as a process: the demo, an independent client, TLS, administration, and kills.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use test_support::process::{Running, certificate, command, requester, run, scratch};
use test_support::{have, output};

fn python() -> Option<String> {
    let python = std::env::var("PYOTP_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", "import pyotp, requests_oauthlib"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("REQUIRE_TOOLS").is_none(), "pyotp and requests-oauthlib are not installed");
    test_support::skipped("pyotp and requests-oauthlib are not installed");
    None
}

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/client.py");

#[test]
fn an_independent_client() {
    let Some(python) = python() else { return };
    let folder = scratch("client");
    let (key, secret) = requester(&folder);
    let mut server = Running::start(&folder, &[]);
    let base = format!("http://{}/v1", server.address);
    assert_eq!(output(&python, &[CLIENT, &base, &key, &secret]), "all calls succeeded");
    assert!(server.stop());
    // Administration sees the results.
    let (_, users) = run(&folder, &["user", "list", &key]);
    assert!(users.contains("0 pairings"), "{users}");
}

#[test]
fn the_output_of_the_demo_can_be_pasted() {
    if !have(&["curl", "oathtool", "sh", "sed"]) {
        return;
    }
    let folder = scratch("demo");
    let mut server = Running::start(&folder, &["--demo"]);
    // The demo prints the lines before it listens. The script ends the server, and with it the output.
    let pid = server.process.id();
    let mut lines = String::new();
    let mut reader = BufReader::new(server.process.stdout.take().unwrap());
    while !lines.contains("requests/$(pending requests") {
        assert!(reader.read_line(&mut lines).unwrap() > 0);
    }
    let printed = output("sh", &["-c", &lines]);
    let answers: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 4, "{printed}");
    assert_eq!((&answers[1]["granted"], &answers[1]["pending"]), (&true.into(), &false.into()));
    assert_eq!((&answers[2]["granted"], &answers[2]["pending"]), (&false.into(), &true.into()));
    assert_eq!(answers[3]["granted"], true);
    assert_eq!(pid, server.process.id());
}

#[test]
fn tls_and_probes() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let folder = scratch("tls");
    let (key, secret) = requester(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    certificate(&folder);
    output("chmod", &["640", &path("tls.key")]);
    let mut server = Running::start(&folder, &["--tls-cert", "tls.pem", "--tls-key", "tls.key"]);
    let url = format!("https://{}", server.address);
    let curl = |path: &str| {
        output("curl", &["-sS", "--cacert", &folder.join("tls.pem").to_string_lossy(), &format!("{url}{path}")])
    };
    assert_eq!((curl("/healthz").as_str(), curl("/readyz").as_str()), ("alive", "ready"));
    assert!(curl("/v1/users").contains("\"error_code\":401"));
    assert!(curl("/v1/web/session/s3cret").contains("This page has expired"));
    let signed = command(&folder)
        .args(["sign", "GET", "users", "name=jdoe"])
        .env("TOOPHER_BASE_URL", format!("{url}/v1"))
        .env("TOOPHER_CONSUMER_KEY", key)
        .env("TOOPHER_CONSUMER_SECRET", secret)
        .output()
        .unwrap();
    std::fs::write(folder.join("curl.conf"), signed.stdout).unwrap();
    assert_eq!(output("curl", &["-sS", "--cacert", &path("tls.pem"), "-K", &path("curl.conf")]), "[]");
    assert!(server.stop());
    let log = server.whole_log();
    assert!(log.contains("others can read the secret in this file: chmod 600 it file=tls.key"), "{log}");
    assert!(
        log.contains("tower_toopher::audit: decision resource=\"call\" outcome=\"denied\" reason=\"unsigned\""),
        "{log}"
    );
    assert!(log.contains("/v1/web/session/...") && !log.contains("s3cret"), "{log}");
    let (half, message) = run(&folder, &["serve", "--tls-cert", "tls.pem"]);
    assert!(!half && message.contains("--tls-key"), "{message}");
}

#[test]
fn errors_name_the_remedy() {
    let folder = scratch("errors");
    let (ok, message) = run(&folder, &["requester", "list"]);
    assert!(!ok && message.contains("toopher-server key --out"), "{message}");
    std::fs::write(folder.join("toopher.key"), "secret").unwrap();
    let (ok, message) = run(&folder, &["requester", "list"]);
    assert!(!ok && message.contains("64 hexadecimal digits") && !message.contains("secret\""), "{message}");
    let (key, _) = requester(&folder);
    assert_eq!(run(&folder, &["requester", "list"]), (true, format!("{key}\tactive\tmy site\n")));
    // The environment may contain the key instead.
    let key_file = folder.join("toopher.key");
    let sealing_key = std::fs::read_to_string(&key_file).unwrap();
    std::fs::remove_file(&key_file).unwrap();
    let listed =
        |key: &str| command(&folder).args(["requester", "list"]).env("TOOPHER_SERVER_KEY", key).output().unwrap();
    assert!(listed(&sealing_key).status.success() && !listed("odd").status.success());
    std::fs::write(&key_file, sealing_key).unwrap();
    output("chmod", &["600", key_file.to_str().unwrap()]);
    assert!(run(&folder, &["requester", "revoke", &key]).0);
    assert_eq!(run(&folder, &["requester", "list"]), (true, format!("{key}\trevoked\tmy site\n")));
    assert!(!run(&folder, &["requester", "revoke", "unknown"]).0);
    assert!(!run(&folder, &["user", "reset", &key, "unknown"]).0);
    std::fs::write(folder.join("server.toml"), "listen = \"127.0.0.1:0\"\nlisten_on = 1\n").unwrap();
    let (ok, message) = run(&folder, &["--config", "server.toml", "requester", "list"]);
    assert!(!ok && message.contains("listen_on"), "{message}");
    let (ok, message) = run(&folder, &["serve", "--public-url", "ftp://x"]);
    assert!(!ok && message.contains("public URL"), "{message}");
}

/// A site calls until the server is killed. Everything that the server acknowledged must still exist afterwards.
#[test]
fn a_kill_loses_nothing_acknowledged() {
    let Some(python) = python() else { return };
    let folder = scratch("kill");
    let (key, secret) = requester(&folder);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/load.py");
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    for round in 0..5_u32 {
        let mut server = Running::start(&folder, &[]);
        let base = format!("http://{}/v1", server.address);
        let mut load = Command::new(&python)
            .args([script, "load", &base, &key, &secret, &round.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(load.stdout.take().unwrap());
        let mut acknowledged = String::new();
        // After a random number of responses.
        for _ in 0..20 + (seed >> round) % 200 {
            assert!(reader.read_line(&mut acknowledged).unwrap() > 0, "{acknowledged}");
        }
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        reader.read_to_string(&mut acknowledged).unwrap();
        load.wait().unwrap();
        let file = folder.join(format!("acknowledged-{round}"));
        std::fs::write(&file, acknowledged).unwrap();
        let mut server = Running::start(&folder, &[]);
        let base = format!("http://{}/v1", server.address);
        let checked = output(&python, &[script, "check", &base, &key, &secret, file.to_str().unwrap()]);
        assert!(checked.ends_with("nothing is lost"), "{checked}");
        assert!(server.stop());
    }
}
