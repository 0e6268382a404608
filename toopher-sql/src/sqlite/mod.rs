//! SQLite files and databases in memory.
//!
//! One thread has the connection that writes, because SQLite has one writer at a time. Operations wait in a queue for
//! it. All that wait share one transaction, and so one write to the disk. The operations that only read have threads of
//! their own.

mod connection;
mod files;
mod job;
mod statement;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::files::Files;
pub(crate) use self::job::Job;
use self::job::{MAX_WAIT, Task};
pub(crate) use self::statement::{SqliteRow, execute, rows};
use self::writer::{Location, Writer};
use crate::connection::{Connection, ConnectionKind};
use crate::error::SqlError;

/// How many operations wait at most. Others fail at once.
const QUEUE: usize = 1024;
const READERS: usize = 2;

type Queue = Sender<Box<dyn Job>>;

/// An open SQLite database. The threads end with the last clone.
#[derive(Clone)]
pub(crate) struct File {
    writer: Queue,
    /// `None` for a database in memory, which has one connection, and for a file that cannot be written: a connection
    /// that stays open would keep later ones from writing, when the file can be written again.
    readers: Option<Queue>,
}

impl File {
    pub(crate) async fn open(path: &Path) -> Result<Self, SqlError> {
        files::create(path).map_err(SqlError::sqlite)?;
        let resolved = path.canonicalize().map_err(SqlError::sqlite)?;
        let location = Location { given: path.to_owned(), resolved: resolved.clone() };
        let (writer, jobs) = bounded(QUEUE);
        let files = spawn(move || {
            let opened = Writer::open(location)?;
            Ok((opened.files(), move || opened.run(&jobs)))
        });
        let Some(files) = files.await? else { return Ok(Self { writer, readers: None }) };
        let (readers, jobs) = bounded(QUEUE);
        for _ in 0..READERS {
            let (resolved, files, jobs) = (resolved.clone(), Arc::clone(&files), jobs.clone());
            spawn(move || {
                let connection = connection::open_reader(&resolved)?;
                Ok(((), move || read(connection, &jobs, &files)))
            })
            .await?;
        }
        Ok(Self { writer, readers: Some(readers) })
    }

    pub(crate) async fn in_memory() -> Result<Self, SqlError> {
        let (writer, jobs) = bounded(QUEUE);
        spawn(move || {
            let opened = Writer::in_memory()?;
            Ok(((), move || opened.run(&jobs)))
        })
        .await?;
        Ok(Self { writer, readers: None })
    }

    /// Runs `operation` in a transaction, which is committed if it returns `Ok`. After an error of the commit it is
    /// unknown whether the transaction is in the database.
    pub(crate) async fn write<T, E>(
        &self,
        operation: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        submit(&self.writer, operation).await
    }

    /// Runs `operation`, whose statements only read, without a transaction.
    pub(crate) async fn read<T, E>(
        &self,
        operation: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        submit(self.readers.as_ref().unwrap_or(&self.writer), operation).await
    }
}

async fn submit<T, E>(
    queue: &Queue,
    operation: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<SqlError> + Send + 'static,
{
    let (task, result) = Task::new(operation);
    queue.try_send(Box::new(task)).map_err(|rejected| match rejected {
        TrySendError::Full(_) => SqlError::sqlite("too many operations wait for the database"),
        TrySendError::Disconnected(_) => ended(),
    })?;
    match timeout(MAX_WAIT, result).await {
        Err(_) => Err(SqlError::sqlite("the database did not respond in time").into()),
        Ok(Err(_)) => Err(ended().into()),
        Ok(Ok(result)) => result,
    }
}

/// Starts a thread that runs `open`, and then what `open` returns. Returns the other value that `open` returns.
async fn spawn<T, R>(open: impl FnOnce() -> Result<(T, R), SqlError> + Send + 'static) -> Result<T, SqlError>
where
    T: Send + 'static,
    R: FnOnce(),
{
    let (sender, opened) = oneshot::channel();
    let thread = move || match open() {
        Ok((value, run)) => {
            if sender.send(Ok(value)).is_ok() {
                run();
            }
        }
        Err(error) => drop(sender.send(Err(error))),
    };
    std::thread::Builder::new().name("sqlite".into()).spawn(thread).map_err(SqlError::sqlite)?;
    opened.await.map_err(|_| ended())?
}

fn read(connection: rusqlite::Connection, jobs: &Receiver<Box<dyn Job>>, files: &Files) {
    let mut connection = Connection(ConnectionKind::Sqlite(connection));
    for mut job in jobs {
        if job.is_abandoned() {
            continue;
        }
        let checked = files.check();
        if checked.is_ok() {
            job.run(&mut connection);
        }
        job.respond(checked);
    }
}

fn ended() -> SqlError {
    SqlError::sqlite("the thread of the database has ended")
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}
