//! The approvals that are waited for.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{SqliteError, SqliteStore, failures, from_millis, millis};
use crate::store::{
    Admission, AskedPush, BeginPush, FoundPush, NewPush, OpenPush, PushEnd, PushStore, Pushes, Throttle, Ticket,
};
use crate::{ApprovalId, UserId};

impl SqliteStore {
    /// Reads the pushes of `user`, changes them, and writes them, in one transaction. `change` also gets what an
    /// attempt would be told now; where it asks for it, failures are forgotten with the pushes.
    async fn change_pushes<T>(
        &self,
        user: &UserId,
        throttle: Option<(&Throttle, Duration)>,
        change: impl FnOnce(&mut Pushes, Admission) -> (T, After),
    ) -> Result<T, sqlx::Error> {
        // Takes the write lock at once: what is read here is what is written upon.
        let mut transaction = self.database.pool.begin_with("BEGIN IMMEDIATE").await?;
        let admission = match throttle {
            None => Admission::Admitted,
            Some((throttle, now)) => failures(&mut *transaction, user).await?.attempt(throttle, now),
        };
        let row = sqlx::query(SELECT).bind(user.as_str()).fetch_optional(&mut *transaction).await?;
        let mut pushes = row.as_ref().map_or_else(|| Ok(Pushes::default()), read_pushes)?;
        let (outcome, after) = change(&mut pushes, admission);
        match after {
            After::Nothing => return Ok(outcome),
            After::Keep if pushes != Pushes::default() => write(&mut transaction, user, &pushes).await?,
            After::Keep => forget(&mut transaction, user, "DELETE FROM pushes WHERE user_name = ?").await?,
            After::Success => {
                forget(&mut transaction, user, "DELETE FROM pushes WHERE user_name = ?").await?;
                forget(&mut transaction, user, "DELETE FROM failures WHERE user_name = ?").await?;
            }
        }
        transaction.commit().await?;
        Ok(outcome)
    }
}

const SELECT: &str = "SELECT count, uncertain, last, ticket, about, approval, until FROM pushes WHERE user_name = ?";

/// What becomes of the row.
enum After {
    Nothing,
    Keep,
    Success,
}

async fn write(transaction: &mut Transaction<'_, Sqlite>, user: &UserId, pushes: &Pushes) -> Result<(), sqlx::Error> {
    let open = pushes.open.as_ref();
    let written = sqlx::query(
        "INSERT INTO pushes (user_name, count, uncertain, last, ticket, about, approval, until)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, uncertain = excluded.uncertain, last = excluded.last, ticket = excluded.ticket,
            about = excluded.about, approval = excluded.approval, until = excluded.until",
    )
    .bind(user.as_str())
    .bind(pushes.count)
    .bind(pushes.uncertain)
    .bind(millis(pushes.last))
    .bind(open.map(|open| open.ticket.as_bytes().to_vec()))
    .bind(open.map(|open| open.about.to_vec()))
    .bind(open.and_then(|open| open.id.as_ref()).map(|id| id.as_str().to_owned()))
    .bind(open.map(|open| millis(open.until)));
    written.execute(&mut **transaction).await.map(drop)
}

async fn forget(
    transaction: &mut Transaction<'_, Sqlite>,
    user: &UserId,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement).bind(user.as_str()).execute(&mut **transaction).await.map(drop)
}

fn read_pushes(row: &SqliteRow) -> Result<Pushes, sqlx::Error> {
    let broken = || sqlx::Error::Decode("a push in the database is broken".into());
    let ticket: Option<Vec<u8>> = row.try_get("ticket")?;
    let open = match ticket {
        None => None,
        Some(ticket) => {
            let about: Vec<u8> = row.try_get("about")?;
            let id: Option<String> = row.try_get("approval")?;
            Some(OpenPush::new(
                Ticket::from_bytes(ticket.try_into().map_err(|_| broken())?),
                about.try_into().map_err(|_| broken())?,
                id.map(ApprovalId::new).transpose().map_err(|_| broken())?,
                from_millis(row.try_get("until")?),
            ))
        }
    };
    Ok(Pushes::new(row.try_get("count")?, row.try_get("uncertain")?, from_millis(row.try_get("last")?), open))
}

impl PushStore for SqliteStore {
    type Error = SqliteError;

    async fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<BeginPush, SqliteError> {
        let begin = |pushes: &mut Pushes, admission| match admission {
            Admission::Admitted => (pushes.begin(push, now), After::Keep),
            Admission::Throttled { retry_after } => (BeginPush::Throttled { retry_after }, After::Nothing),
            Admission::LockedOut => (BeginPush::LockedOut, After::Nothing),
        };
        self.change_pushes(user, Some((throttle, now)), begin).await.map_err(SqliteError)
    }

    async fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> Result<bool, SqliteError> {
        let keep = |pushes: &mut Pushes, _| (pushes.asked(ticket, id, until), After::Keep);
        self.change_pushes(user, None, keep).await.map_err(SqliteError)
    }

    async fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, SqliteError> {
        let found = async {
            // Nothing is changed, so nothing is locked: whoever waits looks often.
            let row = sqlx::query(SELECT).bind(user.as_str()).fetch_optional(&self.database.pool).await?;
            let pushes = row.as_ref().map_or_else(|| Ok(Pushes::default()), read_pushes)?;
            if !pushes.is_open(push, now) {
                return Ok(FoundPush::Unknown);
            }
            Ok::<FoundPush, sqlx::Error>(failures(&self.database.pool, user).await?.attempt(throttle, now).into())
        };
        found.await.map_err(SqliteError)
    }

    async fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, SqliteError> {
        let redeem = |pushes: &mut Pushes, admission: Admission| match (pushes.is_open(push, now), admission) {
            (true, Admission::Admitted) => (FoundPush::Open, After::Success),
            (true, admission) => (admission.into(), After::Nothing),
            (false, _) => (FoundPush::Unknown, After::Nothing),
        };
        self.change_pushes(user, Some((throttle, now)), redeem).await.map_err(SqliteError)
    }

    async fn end_push(&self, user: &UserId, ticket: Ticket, end: PushEnd) -> Result<(), SqliteError> {
        let change = |pushes: &mut Pushes, _| {
            pushes.end(ticket, end);
            ((), After::Keep)
        };
        self.change_pushes(user, None, change).await.map_err(SqliteError)
    }

    async fn clear_pushes(&self, user: &UserId) -> Result<(), SqliteError> {
        let cleared = sqlx::query("DELETE FROM pushes WHERE user_name = ?").bind(user.as_str());
        cleared.execute(&self.database.pool).await.map(drop).map_err(SqliteError)
    }
}
