//! The files of the server: their permissions, and what happens when they are removed or replaced.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use test_support::process::{command, requester, run, scratch};
use toopher_server::{SealingKey, Server};
use toopher_server_test_support::site::Site;
use toopher_server_test_support::{Clock, T};
use toopher_sql::{Database, query};

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

/// Runs the program with another umask.
fn run_with_umask(umask: &str, folder: &Path, arguments: &[&str]) -> (bool, String) {
    let program = command(folder).get_program().to_owned();
    let output = Command::new("sh")
        .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn only_the_owner_can_read_the_database() {
    let folder = scratch("modes");
    let file = folder.join("new.sqlite");
    let server = Server::open(&file, SealingKey::generate().unwrap(), "https://h").await.unwrap();
    server.create_requester("my site").await.unwrap();
    for name in ["new.sqlite", "new.sqlite-wal", "new.sqlite-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
}

#[test]
fn key_and_database_have_the_same_permissions_with_any_umask() {
    for umask in ["000", "022", "077", "0277", "0777"] {
        let folder = scratch("umask");
        let (made, printed) = run_with_umask(umask, &folder, &["key", "--out", "toopher.key"]);
        assert!(made && printed.is_empty(), "{umask}: {printed}");
        assert_eq!(mode(&folder.join("toopher.key")), 0o600);
        let (made, printed) = run_with_umask(umask, &folder, &["requester", "create", "my site"]);
        assert!(made && !printed.contains("others can read"), "{umask}: {printed}");
        assert_eq!(mode(&folder.join("toopher.sqlite")), 0o600);
    }
}

#[test]
fn a_key_file_is_never_replaced() {
    let folder = scratch("key");
    assert!(run(&folder, &["key", "--out", "toopher.key"]).0);
    let key = std::fs::read_to_string(folder.join("toopher.key")).unwrap();
    assert_eq!(key.trim().len(), 64);
    let (made, message) = run(&folder, &["key", "--out", "toopher.key"]);
    assert!(!made && message.contains("never replaced"), "{message}");
    assert_eq!(std::fs::read_to_string(folder.join("toopher.key")).unwrap(), key);
    // Neither through a symbolic link, nor in a folder that does not exist.
    std::os::unix::fs::symlink("elsewhere", folder.join("link")).unwrap();
    assert!(!run(&folder, &["key", "--out", "link"]).0 && !folder.join("elsewhere").exists());
    assert!(!run(&folder, &["key", "--out", "none/toopher.key"]).0);
    let (_, printed) = run(&folder, &["key"]);
    assert!(printed.trim().len() == 64 && printed != key);
}

/// A new key for an existing database would make it unusable.
#[test]
fn a_new_key_is_suggested_only_for_a_new_database() {
    let folder = scratch("suggestions");
    let message = |arguments: &[&str]| run(&folder, &[arguments, &["requester", "list"]].concat()).1;
    assert!(message(&[]).contains("toopher-server key --out"), "{}", message(&[]));
    requester(&folder);
    let key = folder.join("toopher.key");
    std::fs::rename(&key, folder.join("kept.key")).unwrap();
    for arguments in [&[][..], &["--key-file", "none/toopher.key"]] {
        let message = message(arguments);
        assert!(message.contains("restore the key") && !message.contains("toopher-server key"), "{message}");
    }
    // A key that is there and cannot be read.
    std::fs::create_dir(&key).unwrap();
    assert!(!message(&[]).contains("toopher-server key"), "{}", message(&[]));
    std::fs::remove_dir(&key).unwrap();
    std::fs::write(&key, "7".repeat(64)).unwrap();
    let message = message(&[]);
    assert!(message.contains("another key") && !message.contains("toopher-server key"), "{message}");
    assert!(message.contains("others can read the secret in this file"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_removed_or_replaced_fails_calls_and_probes() {
    for name in ["x.sqlite", "x.sqlite-wal", "x.sqlite-shm"] {
        let folder = scratch(&format!("replaced-{name}"));
        let clock = Clock::from_secs(T);
        let open = Server::open(folder.join("x.sqlite"), SealingKey::generate().unwrap(), "https://mfa.example.test");
        let server = open.await.unwrap().clock(&clock);
        let site = Site::new(&server, &clock).await;
        let (file, aside) = (folder.join(name), folder.join("aside"));
        let works = async |expected: bool| {
            let (status, answer) = site.post("users/create", &[("name", &format!("user {expected}"))]).await;
            assert_eq!(status, if expected { 200 } else { 503 }, "{name} {answer}");
            match server.ready().await {
                Ok(()) => assert!(expected, "{name}"),
                Err(error) => {
                    assert!(!expected && error.to_string().contains("removed, renamed or replaced"), "{error}")
                }
            }
        };
        works(true).await;
        std::fs::rename(&file, &aside).unwrap();
        works(false).await;
        // No operation has created a new file.
        assert!(!file.exists());
        std::fs::copy(&aside, &file).unwrap();
        works(false).await;
        std::fs::rename(&aside, &file).unwrap();
        server.ready().await.unwrap();
        assert_eq!(site.get("users").await.1.as_array().unwrap().len(), 1);
        std::fs::rename(&folder, folder.with_extension("moved")).unwrap();
        works(false).await;
        std::fs::rename(folder.with_extension("moved"), &folder).unwrap();
        server.ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_accepts_no_writes_is_not_ready() {
    let folder = scratch("full");
    let file = folder.join("x.sqlite");
    // As on a full disk, reads succeed and writes fail.
    let other = Database::open(&file).await.unwrap();
    let trigger = "CREATE TRIGGER full BEFORE UPDATE ON test_write BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    query(trigger).execute(&other).await.unwrap();
    let server = Server::open(&file, SealingKey::generate().unwrap(), "https://h").await.unwrap();
    let error = server.ready().await.unwrap_err().to_string();
    assert!(error.contains("cannot be written") && error.contains("disk full"), "{error}");
}
