//! The approvals that are waited for.

use std::time::Duration;

use super::{Name, Row, SqlError, SqlStore, Transaction, count, failures, forget, from_millis, millis, query};
use crate::store::{
    Admission, AskedPush, BeginPush, FoundPush, NewPush, OpenPush, PushEnd, PushStore, Pushes, StoreId, Throttle,
    Ticket,
};
use crate::{ApprovalId, UserId};

impl<D> SqlStore<D> {
    /// Reads the pushes of `user`, changes them, and writes them, in one transaction. `change` also gets what an
    /// attempt would be told now; where it asks for it, failures are forgotten with the pushes.
    async fn change_pushes<T>(
        &self,
        user: &UserId,
        throttle: Option<(&Throttle, Duration)>,
        change: impl FnOnce(&mut Pushes, Admission) -> (T, After),
    ) -> Result<T, sqlx::Error> {
        let mut transaction = self.begin(user).await?;
        let admission = match throttle {
            None => Admission::Admitted,
            Some((throttle, now)) => failures(&mut transaction, user).await?.attempt(throttle, now),
        };
        let row = query(SELECT).bind(Name(user.as_str())).row(&mut transaction).await?;
        let mut pushes = row.as_ref().map_or_else(|| Ok(Pushes::default()), read_pushes)?;
        let (outcome, after) = change(&mut pushes, admission);
        match after {
            After::Nothing => {
                transaction.rollback().await?;
                return Ok(outcome);
            }
            After::Keep if pushes != Pushes::default() => write(&mut transaction, user, &pushes).await?,
            After::Keep => forget(&mut transaction, user, "DELETE FROM pushes WHERE user_name = $1").await?,
            After::Success => transaction.forget_after_success(user).await?,
        }
        transaction.commit().await?;
        Ok(outcome)
    }
}

const SELECT: &str = "SELECT count, uncertain, last, ticket, about, approval, until FROM pushes WHERE user_name = $1";

/// What becomes of the row.
enum After {
    Nothing,
    Keep,
    Success,
}

async fn write(transaction: &mut Transaction, user: &UserId, pushes: &Pushes) -> Result<(), sqlx::Error> {
    let open = pushes.open.as_ref();
    let written = query(
        "INSERT INTO pushes (user_name, count, uncertain, last, ticket, about, approval, until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, uncertain = excluded.uncertain,
            last = excluded.last, ticket = excluded.ticket, about = excluded.about, approval = excluded.approval,
            until = excluded.until",
    )
    .bind(Name(user.as_str()))
    .bind(i64::from(pushes.count))
    .bind(i64::from(pushes.uncertain))
    .bind(millis(pushes.last))
    .bind(open.map(|open| open.ticket.as_bytes().to_vec()))
    .bind(open.map(|open| open.about.to_vec()))
    .bind(open.and_then(|open| open.id.as_ref()).map(|id| Name(id.as_str())))
    .bind(open.map(|open| millis(open.until)));
    written.execute(transaction).await.map(drop)
}

fn read_pushes(row: &Row) -> Result<Pushes, sqlx::Error> {
    let broken = || sqlx::Error::Decode("a push in the database is broken".into());
    let ticket: Option<Vec<u8>> = row.get("ticket")?;
    let open = match ticket {
        None => None,
        Some(ticket) => {
            let about: Vec<u8> = row.get("about")?;
            Some(OpenPush::new(
                Ticket::from_bytes(ticket.try_into().map_err(|_| broken())?),
                about.try_into().map_err(|_| broken())?,
                row.name("approval")?.map(ApprovalId::new).transpose().map_err(|_| broken())?,
                from_millis(row.get("until")?),
            ))
        }
    };
    Ok(Pushes::new(count(row, "count")?, count(row, "uncertain")?, from_millis(row.get("last")?), open))
}

impl<D: 'static> PushStore for SqlStore<D> {
    type Error = SqlError;

    async fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<BeginPush, SqlError> {
        let begin = |pushes: &mut Pushes, admission| match admission {
            Admission::Admitted => (pushes.begin(push, now), After::Keep),
            Admission::Throttled { retry_after } => (BeginPush::Throttled { retry_after }, After::Nothing),
            Admission::LockedOut => (BeginPush::LockedOut, After::Nothing),
        };
        self.change_pushes(user, Some((throttle, now)), begin).await.map_err(|error| self.error(error))
    }

    async fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> Result<bool, SqlError> {
        let keep = |pushes: &mut Pushes, _| (pushes.asked(ticket, id, until), After::Keep);
        self.change_pushes(user, None, keep).await.map_err(|error| self.error(error))
    }

    async fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, SqlError> {
        let found = async {
            // Nothing is changed, so nothing is locked: whoever waits looks often.
            let row = query(SELECT).bind(Name(user.as_str())).row(&self.database).await?;
            let pushes = row.as_ref().map_or_else(|| Ok(Pushes::default()), read_pushes)?;
            if !pushes.is_open(push, now) {
                return Ok(FoundPush::Unknown);
            }
            Ok::<FoundPush, sqlx::Error>(failures(&self.database, user).await?.attempt(throttle, now).into())
        };
        found.await.map_err(|error| self.error(error))
    }

    async fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<FoundPush, SqlError> {
        let redeem = |pushes: &mut Pushes, admission: Admission| match (pushes.is_open(push, now), admission) {
            (true, Admission::Admitted) => (FoundPush::Open, After::Success),
            (true, admission) => (admission.into(), After::Nothing),
            (false, _) => (FoundPush::Unknown, After::Nothing),
        };
        self.change_pushes(user, Some((throttle, now)), redeem).await.map_err(|error| self.error(error))
    }

    async fn end_push(&self, user: &UserId, ticket: Ticket, end: PushEnd) -> Result<(), SqlError> {
        let change = |pushes: &mut Pushes, _| {
            pushes.end(ticket, end);
            ((), After::Keep)
        };
        self.change_pushes(user, None, change).await.map_err(|error| self.error(error))
    }

    async fn clear_pushes(&self, user: &UserId) -> Result<(), SqlError> {
        let cleared = self.clear(user, "DELETE FROM pushes WHERE user_name = $1");
        cleared.await.map_err(|error| self.error(error))
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        Some(&self.id)
    }
}
