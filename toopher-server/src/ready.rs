//! Whether calls can be answered.

use crate::error::ServerError;
use crate::state::Server;

impl Server {
    /// Checks that calls can be answered, for a readiness probe: the database responds and can be written, its file is
    /// the one that is open, and the failure store responds. At most one write in five seconds is tried.
    ///
    /// # Errors
    ///
    /// When the database or the failure store does not respond; when the database cannot be written, for example
    /// because the disk is full; when the SQLite file was removed or replaced; when the failure store has been
    /// [migrated](Self::migrate_failure_store) to another location; or when the clock was ahead during a cleanup, so
    /// that all signed calls are rejected (see [`repair_clock`](Self::repair_clock)).
    pub async fn ready(&self) -> Result<(), ServerError> {
        self.failure_store_is_claimed().await?;
        self.accepts_calls().await?;
        self.shared.test_write.run(&self.database, self.admin_now()?).await?;
        self.check_failure_store().await
    }
}
