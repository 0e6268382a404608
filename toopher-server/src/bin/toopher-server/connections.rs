//! The open connections, and the limits of their number: of all, and of each client address.
//!
//! At a limit, a new connection replaces the one that has waited longest for its client, so connections that send
//! nothing exclude no client. If none waits, it replaces one whose request waits for its turn, then an event stream,
//! since phones connect again. If the server works in all connections, it replaces one of an address that has more than
//! its fair share. Connections without a first response are safe for a short time: see [`Table::close_one_of`].

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::connection_limits::{Limits, client_address};
use crate::connection_log::LimitLog;
use crate::connection_state::{MAX_IDLE, Phase};
use crate::connection_table::Table;

pub(crate) struct Connections {
    limits: Limits,
    table: Mutex<Table>,
    /// Notified when a connection has ended.
    ended: Notify,
    log: LimitLog,
}

/// The permission for a connection. Dropping it makes room for another one.
pub(crate) struct Permit {
    connections: Arc<Connections>,
    id: u64,
    close: Arc<Notify>,
}

enum Admission {
    Admitted(Permit),
    /// This connection must end first.
    After(u64),
    Refused,
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default(), ended: Notify::new(), log: LimitLog::default() }
    }

    /// Permits a new connection. Closes another connection if a limit is reached. Returns `None` if none can be
    /// closed.
    pub(crate) async fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        let client = client_address(client);
        loop {
            match self.try_admit(client) {
                Admission::Admitted(permit) => return Some(permit),
                Admission::Refused => return None,
                Admission::After(id) => self.closed(id).await,
            }
        }
    }

    /// Closes a connection, in which the server does not work. For errors that say that files are missing.
    pub(crate) async fn close_one(&self) {
        let closing = self.table().close_one(None);
        if let Some(id) = closing {
            self.closed(id).await;
        }
    }

    /// Closes all connections without a request.
    pub(crate) fn close_idle(&self) {
        self.table().close_idle();
    }

    /// Completes when there is no connection.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.table().len() == 0 {
                return;
            }
            ended.await;
        }
    }

    async fn closed(&self, id: u64) {
        loop {
            let ended = self.ended.notified();
            if !self.table().contains(id) {
                return;
            }
            ended.await;
        }
    }

    fn try_admit(self: &Arc<Self>, client: IpAddr) -> Admission {
        let mut table = self.table();
        let of_client = table.len_of(client);
        let scope = if of_client >= self.limits.share(client) {
            Some(client)
        } else if table.len() >= self.limits.total {
            None
        } else {
            let (id, close) = table.insert(client);
            return Admission::Admitted(Permit { connections: self.clone(), id, close });
        };
        let mut closing = match scope {
            Some(client) => table.close_one_of(client),
            None => table.close_one(Some(client)),
        };
        if closing.is_none() && scope.is_none() {
            closing = table.close_working(client, self.limits.total);
        }
        let open = table.len();
        drop(table);
        self.log.limit_reached(scope, open, closing.is_none());
        closing.map_or(Admission::Refused, Admission::After)
    }

    /// Whether all connections, or all of the address of this one, are in use, and a new one can replace none of them.
    pub(crate) fn are_exhausted(&self, id: u64) -> bool {
        let table = self.table();
        let of_address =
            |address| table.len_of(address) >= self.limits.share(address) && !table.has_waiting(Some(address));
        table.len() >= self.limits.total && !table.has_waiting(None) || table.address(id).is_some_and(of_address)
    }

    /// Moves a request of a connection from one phase to another.
    pub(crate) fn change(&self, id: u64, from: Option<Phase>, to: Option<Phase>) {
        self.table().change(id, from, to);
    }

    /// No code that runs under the lock can panic within a change, so the data behind a poisoned lock is consistent.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Completes when the connection is replaced by another one.
    pub(crate) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Completes when the connection has made no progress for too long, and for `extra` time.
    pub(crate) async fn expired(&self, extra: Duration) {
        loop {
            let deadline = self.connections.table().deadline(self.id);
            match deadline {
                Some(deadline) if deadline + extra <= Instant::now() => return,
                Some(deadline) => sleep_until(deadline + extra).await,
                // An event stream: its end is a change, after which the time begins.
                None => tokio::time::sleep(MAX_IDLE).await,
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.table().remove(self.id);
        self.connections.ended.notify_waiters();
    }
}
