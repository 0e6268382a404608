//! What the open connections wait for.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may be without a request: from its beginning to the head of its first request, and after each
/// response.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(10);
/// How long the requests of a connection may make no progress: a client that does not read its responses.
pub(crate) const MAX_STALLED: Duration = Duration::from_secs(60);

/// Who a request waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The client has not sent the whole body.
    Receiving,
    /// The server works on the response.
    Working,
    /// The client has not received the whole response.
    Responding,
    /// The response is an event stream: the client has received all events, and the server waits for the next one.
    Streaming,
}

/// Which connections are replaced first. A connection has the last class of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The connection waits for its client.
    Waiting,
    /// It has an event stream. Phones connect again.
    Streaming,
    /// The server works on a response.
    Working,
}

impl Phase {
    pub(crate) const COUNT: usize = 4;

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[derive(Default)]
pub(crate) struct Table {
    /// The id of the next connection, and the time of the next change in [`queue`](Self::queue).
    next: u64,
    connections: HashMap<u64, Connection>,
    addresses: HashMap<IpAddr, usize>,
    /// The connections that are not closing, by the order of their last change within each class: among all (`None`),
    /// and among those of an address.
    queue: BTreeSet<(Class, Option<IpAddr>, u64, u64)>,
}

struct Connection {
    address: IpAddr,
    /// The number of its requests in each phase.
    phases: [usize; Phase::COUNT],
    /// When a phase last changed.
    since: Instant,
    order: u64,
    is_closing: bool,
    close: Arc<Notify>,
}

impl Table {
    pub(crate) fn insert(&mut self, address: IpAddr) -> (u64, Arc<Notify>) {
        let (id, close) = (self.number(), Arc::new(Notify::new()));
        let connection = Connection {
            address,
            phases: [0; Phase::COUNT],
            since: Instant::now(),
            order: id,
            is_closing: false,
            close: close.clone(),
        };
        self.connections.insert(id, connection);
        *self.addresses.entry(address).or_default() += 1;
        self.set_queued(id, true);
        (id, close)
    }

    /// Moves a request of a connection from one phase to another.
    pub(crate) fn change(&mut self, id: u64, from: Option<Phase>, to: Option<Phase>) {
        self.set_queued(id, false);
        let order = self.number();
        // A request can outlive its connection.
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(from) = from {
            connection.phases[from.index()] = connection.phases[from.index()].saturating_sub(1);
        }
        if let Some(to) = to {
            connection.phases[to.index()] += 1;
        }
        (connection.since, connection.order) = (Instant::now(), order);
        self.set_queued(id, true);
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn len_of(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).copied().unwrap_or_default()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.queue.first().is_some_and(|(class, ..)| *class == Class::Waiting)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.connections.contains_key(&id)
    }

    /// When a connection must end, unless a phase changes before. `None` if it has an event stream.
    pub(crate) fn deadline(&self, id: u64) -> Option<Instant> {
        self.connections.get(&id).and_then(Connection::deadline)
    }

    /// Closes all connections without a request.
    pub(crate) fn close_idle(&mut self) {
        let idle = self.connections.iter().filter(|(_, connection)| connection.requests() == 0);
        let idle: Vec<u64> = idle.map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|id| self.close(id));
    }

    /// Asks a connection to close, of an address or of all: the one that has waited longest for its client, otherwise
    /// the event stream without an event for the longest time. Returns its id.
    pub(crate) fn close_one(&mut self, scope: Option<IpAddr>) -> Option<u64> {
        [Class::Waiting, Class::Streaming].into_iter().find_map(|class| self.close_oldest(class, scope))
    }

    /// Asks a connection to close in which the server works, for a new connection of `client`: the oldest one of the
    /// address with the most connections, if that address has more than its fair share of `total`, and the client has
    /// less than that. The fair share is equal for all addresses.
    pub(crate) fn close_working(&mut self, client: IpAddr, total: usize) -> Option<u64> {
        let of_client = self.len_of(client);
        let fair = total / (self.addresses.len() + usize::from(of_client == 0));
        let (&address, &most) = self.addresses.iter().max_by_key(|(_, count)| **count)?;
        if most > fair && of_client < fair { self.close_oldest(Class::Working, Some(address)) } else { None }
    }

