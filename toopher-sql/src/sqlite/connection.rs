//! Connections to a file or a database in memory, with their settings.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, DatabaseName, OpenFlags, TransactionBehavior};

use crate::error::SqlError;

const MIGRATIONS: &[&str] =
    &[include_str!("../../migrations/sqlite/0001_initial.sql"), include_str!("../../migrations/sqlite/0002_pages.sql")];
const VERSION: &str = "user_version";
/// How long a transaction waits for the lock, which another process may hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many different statements a connection keeps prepared: more than there are.
const STATEMENTS: usize = 256;

/// The connection that writes to the file, which exists. Creates the tables.
pub(super) fn open(path: &Path) -> Result<Connection, SqlError> {
    // If several processes switch a new file to WAL mode, all but one fail at once, without the busy timeout.
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match configure(open_file(path)?) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return migrate(opened?),
        }
    }
}

/// Whether the file could not be written when it was opened. Opening it in another way to find that out would release
/// the locks of the process on it when it is closed (POSIX), and another process could remove the log that is in use.
pub(super) fn is_read_only(connection: &Connection) -> Result<bool, SqlError> {
    Ok(connection.is_readonly(DatabaseName::Main)?)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, SqlError> {
    let connection = open_file(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

pub(super) fn in_memory() -> Result<Connection, SqlError> {
    let connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    migrate(connection)
}

fn open_file(path: &Path) -> Result<Connection, SqlError> {
    // Not created: the file may have been removed while the database is open. A path is not read as a URI.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_handler(Some(wait_for_lock))?;
    Ok(connection)
}

/// Waits before the next attempt to get a lock, or returns `false` at the end. SQLite's own handler pauses for up to
/// 100 ms: if another process writes without a pause, that would rarely be between two of its transactions.
fn wait_for_lock(attempts: i32) -> bool {
    thread_local!(static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) });
    if attempts == 0 {
        BEGUN.set(Some(Instant::now()));
    }
    let in_time = BEGUN.get().is_some_and(|begun| begun.elapsed() < BUSY_TIMEOUT);
    if in_time {
        std::thread::sleep(Duration::from_millis(1));
    }
    in_time
}

fn configure(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Creates the tables. The number of applied migrations is in the header of the file (`user_version`).
fn migrate(mut connection: Connection) -> Result<Connection, SqlError> {
    connection.pragma_update(None, "foreign_keys", true)?;
    // If several processes start at once, one of them creates the tables, and the others wait for it.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied: usize = transaction.pragma_query_value(None, VERSION, |row| row.get(0))?;
    let missing = MIGRATIONS.get(applied..).ok_or_else(|| SqlError::sqlite("the tables are of a newer version"))?;
    if !missing.is_empty() {
        missing.iter().try_for_each(|migration| transaction.execute_batch(migration))?;
        transaction.pragma_update(None, VERSION, MIGRATIONS.len())?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Whether the error is `SQLITE_BUSY`, with any extended code.
fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}
