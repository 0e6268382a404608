mod database;
#[cfg(feature = "sqlite")]
mod held;
mod kinds;
#[cfg(feature = "postgres")]
mod postgres;
mod pushes;
mod query;
mod transaction;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

pub(crate) use self::database::Database;
#[cfg(feature = "postgres")]
pub use self::kinds::{PgStore, Postgres};
#[cfg(feature = "sqlite")]
pub use self::kinds::{Sqlite, SqliteError, SqliteStore};
#[cfg(feature = "postgres")]
pub use self::postgres::PgDatabase;
use self::query::On;
pub(crate) use self::query::{Name, Row, query};
use self::transaction::Transaction;
use super::{Admission, Failures, PushBudget, Spend, Store, StoreId, Throttle};
use crate::UserId;

/// Keeps failures, spent steps and pushes in a database: [`SqliteStore`] or [`PgStore`].
///
/// Each verb is one transaction that is on the disk before it is answered. Verbs of one user wait for each other, and
/// those of others do not (in SQLite, they do).
pub struct SqlStore<D> {
    database: Database,
    id: StoreId,
    kind: PhantomData<fn() -> D>,
}

impl<D> SqlStore<D> {
    pub(crate) fn on(database: Database) -> Self {
        Self { database, id: StoreId::new(), kind: PhantomData }
    }

    /// Removes what is over (spent steps, failures that are forgotten, pushes that are) and says how many rows that
    /// were. Call it every few minutes: what strangers leave behind under invented names goes only by this.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn remove_what_is_over(&self, now: Duration) -> Result<u64, SqlError> {
        // Each statement stands alone, and a row that a verb has just written anew no longer fits it.
        let removed = async {
            let steps = query("DELETE FROM spent_steps WHERE keep_until < $1").bind(from_millis_floor(now));
            let steps = steps.execute(&self.database).await?;
            // `Failures::is_over` and `Pushes::is_over`.
            let before = |kept: Duration| from_millis_floor(now.saturating_sub(kept));
            let failures = query(
                "DELETE FROM failures WHERE last < $1 AND NOT locked_out
                 AND (last < $2 OR (count < $3 AND until = 0))",
            )
            .bind(before(Throttle::FORGET_FEW_AFTER))
            .bind(before(Throttle::FORGET_AFTER))
            .bind(i64::from(Throttle::FEW));
            let failures = failures.execute(&self.database).await?;
            let pushes = query("DELETE FROM pushes WHERE last < $1 AND (until IS NULL OR until <= $2)")
                .bind(before(PushBudget::LONGEST))
                .bind(from_millis_floor(now));
            Ok(steps + failures + pushes.execute(&self.database).await?)
        };
        removed.await.map_err(|error| self.error(error))
    }

    fn error(&self, error: sqlx::Error) -> SqlError {
        SqlError::new(self.database.kind(), error)
    }

    /// A transaction that no other verb of this user is in.
    async fn begin(&self, user: &UserId) -> Result<Transaction, sqlx::Error> {
        self.database.begin(&format!("guard of {}", user.as_str())).await
    }

    /// Reads the failures of `user`, changes them, and writes them, in one transaction. Where there is nothing to change,
    /// nothing is locked: a flood of attempts that are refused waits for nobody, and nobody for it.
    async fn change<T>(&self, user: &UserId, change: impl Fn(&mut Failures) -> T) -> Result<T, sqlx::Error> {
        let before = failures(&self.database, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            return Ok(outcome);
        }
        let mut transaction = self.begin(user).await?;
        // Read anew: what was read without a lock may have changed.
        let before = failures(&mut transaction, user).await?;
        let mut after = before;
        let outcome = change(&mut after);
        if after == before {
            transaction.rollback().await?;
            return Ok(outcome);
        }
        query(
            "INSERT INTO failures (user_name, count, locked_out, last, until) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, locked_out = excluded.locked_out,
                last = excluded.last, until = excluded.until",
        )
        .bind(Name(user.as_str()))
        .bind(i64::from(after.count))
        .bind(after.locked_out)
        .bind(millis(after.last))
        .bind(millis(after.until))
        .execute(&mut transaction)
        .await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// What an attempt would be told now. Nothing is counted.
    #[cfg(feature = "server")]
    pub(crate) async fn peek(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqlError> {
        let failures = failures(&self.database, user).await;
        failures.map(|mut failures| failures.attempt(throttle, now)).map_err(|error| self.error(error))
    }

    async fn spend(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, sqlx::Error> {
        let mut transaction = self.begin(user).await?;
        let written = query(
            "INSERT INTO spent_steps (user_name, device, step, keep_until) VALUES ($1, $2, $3, $4)
             ON CONFLICT (user_name, device) DO UPDATE SET step = excluded.step,
                keep_until = CASE WHEN excluded.keep_until > spent_steps.keep_until THEN excluded.keep_until
                    ELSE spent_steps.keep_until END
             WHERE spent_steps.step < excluded.step OR spent_steps.keep_until <= $5",
        )
        .bind(Name(user.as_str()))
        .bind(Name(device))
        .bind(ordered(step))
        .bind(millis(keep_until))
        .bind(millis(now))
        .execute(&mut transaction)
        .await?;
        if written == 0 {
            transaction.rollback().await?;
            return Ok(Spend::Replayed);
        }
        transaction.forget_after_success(user).await?;
        transaction.commit().await?;
        Ok(Spend::Fresh)
    }

    /// Waits for the verbs of this user that are under way, since one of them might write what it has read before.
    async fn clear(&self, user: &UserId, statement: &'static str) -> Result<(), sqlx::Error> {
        let mut transaction = self.begin(user).await?;
        forget(&mut transaction, user, statement).await?;
        transaction.commit().await
    }
}

impl<D: 'static> Store for SqlStore<D> {
    type Error = SqlError;

    async fn count_attempt(&self, user: &UserId, throttle: &Throttle, now: Duration) -> Result<Admission, SqlError> {
        self.change(user, |failures| failures.attempt(throttle, now)).await.map_err(|error| self.error(error))
    }

    async fn take_back_attempt(&self, user: &UserId, throttle: &Throttle) -> Result<(), SqlError> {
        self.change(user, |failures| failures.take_back(throttle)).await.map_err(|error| self.error(error))
    }

    async fn spend_step(
        &self,
        user: &UserId,
        device: &str,
        step: u64,
        keep_until: Duration,
        now: Duration,
    ) -> Result<Spend, SqlError> {
        self.spend(user, device, step, keep_until, now).await.map_err(|error| self.error(error))
    }

    async fn clear_failures(&self, user: &UserId) -> Result<(), SqlError> {
        let cleared = self.clear(user, "DELETE FROM failures WHERE user_name = $1");
        cleared.await.map_err(|error| self.error(error))
    }

    fn spends_in(&self) -> Option<&StoreId> {
        Some(&self.id)
    }
}

impl<D> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), id: self.id.clone(), kind: PhantomData }
    }
}

