//! Removing what is over, without making anything of it good again.

use super::Server;
use super::error::ServerError;

/// How long decided requests are kept.
const KEEP_REQUESTS: i64 = 30 * DAY;
const DAY: i64 = 24 * 60 * 60;

impl Server {
    /// Removes what is over: nonces, phrases, spent steps, old requests. Call it every few minutes.
    ///
    /// # Errors
    ///
    /// When the database fails, or the clock stands before 1970.
    pub async fn sweep(&self) -> Result<(), ServerError> {
        let now = self.now_i64().map_err(|_| "the clock stands before 1970")?;
        // A nonce matters as long as its timestamp is accepted, and a little longer.
        let window = i64::try_from(self.clock_window.as_secs().saturating_mul(2)).unwrap_or(i64::MAX);
        for (statement, limit) in [
            // Before the pairings that they point to.
            ("DELETE FROM web_sessions WHERE expires < ?", now),
            // Used and old phrases stay for a day, so that none is dealt to another phone while a person still has it
            // in mind.
            ("DELETE FROM phrases WHERE expires < ?", now.saturating_sub(DAY)),
            ("DELETE FROM pairings WHERE state = 'pending' AND modified < ?", now.saturating_sub(DAY)),
            (
                "DELETE FROM devices WHERE created < ? AND id NOT IN (SELECT device_id FROM phrases)
                    AND id NOT IN (SELECT device_id FROM pairings WHERE device_id IS NOT NULL)",
                now.saturating_sub(DAY),
            ),
            ("DELETE FROM spent_steps WHERE keep_until < ?", now.saturating_mul(1000)),
            ("DELETE FROM requests WHERE created < ?", now.saturating_sub(KEEP_REQUESTS)),
            (
                "DELETE FROM terminals WHERE modified < ? AND id NOT IN (SELECT terminal_id FROM requests)
                    AND id NOT IN (SELECT terminal_id FROM automations)",
                now.saturating_sub(KEEP_REQUESTS),
            ),
            (
                "DELETE FROM actions WHERE created < ? AND id NOT IN (SELECT action_id FROM requests)
                    AND id NOT IN (SELECT action_id FROM automations)",
                now.saturating_sub(KEEP_REQUESTS),
            ),
        ] {
            sqlx::query(statement).bind(limit).execute(self.pool()).await?;
        }
        self.refuse_signed_before(now.saturating_sub(window.saturating_add(60))).await
    }

    /// Refuses calls that were signed before now: for a server that does not know which of them it has answered, as one
    /// in memory after a restart.
    ///
    /// # Errors
    ///
    /// When the database fails, or the clock stands before 1970.
    pub async fn refuse_earlier_calls(&self) -> Result<(), ServerError> {
        let now = self.now_i64().map_err(|_| "the clock stands before 1970")?;
        self.refuse_signed_before(now).await
    }

    /// Forgets the nonces of calls signed before `limit`, and never answers such a call again, whatever the clock and
    /// the window become.
    async fn refuse_signed_before(&self, limit: i64) -> Result<(), ServerError> {
        let mut transaction = self.pool().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("UPDATE nonces_forgotten SET before = max(before, ?)")
            .bind(limit)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM nonces WHERE timestamp < ?").bind(limit).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}
