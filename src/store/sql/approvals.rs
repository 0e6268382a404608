//! Pending approvals.

use toopher_sql::{Connection, OpaqueText, Row, SqlError, query};

use super::encoding::{count, from_millis, millis};
use super::failures::read_failures;
use super::{SqlStore, Success, delete, succeed};
use crate::store::approval_record::{ApprovalRecord, OpenApproval};
use crate::store::approvals::{ApprovalKey, ApprovalRef, BeginOutcome, EndReason, FindOutcome, NewApproval};
use crate::store::failures::Admission;
use crate::store::throttle::Throttle;
use crate::store::traits::{ApprovalStore, Records};
use crate::time::UnixTime;
use crate::verify::{ApprovalId, UserId};

const SELECT: &str = "SELECT count, uncertain, last, approval_key, binding, approval_id, expires
     FROM approvals WHERE user_name = $1";

/// What to do with the changed record.
enum Write {
    Nothing,
    Record,
    /// After a success: delete failures in a row and approvals.
    Success,
}

impl<D> SqlStore<D> {
    /// Reads the approvals of `user`, changes them, and writes them, in one transaction. `change` also receives whether
    /// a delay or a lock-out applies.
    async fn change_approvals<T: Send + 'static>(
        &self,
        user: &UserId,
        throttle: Option<(&Throttle, UnixTime)>,
        change: impl FnOnce(&mut ApprovalRecord, Admission) -> (T, Write) + Send + 'static,
    ) -> Result<T, SqlError> {
        let (name, throttle) = (user.clone(), throttle.map(|(throttle, now)| (*throttle, now)));
        let changed = self.transaction(user, move |connection| {
            Box::pin(async move {
                let admission = match &throttle {
                    None => Admission::Admitted,
                    Some((throttle, now)) => {
                        read_failures(&mut *connection, &name).await?.check_other_factor(throttle, *now)
                    }
                };
                let row = query(SELECT).bind(OpaqueText(name.as_str())).row(&mut *connection).await?;
                let mut record = read_record(row.as_ref())?;
                let (outcome, write) = change(&mut record, admission);
                match write {
                    Write::Nothing => {}
                    Write::Record if record != ApprovalRecord::default() => {
                        write_record(connection, &name, &record).await?;
                    }
                    Write::Record => delete(connection, &name, Records::Approvals).await?,
                    Write::Success => succeed(connection, &name, Success::Uncounted).await?,
                }
                Ok(outcome)
            })
        });
        changed.await
    }

    /// Takes no lock, because it changes nothing and clients call it often.
    async fn read_outcome(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, SqlError> {
        let row = query(SELECT).bind(OpaqueText(user.as_str())).row(&self.database).await?;
        if !read_record(row.as_ref())?.is_pending(approval, now) {
            return Ok(FindOutcome::Unknown);
        }
        Ok(read_failures(&self.database, user).await?.check_other_factor(throttle, now).into())
    }
}

async fn write_record(connection: &mut Connection, user: &UserId, record: &ApprovalRecord) -> Result<(), SqlError> {
    let open = record.open.as_ref();
    let written = query(
        "INSERT INTO approvals (user_name, count, uncertain, last, approval_key, binding, approval_id, expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (user_name) DO UPDATE SET count = excluded.count, uncertain = excluded.uncertain,
            last = excluded.last, approval_key = excluded.approval_key, binding = excluded.binding,
            approval_id = excluded.approval_id, expires = excluded.expires",
    )
    .bind(OpaqueText(user.as_str()))
    .bind(i64::from(record.count))
    .bind(i64::from(record.uncertain))
    .bind(millis(record.last))
    .bind(open.map(|open| open.key.as_bytes().to_vec()))
    .bind(open.map(|open| open.binding_hash.to_vec()))
    .bind(open.and_then(|open| open.id.as_ref()).map(|id| OpaqueText(id.as_str())))
    .bind(open.map(|open| millis(open.until)));
    written.execute(connection).await.map(drop)
}

fn read_record(row: Option<&Row>) -> Result<ApprovalRecord, SqlError> {
    let Some(row) = row else { return Ok(ApprovalRecord::default()) };
    let invalid = || row.invalid("an approval in the database is invalid");
    let key: Option<Vec<u8>> = row.get("approval_key")?;
    let open = match key {
        None => None,
        Some(key) => {
            let binding_hash: Vec<u8> = row.get("binding")?;
            Some(OpenApproval {
                key: ApprovalKey::from_bytes(key.try_into().map_err(|_| invalid())?),
                binding_hash: binding_hash.try_into().map_err(|_| invalid())?,
                id: row.opaque_text("approval_id")?.map(ApprovalId::new).transpose().map_err(|_| invalid())?,
                until: from_millis(row.get("expires")?),
            })
        }
    };
    let last = from_millis(row.get("last")?);
    Ok(ApprovalRecord { count: count(row, "count")?, uncertain: count(row, "uncertain")?, last, open })
}

impl<D: 'static> ApprovalStore for SqlStore<D> {
    async fn begin_approval(
        &self,
        user: &UserId,
        approval: &NewApproval,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<BeginOutcome, SqlError> {
        let approval = approval.clone();
        let begin = move |record: &mut ApprovalRecord, admission| match admission {
            Admission::Admitted => (record.begin(&approval, now), Write::Record),
            Admission::Throttled { retry_after } => (BeginOutcome::Throttled { retry_after }, Write::Nothing),
            Admission::LockedOut => (BeginOutcome::LockedOut, Write::Nothing),
        };
        self.change_approvals(user, Some((throttle, now)), begin).await
    }

    async fn set_approval_id(
        &self,
        user: &UserId,
        key: ApprovalKey,
        id: &ApprovalId,
        until: UnixTime,
    ) -> Result<bool, SqlError> {
        let id = id.clone();
        let set_id = move |record: &mut ApprovalRecord, _| (record.set_id(key, &id, until), Write::Record);
        self.change_approvals(user, None, set_id).await
    }

    async fn find_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, SqlError> {
        self.read_outcome(user, approval, throttle, now).await
    }

    async fn redeem_approval(
        &self,
        user: &UserId,
        approval: &ApprovalRef,
        throttle: &Throttle,
        now: UnixTime,
    ) -> Result<FindOutcome, SqlError> {
        let approval = approval.clone();
        let redeem = move |record: &mut ApprovalRecord, admission: Admission| {
            if !record.is_pending(&approval, now) {
                return (FindOutcome::Unknown, Write::Nothing);
            }
            let write = if admission == Admission::Admitted { Write::Success } else { Write::Nothing };
            (admission.into(), write)
        };
        self.change_approvals(user, Some((throttle, now)), redeem).await
    }

    async fn end_approval(&self, user: &UserId, key: ApprovalKey, reason: EndReason) -> Result<(), SqlError> {
        let end = move |record: &mut ApprovalRecord, _| {
            record.end(key, reason);
            ((), Write::Record)
        };
        self.change_approvals(user, None, end).await
    }
}
