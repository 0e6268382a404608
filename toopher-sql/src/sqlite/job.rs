//! Operations in the queue of a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::error::SqlError;

/// How long an operation waits for its result: longer than the thread waits for the lock of another process.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(10);

/// An operation whose result someone waits for.
pub(crate) trait Job: Send {
    /// Whether the caller no longer waits for the result.
    fn is_abandoned(&self) -> bool;

    /// Runs the operation and stores its result. Returns whether to keep its changes.
    fn run(&mut self, connection: &mut Connection) -> bool;

    /// Sends the result. After an error of the commit, or of the beginning, that is the error.
    fn respond(self: Box<Self>, committed: Result<(), SqlError>);
}

pub(super) struct Task<F, T, E> {
    operation: Option<F>,
    result: Option<Result<T, E>>,
    sender: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Task<F, T, E> {
    pub(super) fn new(operation: F) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { operation: Some(operation), result: None, sender }, receiver)
    }
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnOnce(&mut Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<SqlError> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    fn run(&mut self, connection: &mut Connection) -> bool {
        let Some(operation) = self.operation.take() else { return false };
        // The thread serves all other operations, too. The changes of this one are rolled back.
        let result = catch_unwind(AssertUnwindSafe(|| operation(connection)));
        let result = result.unwrap_or_else(|_| Err(SqlError::sqlite("an operation panicked").into()));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn respond(self: Box<Self>, committed: Result<(), SqlError>) {
        let result = match (self.result, committed) {
            (Some(Err(failed)), _) => Err(failed),
            (_, Err(failed)) => Err(failed.into()),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(SqlError::sqlite("an operation was not run").into()),
        };
        // It fails if the caller no longer waits.
        self.sender.send(result).ok();
    }
}
