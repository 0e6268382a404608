//! Removing what is over, without making anything of it good again.

use std::time::Duration;

use super::Server;
use super::audit::{Audit, Outcome};
use super::error::ServerError;
use super::objects::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, UNANSWERED, USER_COLUMNS};
use crate::BoxError;
use crate::store::{SqlStore, Sqlite, query};

/// How long decided requests are kept.
const KEEP_REQUESTS: i64 = 30 * DAY;
const DAY: i64 = 24 * 60 * 60;
/// How many requests are denied in one transaction that nobody has answered.
const UNANSWERED_AT_ONCE: i64 = 500;
/// What servers on one database do one at a time.
const UPKEEP: &str = "upkeep";

impl Server {
    /// Removes what is over: nonces, phrases, spent steps, forgotten failures, old requests; and denies the requests of the
    /// last day that nobody has answered in time, which is when the audit hears of them. Call it every few minutes. Of
    /// several servers on one database one does it at a time, and the others leave it to that one.
    ///
    /// # Errors
    ///
    /// When the database fails, or the clock stands before 1970.
    pub async fn sweep(&self) -> Result<(), ServerError> {
        let now = self.now_i64().map_err(|_| "the clock stands before 1970")?;
        self.deny_unanswered(now).await?;
        // A nonce matters as long as its timestamp is accepted, and a little longer.
        let window = i64::try_from(self.clock_window.as_secs().saturating_mul(2)).unwrap_or(i64::MAX);
        for (statement, limit) in [
            // Before the pairings that they point to.
            ("DELETE FROM web_sessions WHERE expires < $1", now),
            // Used and old phrases stay for a day, so that none is dealt to another phone while a person still has it
            // in mind.
            ("DELETE FROM phrases WHERE expires < $1", now.saturating_sub(DAY)),
            ("DELETE FROM pairings WHERE state = 'pending' AND modified < $1", now.saturating_sub(DAY)),
            (
                "DELETE FROM devices WHERE created < $1 AND id IN (SELECT id FROM devices WHERE created < $1
                    EXCEPT SELECT device_id FROM phrases EXCEPT SELECT device_id FROM pairings)",
                now.saturating_sub(DAY),
            ),
            ("DELETE FROM requests WHERE created < $1", now.saturating_sub(KEEP_REQUESTS)),
            (
                "DELETE FROM terminals WHERE modified < $1 AND id IN (SELECT id FROM terminals WHERE modified < $1
                    EXCEPT SELECT terminal_id FROM requests EXCEPT SELECT terminal_id FROM automations)",
                now.saturating_sub(KEEP_REQUESTS),
            ),
            (
                "DELETE FROM actions WHERE created < $1 AND id IN (SELECT id FROM actions WHERE created < $1
                    EXCEPT SELECT action_id FROM requests EXCEPT SELECT action_id FROM automations)",
                now.saturating_sub(KEEP_REQUESTS),
            ),
        ] {
            let Some(mut transaction) = self.database.begin_chore(UPKEEP).await? else { return Ok(()) };
            match query(statement).bind(limit).execute(&mut transaction).await {
                Ok(_) => transaction.commit().await?,
                // Somebody has begun to use what was to be removed. It is for another time, and the rest is not.
                Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => transaction.rollback().await?,
                Err(error) => return Err(error.into()),
            }
        }
        let since_epoch = Duration::from_secs(now.unsigned_abs());
        SqlStore::<Sqlite>::on(self.database.clone()).remove_what_is_over(since_epoch).await.map_err(BoxError::from)?;
        self.refuse_signed_before(now.saturating_sub(window.saturating_add(60))).await
    }

    /// Writes down that requests have waited too long, which makes each of them one decision, told once. Whoever asks
    /// before is told the same of them.
    async fn deny_unanswered(&self, now: i64) -> Result<(), ServerError> {
        loop {
            let Some(mut transaction) = self.database.begin_chore(UPKEEP).await? else { return Ok(()) };
            // By their age, for which there is an index.
            let text = format!(
                "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS}, q.consumer_key FROM requests r
                 JOIN users u ON u.id = r.user_id JOIN requesters q ON q.id = u.requester_id
                 JOIN terminals t ON t.id = r.terminal_id JOIN actions a ON a.id = r.action_id
                 WHERE r.created > $2 AND r.state = 'pending' AND r.expires <= $1 ORDER BY r.created LIMIT $3"
            );
            let rows = query(text).bind(now).bind(now.saturating_sub(DAY)).bind(UNANSWERED_AT_ONCE);
            let rows = rows.rows(&mut transaction).await?;
            let mut denied = Vec::new();
            for row in &rows {
                let (request, requester): (RequestRow, String) = (row.read()?, row.get("consumer_key")?);
                let deny =
                    query("UPDATE requests SET state = 'denied', reason = $1 WHERE id = $2 AND state = 'pending'");
                if deny.bind(UNANSWERED).bind(&request.request_id).execute(&mut transaction).await? > 0 {
                    denied.push((request, requester));
                }
            }
            transaction.commit().await?;
            for (request, requester) in denied {
                let mut audit = Audit::of_request().by("time").requester(&requester);
                request.note(&mut audit);
                audit.settle(Outcome::Denied("unanswered"));
            }
            if rows.len() < usize::try_from(UNANSWERED_AT_ONCE).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
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
        let Some(mut transaction) = self.database.begin_chore(UPKEEP).await? else { return Ok(()) };
        query("UPDATE nonces_forgotten SET before = $1 WHERE before < $1")
            .bind(limit)
            .execute(&mut transaction)
            .await?;
        query("DELETE FROM nonces WHERE timestamp < $1").bind(limit).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}
