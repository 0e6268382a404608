//! What an operator sees: the start, errors with their remedy, the help, and the clients in the log.
#![cfg(unix)]

use axum::body::Body;
use axum::http::Request;
use test_support::process::{Running, command, requester, run, scratch};
use toopher_server_test_support::cluster::forward_to;
use tower::ServiceExt;

#[test]
fn the_start_names_the_public_url_the_database_and_the_phone_page() {
    let folder = scratch("start");
    requester(&folder);
    let mut server = Running::start(&folder, &["--public-url", "https://mfa.example.com/"]);
    assert!(server.stop());
    let log = server.whole_log();
    for part in [
        "public_url=\"https://mfa.example.com\"",
        "phone_page=\"https://mfa.example.com/phone\"",
        "database=\"toopher.sqlite\"",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn errors_name_what_is_wrong_and_an_example() {
    let folder = scratch("operator");
    let (key, _) = requester(&folder);
    std::fs::write(folder.join("notes.txt"), "no database, and longer than the header of one".repeat(9)).unwrap();
    for (arguments, parts) in [
        (&["serve", "--listen", "localhost"][..], &["--listen", "127.0.0.1:8080"][..]),
        (&["serve", "--public-url", "mfa.example.com"], &["--public-url", "https://mfa.example.com"]),
        (&["serve", "--public-url", "https://mfa.example.com/v1"], &["--public-url", "/v1"]),
        (&["serve", "--trusted-proxies", "proxy"], &["--trusted-proxies", "10.0.0.0/8"]),
        (
            &["--database", "mysql://x", "requester", "list"],
            &["--database", "postgres://toopher@db.example.com/toopher"],
        ),
        (&["--database", "", "requester", "list"], &["--database is empty", "toopher.sqlite"]),
        (&["--database", "notes.txt", "requester", "list"], &["--database notes.txt", "not a database"]),
        (&["requester", "create", " "], &["the name of a requester has 1 to 200 bytes"]),
        (&["requester", "revoke", "unknown"], &["no requester with this consumer key", "requester list"]),
        (&["user", "list", "unknown"], &["no requester with this consumer key", "requester list"]),
        (&["user", "reset", "unknown", "jdoe"], &["no requester with this consumer key"]),
        (&["user", "reset", &key, ""], &["no user of this name", "user list"]),
        (&["user", "disable", &key, "unknown"], &["no user of this name", "user list"]),
        (&["phone", "remove", "unknown"], &["no phone with this id", "phone list"]),
    ] {
        let (ok, message) = run(&folder, arguments);
        assert!(!ok && parts.iter().all(|part| message.contains(part)), "{arguments:?}: {message}");
        assert!(!message.contains("mysql://x"), "{message}");
    }
    // A database that another key belongs to, and a key that is none.
    for (other, parts) in [
        ("7".repeat(64), ["--database toopher.sqlite", "--key-file"]),
        ("secret".to_owned(), ["the key in TOOPHER_SERVER_KEY", "toopher-server key --out"]),
    ] {
        let listed = command(&folder).args(["requester", "list"]).env("TOOPHER_SERVER_KEY", &other).output().unwrap();
        let message = String::from_utf8(listed.stderr).unwrap();
        assert!(!listed.status.success() && parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!message.contains(&other));
    }
}

#[test]
fn the_help_has_the_options_of_the_command_in_lines_that_fit() {
    let folder = scratch("help");
    for command in ["", "serve", "requester", "user", "phone", "key", "repair-clock", "sign", "migrate-failure-store"] {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|argument| !argument.is_empty()).collect();
        let (ok, help) = run(&folder, &arguments);
        assert!(ok && help.lines().all(|line| line.chars().count() <= 100), "{help}");
        let uses_database = !matches!(command, "key" | "sign");
        for option in ["--database", "--failure-store", "--key-file"] {
            assert_eq!(help.contains(option), uses_database, "{command} {option}: {help}");
        }
    }
    let (ok, version) = run(&folder, &["--version"]);
    assert!(ok && version.starts_with("toopher-server "), "{version}");
    // They are ignored where they are not used, also in front of the command.
    assert!(run(&folder, &["--database", "x", "key"]).0 && run(&folder, &["key", "--database", "x"]).0);
}

/// fail2ban reads the address of the client from the log. Only a trusted proxy can name another one.
#[tokio::test]
async fn the_log_has_the_address_of_the_client() {
    let folder = scratch("clients");
    requester(&folder);
    for (arguments, expected) in [
        (&[][..], "127.0.0.1"),
        (&["--trusted-proxies", "10.0.0.0/8"], "127.0.0.1"),
        (&["--trusted-proxies", "10.0.0.0/8,127.0.0.1"], "203.0.113.7"),
    ] {
        let mut server = Running::start(&folder, arguments);
        let signature = r#"OAuth oauth_consumer_key="x", oauth_nonce="x", oauth_timestamp="1", oauth_signature="x",
            oauth_signature_method="HMAC-SHA1""#;
        let call = Request::get("/v1/users").header("x-forwarded-for", "198.51.100.1, 203.0.113.7");
        let call = call.header("authorization", signature.replace('\n', "")).body(Body::empty()).unwrap();
        assert_eq!(forward_to(&server.address).oneshot(call).await.unwrap().status(), 401);
        assert!(server.stop());
        let log = server.whole_log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("decision") || line.contains("path=")).collect();
        assert_eq!(lines.len(), 2, "{log}");
        for line in lines {
            assert!(line.contains(&format!("client={expected}")), "{line}");
        }
        // The rule in `docs/server.md`.
        let rule = r#"decision resource="call" outcome="denied" reason="unknown_requester" client="#;
        assert!(log.contains(&format!("{rule}{expected}")), "{log}");
    }
}
