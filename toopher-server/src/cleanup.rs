//! Deletes expired rows. No deletion makes a used nonce, phrase or code valid again.

use toopher_sql::{SqlError, query};
use tower_toopher::BoxError;
use tower_toopher::store::{SqlStore, Sqlite};
use tower_toopher::time::UnixTime;

use crate::audit::{Audit, Outcome};
use crate::devices::UNPAIRED_LIFETIME;
use crate::error::ServerError;
use crate::future_times::{CLEANUP, limit_future_times};
use crate::models::{REQUEST_COLUMNS, RequestRow, TERMINAL_COLUMNS, UNANSWERED, USER_COLUMNS};
use crate::state::Server;

/// How long decided requests are kept.
const KEEP_REQUESTS: i64 = 30 * DAY;
const DAY: i64 = 24 * 60 * 60;
/// The maximum number of unanswered requests that one transaction denies.
const UNANSWERED_BATCH: i64 = 500;

impl Server {
    /// Deletes expired rows: nonces, phrases, attempts, used steps, failures and old requests. Denies the requests of
    /// the last day that were not answered in time, and emits their audit events.
    ///
    /// Call it every few minutes. Of several servers on one database, one does the work, and the calls of the others
    /// return at once.
    ///
    /// # Errors
    ///
    /// When the database fails; when the system clock is before the Unix epoch; or when the clock was set forward by
    /// more than a minute since the previous call, or is ahead of the clock of PostgreSQL
    /// ([`compare_clock`](Self::compare_clock)). Nothing is deleted then, because what expires by a clock that is wrong
    /// can still be valid. The next call continues if the clock is the same by then.
    pub async fn cleanup(&self) -> Result<(), ServerError> {
        let now = self.admin_now()?;
        if let Some(check) = &self.clock_check {
            check.check(now, &self.database).await?;
        }
        let limited = self
            .database
            .maintenance(CLEANUP.to_owned(), move |connection| Box::pin(limit_future_times(connection, now)));
        if limited.await?.is_none() {
            return Ok(());
        }
        self.deny_unanswered(now).await?;
        for (statement, limit) in [
            // Before the pairings, which the sessions reference.
            ("DELETE FROM web_sessions WHERE expires < $1", now),
            ("DELETE FROM attempts WHERE expires <= $1", now),
            ("DELETE FROM pairings WHERE state IN ('pending', 'denied') AND modified < $1", now.saturating_sub(DAY)),
            // Their tokens have expired, including those of removed devices.
            (
                "DELETE FROM devices WHERE created < $1 AND id IN (SELECT id FROM devices WHERE created < $1
                    EXCEPT SELECT device_id FROM pairings)",
                now.saturating_sub(UNPAIRED_LIFETIME),
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
            let delete = query(statement).bind(limit);
            let deleted =
                self.database.maintenance(CLEANUP.to_owned(), |connection| Box::pin(delete.execute(connection)));
            match deleted.await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                // A call has begun to reference one of the rows. A later cleanup deletes the others.
                Err(error) if error.is_foreign_key_violation() => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.phrases.delete_expired(now).await?;
        let store = SqlStore::<Sqlite>::from_database(self.database.clone());
        store.delete_expired(UnixTime::from_secs(now.unsigned_abs())).await.map_err(BoxError::from)?;
        // A nonce matters while its timestamp is accepted: before and after the server's time. One more minute for
        // calls in progress.
        let accepted = i64::try_from(self.clock_skew_secs().saturating_mul(2)).unwrap_or(i64::MAX);
        self.reject_signed_before(now.saturating_sub(accepted.saturating_add(60))).await?;
        self.accepts_calls().await
    }

    /// Stores that requests were not answered in time. Each is one decision with one audit event. Responses before this
    /// report the same.
    async fn deny_unanswered(&self, now: i64) -> Result<(), ServerError> {
        loop {
            // Selected by age, which has an index.
            let text = format!(
                "SELECT {REQUEST_COLUMNS}, {TERMINAL_COLUMNS}, {USER_COLUMNS}, q.consumer_key FROM requests r
                 JOIN users u ON u.id = r.user_id JOIN requesters q ON q.id = u.requester_id
                 JOIN terminals t ON t.id = r.terminal_id JOIN actions a ON a.id = r.action_id
                 WHERE r.created > $2 AND r.state = 'pending' AND r.expires <= $1 ORDER BY r.created LIMIT $3"
            );
            let unanswered = query(text).bind(now).bind(now.saturating_sub(DAY)).bind(UNANSWERED_BATCH);
            let denied = self.database.maintenance(CLEANUP.to_owned(), |connection| {
                Box::pin(async {
                    let rows = unanswered.rows(&mut *connection).await?;
                    let mut denied = Vec::new();
                    for row in &rows {
                        let (request, requester): (RequestRow, String) = (row.read()?, row.get("consumer_key")?);
                        let deny = query(
                            "UPDATE requests SET state = 'denied', reason = $1 WHERE id = $2 AND state = 'pending'",
                        );
                        if deny.bind(UNANSWERED).bind(&request.request_id).execute(&mut *connection).await? > 0 {
                            denied.push((request, requester));
                        }
                    }
                    Ok::<_, SqlError>((rows.len(), denied))
                })
            });
            let Some((found, denied)) = denied.await? else { return Ok(()) };
            for (request, requester) in denied {
                let mut audit = Audit::for_request().decided_by("time").requester(&requester);
                request.describe(&mut audit);
                audit.settle(Outcome::Denied("unanswered"));
            }
            if found < usize::try_from(UNANSWERED_BATCH).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }

    /// Rejects all calls that were signed before now. A server with a database in memory calls it at the start, since
    /// it does not know which calls it answered before.
    ///
    /// # Errors
    ///
    /// When the database fails, or the system clock is before the Unix epoch.
    pub async fn reject_earlier_calls(&self) -> Result<(), ServerError> {
        self.reject_signed_before(self.admin_now()?).await
    }

    /// Deletes the nonces of calls signed before `limit`, and rejects such calls from now on, whatever the clock and
    /// the clock skew are later.
    async fn reject_signed_before(&self, limit: i64) -> Result<(), ServerError> {
        let rejected = self.database.maintenance(CLEANUP.to_owned(), move |connection| {
            Box::pin(async move {
                let reject = query("UPDATE nonces_deleted SET before = $1 WHERE before < $1").bind(limit);
                reject.execute(&mut *connection).await?;
                query("DELETE FROM nonces WHERE timestamp < $1").bind(limit).execute(connection).await
            })
        });
        Ok(rejected.await.map(drop)?)
    }
}
