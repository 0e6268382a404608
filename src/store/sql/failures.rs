//! Failures and used time steps.

use toopher_sql::{Error, Executor, OpaqueText, SqlError, query};

use super::encoding::{count, from_millis, millis, order_preserving};
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
    async fn change_failures<T>(&self, user: &UserId, change: impl Fn(&mut Failures) -> T) -> Result<T, Error> {
        let before = read_failures(&self.database, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            return Ok(outcome);
        }
        let mut transaction = self.begin(user).await?;
        // The row was read without a lock, so it may have changed.
        let before = read_failures(&mut transaction, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            transaction.rollback().await?;
            return Ok(outcome);
        }
        query(
            "INSERT INTO failures (user_name, count, locked_out, last, until, recent, recent_since)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
                last = excluded.last, until = excluded.until, recent = excluded.recent,
                recent_since = excluded.recent_since",
        )
        .bind(OpaqueText(user.as_str()))
        .bind(i64::from(after.count))
        .bind(after.locked_out)
        .bind(millis(after.last))
        .bind(millis(after.until))
        .bind(i64::from(after.recent))
        .bind(millis(after.recent_since))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    async fn write_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, Error> {
        let mut transaction = self.begin(user).await?;
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
        .execute(&mut transaction)
        .await?;
        if written == 0 {
            transaction.rollback().await?;
            return Ok(StepOutcome::Replayed);
        }
        succeed(&mut transaction, user, Success::Counted).await?;
        transaction.commit().await?;
        Ok(StepOutcome::Fresh)
    }

    /// Waits for operations of this user that are in progress, because one of them may write what it read before.
    async fn clear_records(&self, user: &UserId, records: Records) -> Result<(), Error> {
        let mut transaction = self.begin(user).await?;
        match records {
            Records::FailuresAndApprovals => succeed(&mut transaction, user, Success::Counted).await?,
            Records::Failures | Records::Approvals => delete(&mut transaction, user, records).await?,
        }
        transaction.commit().await
    }
}

impl<D: 'static> Store for SqlStore<D> {
    type Error = SqlError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, SqlError> {
        let counted = self.change_failures(user, |failures| failures.try_record(throttle, now)).await;
        counted.map_err(|error| self.error(error))
    }

    async fn release_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqlError> {
        let released = self.change_failures(user, |failures| failures.release(throttle)).await;
        released.map_err(|error| self.error(error))
    }

    async fn record_step(&self, user: &UserId, used: &UsedStep, now: UnixTime) -> Result<StepOutcome, SqlError> {
        self.write_step(user, used, now).await.map_err(|error| self.error(error))
    }

    async fn clear(&self, user: &UserId, records: Records) -> Result<(), SqlError> {
        self.clear_records(user, records).await.map_err(|error| self.error(error))
    }
}

impl<D: 'static> InspectStore for SqlStore<D> {
    async fn peek(&self, user: &UserId, throttle: &Throttle, now: UnixTime) -> Result<Admission, SqlError> {
        let failures = read_failures(&self.database, user).await;
        failures.map(|failures| failures.check_other_factor(throttle, now)).map_err(|error| self.error(error))
    }

    async fn check(&self) -> Result<(), SqlError> {
        // A connection to a PostgreSQL server that accepts no writes is refused before the statement.
        query("SELECT 1").row(&self.database).await.map(drop).map_err(|error| self.error(error))
    }
}

pub(super) async fn read_failures<'a>(on: impl Into<Executor<'a>>, user: &UserId) -> Result<Failures, Error> {
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
