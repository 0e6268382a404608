//! The program: its log, the program that sends messages, and its public URL.
#![cfg(unix)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use axum::body::Body;
use axum::http::Request;
use test_support::output;
use test_support::process::{Running, command, requester, run, scratch};
use toopher_oauth1::{BaseUri, Credentials, sign};
use toopher_server_test_support::Clock;
use toopher_server_test_support::cluster::{forward_to, now};
use toopher_server_test_support::site::{Site, json, text};
use tower::ServiceExt;

/// Starts the demo, which prints its address to the standard output.
fn demo(folder: &Path, stderr: Stdio) -> (Child, String) {
    let mut process = command(folder)
        .args(["serve", "--demo", "--listen", "127.0.0.1:0"])
        .env("RUST_LOG", "info")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let base = lines.find_map(|line| line.strip_prefix("export TOOPHER_BASE_URL=").map(str::to_owned)).unwrap();
    // The rest of the output has a reader until it ends.
    std::thread::spawn(move || lines.for_each(drop));
    let address = base.strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
    (process, address)
}

/// The reader of the log is gone, refuses to read, or stores nothing: calls succeed, and SIGTERM ends the program.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = scratch("log");
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for (what, stderr) in [("full", full()), ("gone", Stdio::piped()), ("stalled", Stdio::piped())] {
        let (mut process, address) = demo(&folder, stderr);
        let reader = process.stderr.take();
        // Only a stalled reader exists.
        let reader = if what == "stalled" { reader } else { None };
        let app = forward_to(&address);
        // More lines than the buffer of a pipe contains.
        for _ in 0..600 {
            assert_eq!(text(&app, &format!("/v1/users?name={what}")).await.0, 401, "{what}");
        }
        assert_eq!(text(&app, "/healthz").await, (200, "alive\n".into()), "{what}");
        assert_eq!(text(&app, "/readyz").await, (200, "ready\n".into()), "{what}");
        output("kill", &["-TERM", &process.id().to_string()]);
        assert!(process.wait().unwrap().success(), "{what}");
        drop(reader);
    }
    // Commands end with an error, and do not panic.
    let ended = command(&folder).args(["requester", "list"]).stderr(full()).status().unwrap();
    assert_eq!(ended.code(), Some(1));
    let ended = command(&folder).arg("key").stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(ended.code(), Some(1));
}

#[tokio::test]
async fn probes_are_logged_as_calls_are() {
    let folder = scratch("probes");
    requester(&folder);
    let mut server = Running::start(&folder, &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(text(&forward_to(&server.address), path).await.0, 200);
    }
    assert!(server.stop());
    let log = server.whole_log();
    for path in ["/healthz", "/readyz"] {
        assert!(log.contains(&format!("path=\"{path}\" status=200")), "{log}");
    }
}