    fn close_oldest(&mut self, class: Class, scope: Option<IpAddr>) -> Option<u64> {
        let (.., id) = *self.queue.range((class, scope, 0, 0)..=(class, scope, u64::MAX, u64::MAX)).next()?;
        self.close(id);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.set_queued(id, false);
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(count) = self.addresses.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&connection.address);
            }
        }
    }

    fn close(&mut self, id: u64) {
        self.set_queued(id, false);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_closing = true;
            connection.close.notify_one();
        }
    }

    /// Adds a connection to the queue, unless it is closing, or removes it.
    fn set_queued(&mut self, id: u64, queued: bool) {
        let Some(connection) = self.connections.get(&id) else { return };
        for scope in [None, Some(connection.address)] {
            let key = (connection.class(), scope, connection.order, id);
            if queued && !connection.is_closing {
                self.queue.insert(key);
            } else {
                self.queue.remove(&key);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Connection {
    fn requests(&self) -> usize {
        self.phases.iter().sum()
    }

    fn class(&self) -> Class {
        if self.phases[Phase::Working.index()] > 0 {
            Class::Working
        } else if self.phases[Phase::Streaming.index()] > 0 {
            Class::Streaming
        } else {
            Class::Waiting
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.requests() {
            0 => Some(self.since + MAX_IDLE),
            _ if self.phases[Phase::Streaming.index()] > 0 => None,
            _ => Some(self.since + MAX_STALLED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> (Table, [IpAddr; 2]) {
        (Table::default(), ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap()))
    }

    #[test]
    fn the_connection_that_has_waited_longest_is_closed() {
        let (mut table, [a, b]) = table();
        let [first, second, third] = [a, b, a].map(|address| table.insert(address).0);
        // A new request is a change.
        table.change(first, None, Some(Phase::Receiving));
        assert_eq!(table.close_one(Some(a)), Some(third));
        assert_eq!(table.close_one(None), Some(second));
        assert_eq!(table.close_one(Some(b)), None);
        assert_eq!(table.close_one(None), Some(first));
        // They are closing, and still open.
        assert_eq!((table.close_one(None), table.len(), table.len_of(a)), (None, 3, 2));
        table.remove(first);
        assert_eq!((table.len(), table.len_of(a), table.contains(first)), (2, 1, false));
    }

    #[test]
    fn waiting_connections_are_closed_before_event_streams_and_work_only_in_the_last_resort() {
        let (mut table, [a, _]) = table();
        let id = table.insert(a).0;
        let class = |table: &Table| {
            assert_eq!(table.queue.len(), 2);
            table.queue.first().unwrap().0
        };
        for (phase, expected) in [
            (Phase::Receiving, Class::Waiting),
            (Phase::Working, Class::Working),
            (Phase::Responding, Class::Waiting),
            (Phase::Streaming, Class::Streaming),
        ] {
            table.change(id, None, Some(phase));
            assert_eq!(class(&table), expected, "{phase:?}");
            // A further request that waits for its client does not change that, and work does.
            table.change(id, None, Some(Phase::Receiving));
            assert_eq!(class(&table), expected, "{phase:?}");
            table.change(id, Some(Phase::Receiving), Some(Phase::Working));
            assert_eq!(class(&table), Class::Working, "{phase:?}");
            table.change(id, Some(Phase::Working), None);
            table.change(id, Some(phase), None);
            assert_eq!(class(&table), Class::Waiting);
        }
        table.remove(id);
        // The request ends after its connection.
        table.change(id, Some(Phase::Working), None);
        assert!(table.queue.is_empty() && table.connections.is_empty() && table.addresses.is_empty());
    }

    #[test]
    fn an_event_stream_is_closed_if_no_connection_waits() {
        let (mut table, [a, b]) = table();
        let [working, first, second, waiting] = [a, a, b, b].map(|address| table.insert(address).0);
        table.change(working, None, Some(Phase::Working));
        [first, second].into_iter().for_each(|id| table.change(id, None, Some(Phase::Streaming)));
        // An event.
        table.change(first, Some(Phase::Streaming), Some(Phase::Streaming));
        let closed: Vec<_> = (0..4).map(|_| table.close_one(None)).collect();
        assert_eq!(closed, [Some(waiting), Some(second), Some(first), None]);
    }

    #[test]
    fn work_of_an_address_is_closed_for_an_address_below_its_fair_share() {
        let (mut table, [a, b]) = table();
        let of_a: Vec<u64> = (0..6).map(|_| table.insert(a).0).collect();
        let of_b = table.insert(b).0;
        of_a.iter().chain([&of_b]).for_each(|id| table.change(*id, None, Some(Phase::Working)));
        assert_eq!((table.close_one(None), table.close_working(a, 7)), (None, None));
        assert_eq!(table.close_working(b, 7), Some(of_a[0]));
        let third = "192.0.2.3".parse().unwrap();
        assert_eq!(table.close_working(third, 7), Some(of_a[1]));
        // With one address, the fair share is everything.
        table.remove(of_b);
        assert_eq!(table.close_working(a, 6), None);
        // Equal shares.
        of_a[1..].iter().for_each(|id| table.remove(*id));
        table.insert(b);
        assert_eq!((table.close_working(a, 2), table.close_working(b, 2)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_begin_at_the_last_change() {
        let (mut table, [a, _]) = table();
        let id = table.insert(a).0;
        let start = Instant::now();
        assert_eq!(table.deadline(id), Some(start + MAX_IDLE));
        tokio::time::advance(Duration::from_secs(5)).await;
        table.change(id, None, Some(Phase::Working));
        assert_eq!(table.deadline(id), Some(start + Duration::from_secs(5) + MAX_STALLED));
        table.change(id, Some(Phase::Working), Some(Phase::Streaming));
        assert_eq!(table.deadline(id), None);
        table.change(id, Some(Phase::Streaming), None);
        assert_eq!(table.deadline(id), Some(start + Duration::from_secs(5) + MAX_IDLE));
    }
}
