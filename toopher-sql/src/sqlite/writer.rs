//! The thread that writes.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::connection;
use super::files::Files;
use super::job::Job;
use crate::connection::{Connection, ConnectionKind};
use crate::error::SqlError;

/// How many operations share a transaction at most. More would make the first one wait for the last one.
const MAX_GROUP: usize = 64;

type Jobs = Receiver<Box<dyn Job>>;

/// Where a database is.
pub(super) struct Location {
    pub(super) given: PathBuf,
    /// Without symbolic links.
    pub(super) resolved: PathBuf,
}

/// The connection that writes.
pub(super) struct Writer {
    /// `None` while a file could not be opened again.
    connection: Option<Connection>,
    /// `None` for a database in memory, and for a file that could not be written when it was opened.
    files: Option<Arc<Files>>,
    /// `None` for a database in memory.
    location: Option<Location>,
}

impl Writer {
    pub(super) fn open(location: Location) -> Result<Self, SqlError> {
        let mut writer = Self { connection: None, files: None, location: Some(location) };
        writer.open_if_read_only()?;
        Ok(writer)
    }

    pub(super) fn in_memory() -> Result<Self, SqlError> {
        let connection = Connection(ConnectionKind::Sqlite(connection::in_memory()?));
        Ok(Self { connection: Some(connection), files: None, location: None })
    }

    /// The files to check. `None` for a database in memory, and for a file that cannot be written.
    pub(super) fn files(&self) -> Option<Arc<Files>> {
        self.files.clone()
    }

    /// Runs operations until the last handle of the queue is dropped.
    pub(super) fn run(mut self, jobs: &Jobs) {
        while let Ok(first) = jobs.recv() {
            #[cfg(feature = "metrics")]
            metrics::gauge!("toopher_sqlite_queue_length")
                .set(f64::from(u32::try_from(jobs.len()).unwrap_or(u32::MAX)));
            self.run_group(first, jobs);
        }
    }

    /// Runs the operations that wait now, in one transaction, each in a savepoint. Sends all results after the commit:
    /// an operation may have read what another one of the group wrote.
    fn run_group(&mut self, first: Box<dyn Job>, jobs: &Jobs) {
        if let Err(error) = self.begin() {
            // Those that wait would wait as long again. Those that begin after the first response, such as a caller
            // that tries again, are not among them: as long as there are some, no other attempt would be made.
            let failed: Vec<_> = std::iter::once(first).chain(jobs.try_iter().take(jobs.len())).collect();
            failed.into_iter().for_each(|job| job.respond(Err(error.clone())));
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
        self.files.as_deref().map_or(Ok(()), Files::check)?;
        self.open_if_read_only()?;
        self.rollback()?;
        self.execute("BEGIN IMMEDIATE")
    }

    /// Opens a file that could not be written when it was opened, or not be opened again: it may be writable by now.
    fn open_if_read_only(&mut self) -> Result<(), SqlError> {
        let Some(Location { given, resolved }) = &self.location else { return Ok(()) };
        if let Some(connection) = &self.connection
            && !connection::is_read_only(connection.sqlite()?)?
        {
            return Ok(());
        }
        // SQLite shares the state of all connections of the process to a file, so the old connection is closed first.
        // If the file cannot be opened, there is none, and the next group tries again.
        self.connection = None;
        let connection = connection::open(resolved)?;
        if !connection::is_read_only(&connection)? {
            self.files = Some(Arc::new(Files::new(given, resolved)?));
        }
        self.connection = Some(Connection(ConnectionKind::Sqlite(connection)));
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut Connection, SqlError> {
        self.connection.as_mut().ok_or_else(|| SqlError::sqlite("the file is not open"))
    }

    fn sqlite(&mut self) -> Result<&rusqlite::Connection, SqlError> {
        self.connection()?.sqlite()
    }

    /// Rolls the transaction back, if there is one.
    fn rollback(&mut self) -> Result<(), SqlError> {
        if self.sqlite()?.is_autocommit() { Ok(()) } else { self.execute("ROLLBACK") }
    }

    /// Returns an error if the whole transaction has failed, and not only this operation.
    fn run_job(&mut self, job: &mut dyn Job) -> Result<(), SqlError> {
        self.execute("SAVEPOINT operation")?;
        let keep = job.run(self.connection()?);
        // When the disk is full, SQLite rolls the transaction back itself. The next statement would begin another one.
        if self.sqlite()?.is_autocommit() {
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
        self.sqlite()?.prepare_cached(statement)?.raw_execute()?;
        Ok(())
    }
}