fn script(folder: &Path, text: &str) {
    std::fs::write(folder.join("send"), format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(folder.join("send"), PermissionsExt::from_mode(0o700)).unwrap();
}

fn site(server: &Running, (key, secret): (String, String)) -> Site {
    Site {
        app: forward_to(&server.address),
        credentials: Credentials::new(key, secret).unwrap(),
        clock: Clock::from_secs(now().as_secs()),
        public: ("http".into(), server.address.clone()),
    }
}

#[tokio::test]
async fn the_message_program_receives_no_secret_and_no_log() {
    let folder = scratch("message");
    let credentials = requester(&folder);
    script(
        &folder,
        "{ env; echo \"ARGUMENTS $*\"; ls -l /proc/$$/fd; cat; } > received\n\
         head -c 1000000 /dev/zero | tr '\\0' x; echo OUTPUT; echo ERRORS >&2",
    );
    let mut server = Running::start_with(&folder, &["--message-command", "./send"], |command| {
        let key = std::fs::read_to_string(folder.join("toopher.key")).unwrap();
        command.env("TOOPHER_SERVER_KEY", key).env("TOOPHER_SERVER_DATABASE_PASSWORD", "hush");
        command.env("PGPASSWORD", "hush").env("TZ", "UTC");
    });
    let sms = [("user_name", "jdoe"), ("phone_number", "+1 (555) 01-00")];
    assert_eq!(site(&server, credentials).post("pairings/create/sms", &sms).await.0, 200);
    let received = std::fs::read_to_string(folder.join("received")).unwrap();
    assert!(received.contains("\nARGUMENTS sms +15550100\n") && received.contains("#claim="), "{received}");
    assert!(received.contains("PATH=") && received.contains("TZ=UTC"), "{received}");
    for secret in ["TOOPHER", "PGPASSWORD", "RUST_LOG", "hush", "toopher.sqlite", "socket:"] {
        assert!(!received.contains(secret), "{secret}: {received}");
    }
    assert!(server.stop());
    let log = server.whole_log();
    assert!(!log.contains("OUTPUT") && !log.contains("ERRORS") && !log.contains("#claim="), "{log}");
}

/// A client that disconnects leaves no process behind.
#[tokio::test]
async fn the_message_program_ends_with_all_its_processes() {
    let folder = scratch("message-group");
    let credentials = requester(&folder);
    script(&folder, "sleep 1000 & echo $! > child.new; mv child.new child; wait");
    let server = Running::start(&folder, &["--message-command", "./send"]);
    let sms = [("user_name", "jdoe"), ("phone_number", "+15550100")];
    let (parts, body) = site(&server, credentials).signed("POST", "pairings/create/sms", &sms).into_parts();
    let body = axum::body::to_bytes(body, 10_000).await.unwrap();
    let header = parts.headers["authorization"].to_str().unwrap();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(
        stream,
        "POST {} HTTP/1.1\r\nhost: h\r\nauthorization: {header}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{}",
        parts.uri,
        body.len(),
        std::str::from_utf8(&body).unwrap()
    )
    .unwrap();
    let child = loop {
        match std::fs::read_to_string(folder.join("child")) {
            Ok(id) => break id.trim().to_owned(),
            Err(_) => std::thread::yield_now(),
        }
    };
    drop(stream);
    // It ends, or has ended and its parent has not read its status.
    while std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_public_url_with_a_path() {
    let folder = scratch("path");
    let (key, secret) = requester(&folder);
    let credentials = Credentials::new(key, secret).unwrap();
    for (given, used) in [
        ("HTTPS://MFA.Example.Test:443/mfa/", "https://mfa.example.test/mfa"),
        // Paths of the server itself.
        ("https://mfa.example.test/phone", "https://mfa.example.test/phone"),
        ("https://mfa.example.test/web/healthz", "https://mfa.example.test/web/healthz"),
    ] {
        let mut server = Running::start(&folder, &["--public-url", given]);
        assert!(server.log().contains(&format!("public_url=\"{used}\"")), "{}", server.log());
        let app = forward_to(&server.address);
        let prefix = used.strip_prefix("https://mfa.example.test").unwrap();
        let signed = |method: &str, path: &str, parameters: &[(&str, &str)], sent: &str| {
            let base = BaseUri::new("https", "mfa.example.test", &format!("{prefix}{path}")).unwrap();
            let (nonce, now) = (sign::nonce().unwrap(), now().as_secs());
            let header = sign::authorization(&credentials, method, &base, parameters, &nonce, now);
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
            Request::builder()
                .method(method)
                .uri(sent)
                .header("authorization", header)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(form))
                .unwrap()
        };
        // A proxy passes the path on, or removes it. The signature is the same.
        for sent in [format!("{prefix}/v1/users"), "/v1/users".into()] {
            let request = signed("GET", "/v1/users", &[], &sent);
            assert_eq!(json(app.clone().oneshot(request).await.unwrap()).await.0, 200, "{sent}");
        }
        for path in ["/healthz", "/readyz", "/phone", "/phone/app.js", "/phone/sw.js", "/web/frame.js"] {
            assert_eq!(text(&app, &format!("{prefix}{path}")).await.0, 200, "{prefix}{path}");
        }
        assert_eq!(text(&app, "/elsewhere/v1/users").await.0, 404);
        // Links have the path, and lead to it.
        let qr = signed(
            "POST",
            "/v1/pairings/create/qr",
            &[("user_name", "jdoe")],
            &format!("{prefix}/v1/pairings/create/qr"),
        );
        let id = json(app.clone().oneshot(qr).await.unwrap()).await.1["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/pairings/{id}/generate_reset_link");
        let link = signed("POST", &path, &[], &format!("{prefix}{path}"));
        let link = json(app.clone().oneshot(link).await.unwrap()).await.1["url"].as_str().unwrap().to_owned();
        let path = link.strip_prefix("https://mfa.example.test").unwrap();
        assert!(path.starts_with(&format!("{prefix}/v1/pairings/")), "{link}");
        let (status, page) = text(&app, path).await;
        assert!(status == 200 && page.contains("End the pairing"), "{page}");
        assert!(server.stop());
    }
}

#[test]
fn an_invalid_public_url_is_rejected_with_the_reason() {
    let folder = scratch("public-url");
    requester(&folder);
    for (url, reason) in [
        ("https://mfa.example.test/v1", "must not end in /v1"),
        ("https://mfa.example.test/v1/", "must not end in /v1"),
        ("https://mfa.example.test/mfa/V1", "must not end in /v1"),
        ("https://mfa.example.test/?a=b", "must not contain a query"),
        ("https://mfa.example.test?", "must not contain a query"),
        ("https://mfa.example.test/#top", "must not contain a fragment"),
        ("https://user:hush@mfa.example.test", "must not contain a user or a password"),
        ("https://mfa.example.test/a%20b", "plain segments"),
        ("https://mfa.example.test/../mfa", "plain segments"),
        ("mfa.example.test", "must begin with http:// or https://"),
        ("https://:443", "host or the port"),
    ] {
        let (started, message) = run(&folder, &["serve", "--listen", "127.0.0.1:0", "--public-url", url]);
        assert!(!started && message.contains(reason) && !message.contains("hush"), "{url}: {message}");
    }
}