impl<D> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("database", &self.database.kind()).finish_non_exhaustive()
    }
}

/// Why a [`SqlStore`] could not tell, or could not be opened.
#[derive(Debug)]
pub struct SqlError {
    database: &'static str,
    cause: sqlx::Error,
}

impl SqlError {
    pub(crate) fn new(database: &'static str, cause: sqlx::Error) -> Self {
        Self { database, cause }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.database, self.cause)
    }
}

impl std::error::Error for SqlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

async fn failures<'a>(on: impl Into<On<'a>>, user: &UserId) -> Result<Failures, sqlx::Error> {
    let row = query("SELECT count, locked_out, last, until FROM failures WHERE user_name = $1");
    let Some(row) = row.bind(Name(user.as_str())).row(on).await? else { return Ok(Failures::default()) };
    Ok(Failures {
        count: count(&row, "count")?,
        locked_out: row.get("locked_out")?,
        last: from_millis(row.get("last")?),
        until: from_millis(row.get("until")?),
    })
}

async fn forget(transaction: &mut Transaction, user: &UserId, statement: &'static str) -> Result<(), sqlx::Error> {
    query(statement).bind(Name(user.as_str())).execute(transaction).await.map(drop)
}

fn count(row: &Row, column: &str) -> Result<u32, sqlx::Error> {
    row.get::<i64>(column)?.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Milliseconds, the last one there is for times after it. Rounded up, so that no wait ends early.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// The same, rounded down: what is over before is over.
fn from_millis_floor(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The signed integer at the place of the unsigned one.
fn ordered(step: u64) -> i64 {
    (step ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_their_order() {
        let steps = [0, 1, 37_037_036, i64::MAX as u64, 1 << 63, u64::MAX];
        assert!(steps.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
    }
}
