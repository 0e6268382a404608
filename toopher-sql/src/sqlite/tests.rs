//! Operations that share a transaction.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};

use tokio::task::{JoinHandle, yield_now};

use super::QUEUE;
use crate::{Connection, Database, Operation, SqlError, query};

/// Occupies the writing thread until the result is sent. Operations that begin meanwhile share its transaction.
async fn occupy(database: &Database) -> (Sender<()>, JoinHandle<Result<(), SqlError>>) {
    let (release, released) = channel();
    let occupied = run(database, move |_| {
        Box::pin(async move {
            released.recv().unwrap();
            Ok(())
        })
    });
    (release, occupied.await)
}

/// Adds an operation to the queue.
async fn run<T: Send + 'static>(
    database: &Database,
    operation: impl FnOnce(&mut Connection) -> Operation<'_, T, SqlError> + Send + 'static,
) -> JoinHandle<Result<T, SqlError>> {
    let database = database.clone();
    let running = tokio::spawn(async move { database.transaction("a key".into(), operation).await });
    yield_now().await;
    running
}

async fn insert(connection: &mut Connection, user: i64) -> Result<u64, SqlError> {
    let insert = query("INSERT INTO attempts (subject, count, expires) VALUES ($1, 1, 0)");
    insert.bind(user.to_string()).execute(connection).await
}

/// Inserts a row, and then fails unless the number is a multiple of four.
async fn may_fail(connection: &mut Connection, user: i64) -> Result<(), SqlError> {
    insert(connection, user).await?;
    match user % 4 {
        0 => Ok(()),
        1 => query("SELECT no_such_column FROM attempts").execute(connection).await.map(drop),
        2 => panic!("an operation of this test panics"),
        // Waits for something other than a statement.
        _ => {
            yield_now().await;
            Ok(())
        }
    }
}

