//! The settings and time limits of a connection.

use std::io;
use std::time::Duration;

use sqlx::{Error, Executor, PgConnection};

/// How long an operation waits for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an operation waits for a response. The server cancels the statement before, after [`STATEMENT_TIMEOUT`].
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);
pub(super) const STATEMENT_TIMEOUT: &str = "5s";
/// The same for maintenance.
pub(super) const MAINTENANCE_RESPONSE_TIMEOUT: Duration = Duration::from_secs(70);
pub(super) const MAINTENANCE_STATEMENT_TIMEOUT: &str = "60s";
/// How long the migrations may take, in this process or in another one.
pub(super) const MIGRATION_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the check of a connection may take that returns to the pool.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Sets what the guarantees of the stores depend on, whatever the settings of the role and the database are:
///
/// - Each statement sees what was committed before it began (`read committed`). After waiting for a lock, it sees the
///   changes of the lock's previous holder.
/// - A commit is on the disk before it is reported, and on the disk of a synchronous standby, if one is configured. A
///   stricter setting of the database (`remote_apply`) is kept.
/// - Every wait has a time limit, and the transactions of a process that has crashed end soon.
pub(super) async fn configure(connection: &mut PgConnection) -> Result<(), Error> {
    const SETTINGS: &str = "SELECT set_config('search_path', 'toopher', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply'
            THEN 'remote_apply' ELSE 'on' END, false),
        set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),
        set_config('idle_in_transaction_session_timeout', '10s', false),
        set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)";
    connection.execute(sqlx::query(SETTINGS).bind(STATEMENT_TIMEOUT)).await?;
    if is_primary(connection).await? { Ok(()) } else { Err(standby()) }
}

/// Whether the server is the primary. A server that was replaced by its standby may still run, but does not have the
/// records since then.
pub(super) async fn is_primary(connection: &mut PgConnection) -> Result<bool, Error> {
    sqlx::query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(connection).await
}

pub(super) fn no_response() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not respond in time"))
}

pub(super) fn standby() -> Error {
    Error::Configuration("the server is a standby, which accepts no writes".into())
}
