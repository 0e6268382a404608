//! The thread that writes.

use std::path::Path;

use crossbeam_channel::Receiver;

use super::connection;
use super::files::Files;
use super::job::Job;
use crate::connection::{Connection, ConnectionKind};
use crate::error::SqlError;

/// How many operations share a transaction at most. More would make the first one wait for the last one.
const MAX_GROUP: usize = 64;

type Jobs = Receiver<Box<dyn Job>>;

/// Runs operations until the last handle of the queue is dropped. `path` is that of a file.
pub(super) fn run(connection: rusqlite::Connection, jobs: &Jobs, files: Option<&Files>, path: Option<&Path>) {
    let mut writer = Writer { connection: Connection(ConnectionKind::Sqlite(connection)), files, path };
    while let Ok(first) = jobs.recv() {
        #[cfg(feature = "metrics")]
        metrics::gauge!("toopher_sqlite_queue_length").set(f64::from(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
        writer.run_group(first, jobs);
    }
}

struct Writer<'a> {
    connection: Connection,
    /// `None` for a database in memory, and for a file that could not be written when it was opened.
    files: Option<&'a Files>,
    path: Option<&'a Path>,
}

impl Writer<'_> {
    /// Runs the operations that wait now, in one transaction, each in a savepoint. Sends all results after the commit:
    /// an operation may have read what another one of the group wrote.
    fn run_group(&mut self, first: Box<dyn Job>, jobs: &Jobs) {
        if let Err(error) = self.begin() {
            // Those that wait would wait as long again.
            std::iter::once(first).chain(jobs.try_iter()).for_each(|job| job.respond(Err(error.clone())));
            return;
        }
        let mut done = Vec::new();
        let mut next = Some(first);
        let mut result = Ok(());
        while let Some(mut job) = next {
            if !job.is_abandoned() {
                result = self.run_job(&mut *job);
                done.push(job);
            }
            next = if result.is_ok() && done.len() < MAX_GROUP { jobs.try_recv().ok() } else { None };
        }
        let result = result.and_then(|()| self.commit());
        if result.is_err() {
            // If this fails, too, the next group begins with it.
            self.rollback().ok();
        }
        done.into_iter().for_each(|job| job.respond(result.clone()));
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        self.files.map_or(Ok(()), Files::check)?;
        if let Some(path) = self.path
            && self.connection.sqlite()?.is_readonly(rusqlite::DatabaseName::Main)?
        {
            // The file may be writable by now. SQLite shares the state of all connections of the process to a file, so
            // the old connection is closed first.
            self.connection.0 = ConnectionKind::Sqlite(connection::in_memory()?);
            self.connection.0 = ConnectionKind::Sqlite(connection::open(path)?);
        }
        self.rollback()?;
        self.execute("BEGIN IMMEDIATE")
    }

    /// Rolls the transaction back, if there is one.
    fn rollback(&mut self) -> Result<(), SqlError> {
        if self.connection.sqlite()?.is_autocommit() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    /// Returns an error if the whole transaction has failed, and not only this operation.
    fn run_job(&mut self, job: &mut dyn Job) -> Result<(), SqlError> {
        self.execute("SAVEPOINT operation")?;
        let keep = job.run(&mut self.connection);
        // When the disk is full, SQLite rolls the transaction back itself. The next statement would begin another one.
        if self.connection.sqlite()?.is_autocommit() {
            return Err(SqlError::sqlite("the transaction was rolled back: the disk may be full"));
        }
        if !keep {
            self.execute("ROLLBACK TO operation")?;
        }
        self.execute("RELEASE operation")
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        #[cfg(feature = "metrics")]
        let begun = std::time::Instant::now();
        let committed = self.execute("COMMIT");
        #[cfg(feature = "metrics")]
        metrics::histogram!("toopher_sqlite_commit_seconds").record(begun.elapsed());
        committed
    }

    fn execute(&mut self, statement: &str) -> Result<(), SqlError> {
        self.connection.sqlite()?.prepare_cached(statement)?.raw_execute()?;
        Ok(())
    }
}