async fn rows(database: &Database) -> i64 {
    query("SELECT count(*) FROM attempts").scalar(database).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_operation_that_fails_changes_no_other() {
    let database = Database::in_memory().await.unwrap();
    let (release, occupied) = occupy(&database).await;
    let mut running = Vec::new();
    for user in 0..60 {
        running.push(run(&database, move |connection| Box::pin(may_fail(connection, user))).await);
    }
    release.send(()).unwrap();
    occupied.await.unwrap().unwrap();
    for (user, result) in running.into_iter().enumerate() {
        assert_eq!(result.await.unwrap().is_ok(), user % 4 == 0, "{user}");
    }
    assert_eq!(rows(&database).await, 15);
}

#[tokio::test]
async fn if_the_commit_fails_all_operations_of_the_group_fail() {
    let database = Database::in_memory().await.unwrap();
    let (release, occupied) = occupy(&database).await;
    let good = run(&database, |connection| Box::pin(insert(connection, 1))).await;
    let violating = run(&database, |connection| {
        Box::pin(async {
            query("PRAGMA defer_foreign_keys = TRUE").execute(&mut *connection).await?;
            query("INSERT INTO recovery_codes (user_id, digest) VALUES ('no user', $1)")
                .bind(vec![1_u8])
                .execute(connection)
                .await
        })
    });
    let violating = violating.await;
    release.send(()).unwrap();
    occupied.await.unwrap().unwrap_err();
    assert!(good.await.unwrap().is_err() && violating.await.unwrap().unwrap_err().is_foreign_key_violation());
    assert_eq!(rows(&database).await, 0);
    // The next group is not affected.
    run(&database, |connection| Box::pin(insert(connection, 1))).await.await.unwrap().unwrap();
    assert_eq!(rows(&database).await, 1);
}

#[tokio::test]
async fn nothing_is_run_for_a_caller_that_has_gone() {
    let database = Database::in_memory().await.unwrap();
    let (release, occupied) = occupy(&database).await;
    let gone = run(&database, |connection| Box::pin(insert(connection, 1))).await;
    let waits = run(&database, |connection| Box::pin(insert(connection, 2))).await;
    gone.abort();
    yield_now().await;
    release.send(()).unwrap();
    occupied.await.unwrap().unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(rows(&database).await, 1);
}

#[tokio::test]
async fn a_full_queue_rejects_at_once() {
    let database = Database::in_memory().await.unwrap();
    let (release, occupied) = occupy(&database).await;
    let mut running = Vec::new();
    for user in 0..QUEUE + 10 {
        let user = i64::try_from(user).unwrap();
        running.push(run(&database, move |connection| Box::pin(insert(connection, user))).await);
    }
    assert!(running[..QUEUE].iter().all(|running| !running.is_finished()));
    for rejected in running.split_off(QUEUE) {
        assert!(rejected.await.unwrap().unwrap_err().to_string().contains("too many operations"));
    }
    release.send(()).unwrap();
    occupied.await.unwrap().unwrap();
    for accepted in running {
        accepted.await.unwrap().unwrap();
    }
    assert_eq!(rows(&database).await, i64::try_from(QUEUE).unwrap());
}

#[tokio::test]
async fn parameters_are_numbered_by_their_names() {
    let database = Database::in_memory().await.unwrap();
    let numbers: Option<(i64, i64)> = query("SELECT $2, $1 + $1").bind(3).bind(4).one(&database).await.unwrap();
    assert_eq!(numbers, Some((4, 6)));
    let error = query("SELECT $2").bind(3).row(&database).await.unwrap_err();
    assert!(error.to_string().contains("a parameter has no value"), "{error}");
}

fn new_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("toopher-sql-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

const FILE: &str = "FILE_OF_THE_OTHER_PROCESS";

#[test]
#[ignore = "it is a process of another test, which starts it"]
fn the_other_process() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.query_row("SELECT count(*) FROM attempts", [], |_| Ok(())).unwrap();
    connection.close().unwrap();
}

/// The last process that closes a file removes its log. It learns from the locks of the others that it is not the last.
#[tokio::test]
async fn another_process_that_closes_the_file_does_not_remove_the_log() {
    let directory = new_directory("closed");
    let path = directory.join("shared.db");
    let (first, second) = (Database::open(&path).await.unwrap(), Database::open(&path).await.unwrap());
    let (_, module) = module_path!().split_once("::").unwrap();
    for user in 0..3 {
        let mut other = std::process::Command::new(std::env::current_exe().unwrap());
        let other = other.args(["--exact", &format!("{module}::the_other_process"), "--ignored"]).env(FILE, &path);
        let output = other.output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        for database in [&first, &second] {
            let inserted = run(database, move |connection| Box::pin(insert(connection, user))).await;
            assert_eq!(inserted.await.unwrap().is_ok(), std::ptr::eq(database, &first), "{user}");
            assert_eq!(rows(database).await, user + 1);
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_rejected() {
    let directory = new_directory("newer");
    let path = directory.join("newer.db");
    drop(Database::open(&path).await.unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    let error = Database::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A file that an earlier version has created gets the tables and columns that were added since.
#[tokio::test]
async fn a_file_of_an_older_version_is_migrated() {
    let directory = std::env::temp_dir().join(format!("toopher-sql-older-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("older.db");
    let older = rusqlite::Connection::open(&path).unwrap();
    older.execute_batch(include_str!("../../migrations/sqlite/0001_initial.sql")).unwrap();
    older.execute_batch("INSERT INTO requesters VALUES ('1', 'my site', 'key', x'00', 0, 0)").unwrap();
    older.pragma_update(None, "user_version", 1).unwrap();
    drop(older);
    let database = Database::open(&path).await.unwrap();
    let columns = query("SELECT count(*) FROM web_sessions WHERE theme IS NOT NULL OR sealed_codes IS NOT NULL");
    assert_eq!(columns.scalar::<i64>(&database).await.unwrap(), Some(0));
    let name: Option<String> = query("SELECT name FROM requesters").scalar(&database).await.unwrap();
    assert_eq!(name.as_deref(), Some("my site"));
    std::fs::remove_dir_all(&directory).unwrap();
}
