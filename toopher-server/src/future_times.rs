//! Stored times that are too far in the future, because the clock was ahead when they were stored.

use std::time::Duration;

use toopher_sql::{Connection, SqlError, query};

use crate::clock_check::{MAX_DIFFERENCE, ahead_of_database};
use crate::error::ServerError;
use crate::pairings::CLAIM_LIFETIME;
use crate::reset::LINK_LIFETIME;
use crate::state::Server;
use crate::web::SESSION_LIFETIME;

/// The lock that only one of the servers on a database holds at a time, while it deletes rows or changes stored times.
pub(crate) const CLEANUP: &str = "cleanup";
/// How long the record of a used code is kept at most by a right clock, in milliseconds: more than all accepted steps.
const MAX_KEPT: i64 = 60 * 60 * 1000;

/// What [`Server::repair_clock`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockRepair {
    /// How long signed calls are rejected from now on. `None` if they were not rejected.
    pub rejected_for: Option<Duration>,
    /// The number of pairings of which a code of a future time was used. Their codes are rejected until that time.
    pub future_codes: u64,
}

impl Server {
    /// Accepts signed calls again after the clock was ahead during a cleanup. Call it when the clock is right, on one
    /// of the servers on the database.
    ///
    /// The cleanup has deleted the nonces of all calls that were answered until then, so calls signed up to the clock
    /// skew after now are rejected: one of them could be a replay. A call that was answered while the clock was ahead,
    /// and whose timestamp is ahead as well, can be replayed when its time comes. Codes that were used stay used, also
    /// those of future times.
    ///
    /// # Errors
    ///
    /// When the database fails; when the clock differs from the clock of PostgreSQL, or is before the Unix epoch; or
    /// when another server is deleting expired rows.
    pub async fn repair_clock(&self) -> Result<ClockRepair, ServerError> {
        let now = self.admin_now()?;
        let ahead = ahead_of_database(now, &self.database).await?;
        if self.clock_check.is_some() && ahead.abs() > MAX_DIFFERENCE {
            return Err(ServerError::clocks_differ(ahead));
        }
        let skew = i64::try_from(self.clock_skew_secs()).unwrap_or(i64::MAX);
        let repaired = self.database.maintenance(CLEANUP.to_owned(), move |connection| {
            Box::pin(async move {
                limit_future_times(connection, now).await?;
                let before: Option<i64> = query("SELECT before FROM nonces_deleted").scalar(&mut *connection).await?;
                let limit = before.unwrap_or(0).min(now.saturating_add(skew).saturating_add(1));
                query("UPDATE nonces_deleted SET before = $1").bind(limit).execute(&mut *connection).await?;
                let future_codes = query("SELECT count(*) FROM used_steps WHERE keep_until > $1")
                    .bind(now.saturating_mul(1000).saturating_add(MAX_KEPT));
                Ok::<_, SqlError>((limit, future_codes.scalar::<i64>(connection).await?))
            })
        });
        let (limit, future_codes) = repaired.await?.ok_or("another server is deleting expired rows: retry")?;
        let rejected_for = u64::try_from(limit.saturating_sub(now)).ok().filter(|seconds| *seconds > 0);
        Ok(ClockRepair {
            rejected_for: rejected_for.map(Duration::from_secs),
            future_codes: future_codes.unwrap_or(0).unsigned_abs(),
        })
    }

    /// Returns an error if calls that are signed now are rejected, because their nonces count as deleted.
    pub(crate) async fn accepts_calls(&self) -> Result<(), ServerError> {
        let now = self.admin_now()?;
        let before: Option<i64> = query("SELECT before FROM nonces_deleted").scalar(&self.database).await?;
        match before {
            Some(before) if before > now => {
                Err(ServerError::clock_was_ahead(before.saturating_sub(now), self.is_far_ahead(before, now)))
            }
            _ => Ok(()),
        }
    }

    /// Whether no call is accepted because of this limit, neither now nor within the clock skew. Then the server has
    /// failed, and not the call.
    pub(crate) fn is_far_ahead(&self, nonces_deleted_before: i64, now: i64) -> bool {
        let skew = i64::try_from(self.clock_skew_secs()).unwrap_or(i64::MAX);
        nonces_deleted_before > now.saturating_add(skew).saturating_add(MAX_DIFFERENCE)
    }
}

/// Ends what expires later than a right clock could have stored. Otherwise a user would have five pending requests, or
/// a page could be used, until the wrong time has come. If the clock is behind now, it ends what users can repeat.
pub(crate) async fn limit_future_times(connection: &mut Connection, now: i64) -> Result<(), SqlError> {
    let latest = |lifetime: i64| now.saturating_add(lifetime).saturating_add(MAX_DIFFERENCE);
    for (statement, lifetime) in [
        ("UPDATE requests SET created = $1, expires = $1 WHERE created > $2", 0),
        ("UPDATE web_sessions SET expires = $1 WHERE expires > $2", SESSION_LIFETIME),
    ] {
        query(statement).bind(now).bind(latest(lifetime)).execute(&mut *connection).await?;
    }
    // One statement, because it reads the whole table. Pending pairings end some time after `modified`.
    query(
        "UPDATE pairings SET
            claim_expires = CASE WHEN claim_expires > $2 THEN $1 ELSE claim_expires END,
            reset_expires = CASE WHEN reset_expires > $3 THEN $1 ELSE reset_expires END,
            modified = CASE WHEN modified > $4 THEN $1 ELSE modified END
         WHERE claim_expires > $2 OR reset_expires > $3 OR modified > $4",
    )
    .bind(now)
    .bind(latest(CLAIM_LIFETIME))
    .bind(latest(LINK_LIFETIME))
    .bind(latest(0))
    .execute(&mut *connection)
    .await?;
    let millis = |seconds: i64| seconds.saturating_mul(1000);
    query("UPDATE failures SET last = $1 WHERE last > $2")
        .bind(millis(now))
        .bind(millis(now.saturating_add(MAX_DIFFERENCE)))
        .execute(connection)
        .await?;
    Ok(())
}
