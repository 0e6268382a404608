//! Failures and used time steps.

use toopher_sql::{Connection, Executor, OpaqueText, Query, SqlError, query};
#[cfg(feature = "postgres")]
use toopher_sql::{Database, Value};

use super::encoding::{count, from_millis, millis, order_preserving};
#[cfg(feature = "postgres")]
use super::lock_of;
use super::{SqlStore, Success, delete, succeed};
use crate::store::failures::{Admission, Failures};
use crate::store::throttle::Throttle;
use crate::store::traits::{InspectStore, Records, Store};
use crate::store::used_step::{StepOutcome, UsedStep};
use crate::time::UnixTime;
use crate::verify::UserId;

impl<D> SqlStore<D> {
    /// Reads the failures of `user`, changes them, and writes them, in one transaction. If there is nothing to change,
    /// it takes no lock, so a flood of refused attempts neither waits nor makes other operations wait.
    async fn change_failures<T: Send + 'static>(
        &self,
        user: &UserId,
        change: impl Fn(&mut Failures) -> T + Send + 'static,
    ) -> Result<T, SqlError> {
        let before = read_failures(&self.database, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            return Ok(outcome);
        }
        #[cfg(feature = "postgres")]
        if self.database.is_shared() && self.replace_failures(user, &before, &after).await? {
            return Ok(outcome);
        }
        let name = user.clone();
        let changed = self.transaction(user, |connection| {
            Box::pin(async move {
                // The row was read without a lock, so it may have changed.
                let before = read_failures(&mut *connection, &name).await?;
                let mut after = before;
                let outcome = change(&mut after);
                if after != before {
                    write_failures(connection, &name, &after).await?;
                }
                Ok(outcome)
            })
        });
        changed.await
    }

    /// Writes the failures unless they have changed since they were read, in one round trip to PostgreSQL. Returns
    /// whether they are written.
    #[cfg(feature = "postgres")]
    async fn replace_failures(&self, user: &UserId, old: &Failures, new: &Failures) -> Result<bool, SqlError> {
        const REPLACE: &str = "SELECT replace_failures($1, ROW($2, $3, $4, $5, $6, $7, $8)::failures,
            ROW($2, $9, $10, $11, $12, $13, $14)::failures)";
        let replace = query(REPLACE).bind(Value::lock(&lock_of(user))).bind(OpaqueText(user.as_str()));
        let replaced = bind_failures(bind_failures(replace, old), new).scalar(&self.database).await?;
        Ok(replaced == Some(true))
    }
}

fn bind_failures(query: Query, failures: &Failures) -> Query {
    query
        .bind(i64::from(failures.count))
        .bind(failures.locked_out)
        .bind(millis(failures.last))
        .bind(millis(failures.until))
        .bind(i64::from(failures.recent))
        .bind(millis(failures.recent_since))
}

async fn write_failures(connection: &mut Connection, user: &UserId, failures: &Failures) -> Result<(), SqlError> {
    let insert = query(
        "INSERT INTO failures (user_name, count, locked_out, last, until, recent, recent_since)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
            last = excluded.last, until = excluded.until, recent = excluded.recent,
            recent_since = excluded.recent_since",
    )
    .bind(OpaqueText(user.as_str()));
    bind_failures(insert, failures).execute(connection).await?;
    Ok(())
}

async fn write_step(
    connection: &mut Connection,
    user: &UserId,
    used: &UsedStep,
    now: UnixTime,
) -> Result<StepOutcome, SqlError> {
    let written = query(
        "INSERT INTO used_steps (user_name, device, step, keep_until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (user_name, device) DO UPDATE SET step = excluded.step,
            keep_until = CASE WHEN excluded.keep_until > used_steps.keep_until THEN excluded.keep_until
                ELSE used_steps.keep_until END
         WHERE used_steps.step < excluded.step OR used_steps.keep_until <= $5",
    )
    .bind(OpaqueText(user.as_str()))
    .bind(OpaqueText(used.device()))
    .bind(order_preserving(used.step()))
    .bind(millis(used.keep_until()))
    .bind(millis(now))
    .execute(&mut *connection)
    .await?;
    if written == 0 {
        return Ok(StepOutcome::Replayed);
    }
    succeed(connection, user, Success::Counted).await?;
    Ok(StepOutcome::Fresh)
}

/// The same in one round trip to PostgreSQL.
#[cfg(feature = "postgres")]
async fn record_step_at_once(
    database: &Database,
    user: &UserId,
    used: &UsedStep,
    now: UnixTime,
) -> Result<StepOutcome, SqlError> {
    let fresh = query("SELECT record_step($1, $2, $3, $4, $5, $6)")
        .bind(Value::lock(&lock_of(user)))
        .bind(OpaqueText(user.as_str()))
        .bind(OpaqueText(used.device()))
        .bind(order_preserving(used.step()))
        .bind(millis(used.keep_until()))
        .bind(millis(now))
        .scalar(database)
        .await?;
    Ok(if fresh == Some(true) { StepOutcome::Fresh } else { StepOutcome::Replayed })
}

impl<D: 'static> Store for SqlStore<D> {
    type Error = SqlError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, SqlError> {
        let throttle = *throttle;
        self.change_failures(user, move |failures| failures.try_record(&throttle, now)).await
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqlError> {
        let throttle = *throttle;
        self.change_failures(user, move |failures| failures.release(&throttle)).await
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, SqlError> {
        #[cfg(feature = "postgres")]
        if self.database.is_shared() {
            return record_step_at_once(&self.database, user, used, now).await;
        }
        let (name, used) = (user.clone(), used.clone());
        self.transaction(user, move |connection| {
            Box::pin(async move { write_step(connection, &name, &used, now).await })
        })
        .await
    }

    /// Waits for operations of this user that are in progress, because one of them may write what it read before.
    async fn clear(&self, user: &UserId, records: Records) -> Result<(), SqlError> {
        let name = user.clone();
        self.transaction(user, move |connection| {
            Box::pin(async move {
                match records {
                    Records::FailuresAndApprovals => succeed(connection, &name, Success::Counted).await,
                    Records::Failures | Records::Approvals => delete(connection, &name, records).await,
                }
            })
        })
        .await
    }
}

impl<D: 'static> InspectStore for SqlStore<D> {
    async fn peek(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, SqlError> {
        Ok(read_failures(&self.database, user).await?.check_other_factor(throttle, now))
    }

    async fn check(&self) -> Result<(), SqlError> {
        // A connection to a PostgreSQL server that accepts no writes is refused before the statement.
        query("SELECT 1").row(&self.database).await.map(drop)
    }
}

pub(super) async fn read_failures<'a>(on: impl Into<Executor<'a>>, user: &UserId) -> Result<Failures, SqlError> {
    let row = query("SELECT count, locked_out, last, until, recent, recent_since FROM failures WHERE user_name = $1");
    let Some(row) = row.bind(OpaqueText(user.as_str())).row(on).await? else { return Ok(Failures::default()) };
    Ok(Failures {
        count: count(&row, "count")?,
        locked_out: row.get("locked_out")?,
        last: from_millis(row.get("last")?),
        until: from_millis(row.get("until")?),
        recent: count(&row, "recent")?,
        recent_since: from_millis(row.get("recent_since")?),
    })
}
