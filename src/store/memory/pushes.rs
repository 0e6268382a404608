//! The approvals that are waited for.

use std::future::{Future, ready};
use std::time::Duration;

use super::{Key, Map, MemoryStore, Shard, StoreFull, Table};
use crate::store::{
    Admission, AskedPush, BeginPush, FoundPush, NewPush, PushEnd, PushStore, Pushes, StoreId, Throttle, Ticket,
};
use crate::{ApprovalId, UserId};

impl Table {
    fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> Result<BeginPush, StoreFull> {
        let (key, mut shard) = self.user(user);
        match shard.peek(&key, throttle, now) {
            Admission::Admitted => {}
            Admission::Throttled { retry_after } => return Ok(BeginPush::Throttled { retry_after }),
            Admission::LockedOut => return Ok(BeginPush::LockedOut),
        }
        if !shard.pushes.contains_key(&key) && shard.pushes.len() >= self.shard_capacity {
            make_room(&mut shard.pushes, now)?;
        }
        Ok(shard.pushes.entry(key).or_default().begin(push, now))
    }

    fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
        redeem: bool,
    ) -> FoundPush {
        let (key, mut shard) = self.user(user);
        if !shard.pushes.get(&key).is_some_and(|pushes| pushes.is_open(push, now)) {
            return FoundPush::Unknown;
        }
        let admission = shard.peek(&key, throttle, now);
        if redeem && admission == Admission::Admitted {
            shard.pushes.remove(&key);
            shard.failures.remove(&key);
        }
        admission.into()
    }
}

impl Shard {
    /// What an attempt would be told now. Nothing is counted.
    fn peek(&self, key: &Key, throttle: &Throttle, now: Duration) -> Admission {
        self.failures.get(key).map_or(Admission::Admitted, |failures| failures.clone().attempt(throttle, now))
    }
}

/// Takes out what is over. Counts of pushes are never forgotten early: who is flooded would be asked anew.
fn make_room(pushes: &mut Map<Pushes>, now: Duration) -> Result<(), StoreFull> {
    let before = pushes.len();
    pushes.retain(|_, pushes| !pushes.is_over(now));
    if pushes.len() < before { Ok(()) } else { Err(StoreFull) }
}

impl PushStore for MemoryStore {
    type Error = StoreFull;

    fn begin_push(
        &self,
        user: &UserId,
        push: &NewPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<BeginPush, StoreFull>> + Send {
        ready(self.table.begin_push(user, push, throttle, now))
    }

    fn keep_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        id: &ApprovalId,
        until: Duration,
    ) -> impl Future<Output = Result<bool, StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        ready(Ok(shard.pushes.get_mut(&key).is_some_and(|pushes| pushes.asked(ticket, id, until))))
    }

    fn find_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, StoreFull>> + Send {
        ready(Ok(self.table.find_push(user, push, throttle, now, false)))
    }

    fn redeem_push(
        &self,
        user: &UserId,
        push: &AskedPush,
        throttle: &Throttle,
        now: Duration,
    ) -> impl Future<Output = Result<FoundPush, StoreFull>> + Send {
        ready(Ok(self.table.find_push(user, push, throttle, now, true)))
    }

    fn end_push(
        &self,
        user: &UserId,
        ticket: Ticket,
        end: PushEnd,
    ) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        if let Some(pushes) = shard.pushes.get_mut(&key) {
            pushes.end(ticket, end);
            if *pushes == Pushes::default() {
                shard.pushes.remove(&key);
            }
        }
        ready(Ok(()))
    }

    fn clear_pushes(&self, user: &UserId) -> impl Future<Output = Result<(), StoreFull>> + Send {
        let (key, mut shard) = self.table.user(user);
        shard.pushes.remove(&key);
        ready(Ok(()))
    }

    fn keeps_in(&self) -> Option<&StoreId> {
        Some(&self.table.id)
    }
}
