//! Transactions of one user.

use toopher_sql::{Connection, Operation, Query, SqlError};

use crate::state::Server;

impl Server {
    /// Runs an operation in a transaction. Those of the same user are serialized.
    pub(crate) async fn transaction_for_user<T, E>(
        &self,
        id: &str,
        operation: impl FnOnce(&mut Connection) -> Operation<'_, T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqlError> + Send + 'static,
    {
        self.database.transaction(format!("user {id}"), operation).await
    }

    /// Executes statements in one transaction.
    pub(crate) async fn execute_for_user(&self, id: &str, statements: Vec<Query>) -> Result<(), SqlError> {
        let executed = self.transaction_for_user(id, |connection| {
            Box::pin(async move {
                for statement in statements {
                    statement.execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
        executed.await
    }
}
