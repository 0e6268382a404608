//! What the open connections wait for.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::connection_state::{Class, Phase, State};

#[derive(Default)]
pub(crate) struct Table {
    /// The id of the next connection, and the time of the next change in [`queue`](Self::queue).
    next: u64,
    connections: HashMap<u64, State>,
    addresses: HashMap<IpAddr, Counts>,
    /// The connections that are not closing, by the order of their last change within each class, or of their beginning
    /// if they are new: among all (`None`), and among those of an address.
    queue: BTreeSet<(Class, Option<IpAddr>, u64, u64)>,
}

/// The connections of an address.
#[derive(Default)]
struct Counts {
    open: usize,
    /// The new ones that are not closing.
    new: usize,
}

impl Table {
    pub(crate) fn insert(&mut self, address: IpAddr) -> (u64, Arc<Notify>) {
        let (id, close) = (self.number(), Arc::new(Notify::new()));
        self.connections.insert(id, State::new(id, address, close.clone()));
        self.addresses.entry(address).or_default().open += 1;
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
        match to {
            Some(to) => connection.phases[to.index()] += 1,
            None => connection.is_served = true,
        }
        (connection.since, connection.order) = (Instant::now(), order);
        self.set_queued(id, true);
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn len_of(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |counts| counts.open)
    }

    pub(crate) fn address(&self, id: u64) -> Option<IpAddr> {
        self.connections.get(&id).map(|connection| connection.address)
    }

    /// Whether a connection, of an address or of all, can be replaced that is no event stream.
    pub(crate) fn has_waiting(&self, scope: Option<IpAddr>) -> bool {
        [Class::Waiting, Class::New, Class::Queued].into_iter().any(|class| self.oldest(class, scope).is_some())
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.connections.contains_key(&id)
    }

    /// When a connection must end, unless a phase changes before. `None` if it has an event stream.
    pub(crate) fn deadline(&self, id: u64) -> Option<Instant> {
        self.connections.get(&id).and_then(State::deadline)
    }

    /// Closes all connections without a request.
    pub(crate) fn close_idle(&mut self) {
        let idle = self.connections.iter().filter(|(_, connection)| connection.requests() == 0);
        let idle: Vec<u64> = idle.map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|id| self.close(id));
    }

    /// Asks a connection of an address to close, for a new one of the same address, and returns its id: one that waits
    /// for its client or for its turn, otherwise the event stream without an event for the longest time.
    ///
    /// An attacker at the address can have all of its connections in use, and connect again at once. Therefore a new
    /// connection is safe for a short time, until its first response. This applies to at most half of the connections,
    /// so that new ones do not replace all others.
    pub(crate) fn close_one_of(&mut self, address: IpAddr) -> Option<u64> {
        self.close_waiting_of(address).or_else(|| self.close_oldest(Class::Streaming, Some(address)))
    }

    fn close_waiting_of(&mut self, address: IpAddr) -> Option<u64> {
        let Counts { open, new } = self.addresses.get(&address)?;
        let oldest = self.oldest(Class::New, Some(address)).and_then(|(_, id)| self.connections.get(&id));
        let new_first = 2 * new > *open || oldest.is_some_and(|connection| !connection.is_fresh());
        let classes = if new_first {
            [Class::New, Class::Waiting, Class::Queued]
        } else {
            [Class::Waiting, Class::Queued, Class::New]
        };
        classes.into_iter().find_map(|class| self.close_oldest(class, Some(address)))
    }

    /// The same for a connection of any address, for a new one of `client`, if there is one. A new connection of an
    /// address that has fewer connections than the client is safe until its first response, if one of the client's can
    /// be closed instead: many addresses with one connection each must not exclude one with several.
    pub(crate) fn close_one(&mut self, client: Option<IpAddr>) -> Option<u64> {
        let waiting = [Class::Waiting, Class::New].into_iter().filter_map(|class| self.oldest(class, None));
        if let Some((_, id)) = waiting.min() {
            let safe_from = client.filter(|client| self.is_safe_from(id, *client));
            let own = safe_from.and_then(|client| self.close_waiting_of(client));
            return own.or_else(|| {
                self.close(id);
                Some(id)
            });
        }
        [Class::Queued, Class::Streaming].into_iter().find_map(|class| self.close_oldest(class, None))
    }

    fn is_safe_from(&self, id: u64, client: IpAddr) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            connection.class() == Class::New
                && connection.is_fresh()
                && self.len_of(connection.address) < self.len_of(client)
        })
    }

    /// Asks a connection to close in which the server works, for a new connection of `client`: the oldest one of the
    /// address with the most connections, if that address has more than its fair share of `total`, and the client has
    /// less than that. The fair share is equal for all addresses.
    pub(crate) fn close_working(&mut self, client: IpAddr, total: usize) -> Option<u64> {
        let of_client = self.len_of(client);
        let fair = total / (self.addresses.len() + usize::from(of_client == 0));
        let (&address, most) = self.addresses.iter().max_by_key(|(_, counts)| counts.open)?;
        if most.open > fair && of_client < fair { self.close_oldest(Class::Working, Some(address)) } else { None }
    }

    /// The order and the id of the oldest connection of a class.
    fn oldest(&self, class: Class, scope: Option<IpAddr>) -> Option<(u64, u64)> {
        let (.., order, id) = self.queue.range((class, scope, 0, 0)..=(class, scope, u64::MAX, u64::MAX)).next()?;
        Some((*order, *id))
    }

    fn close_oldest(&mut self, class: Class, scope: Option<IpAddr>) -> Option<u64> {
        let (_, id) = self.oldest(class, scope)?;
        self.close(id);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.set_queued(id, false);
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(counts) = self.addresses.get_mut(&connection.address) {
            counts.open -= 1;
            if counts.open == 0 {
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
        let (class, address) = (connection.class(), connection.address);
        let order = if class == Class::New { id } else { connection.order };
        let queued = queued && !connection.is_closing;
        let mut changed = false;
        for scope in [None, Some(address)] {
            let key = (class, scope, order, id);
            changed = if queued { self.queue.insert(key) } else { self.queue.remove(&key) };
        }
        if changed
            && class == Class::New
            && let Some(counts) = self.addresses.get_mut(&address)
        {
            counts.new = if queued { counts.new + 1 } else { counts.new.saturating_sub(1) };
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection_state::{MAX_IDLE, MAX_STALLED, NEW_TIME};

    fn table() -> (Table, [IpAddr; 2]) {
        (Table::default(), ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap()))
    }

    /// A connection whose first request was answered.
    fn served(table: &mut Table, address: IpAddr) -> u64 {
        let (id, _) = table.insert(address);
        table.change(id, None, Some(Phase::Working));
        table.change(id, Some(Phase::Working), None);
        id
    }

    #[test]
    fn the_connection_that_has_waited_longest_is_closed() {
        let (mut table, [a, b]) = table();
        let [first, second, third] = [a, b, a].map(|address| served(&mut table, address));
        // A new request is a change.
        table.change(first, None, Some(Phase::Receiving));
        assert_eq!(table.close_one_of(a), Some(third));
        assert_eq!(table.close_one(None), Some(second));
        assert_eq!(table.close_one_of(b), None);
        assert_eq!(table.close_one(Some(b)), Some(first));
        // They are closing, and still open.
        assert_eq!((table.close_one(None), table.len(), table.len_of(a)), (None, 3, 2));
        table.remove(first);
        assert_eq!((table.len(), table.len_of(a), table.contains(first)), (2, 1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_safe_until_its_first_response_for_a_short_time() {
        for phase in [None, Some(Phase::Receiving)] {
            let (mut table, [a, _]) = table();
            let queued = table.insert(a).0;
            table.change(queued, None, Some(Phase::Queued));
            let new = table.insert(a).0;
            if phase.is_some() {
                table.change(new, None, phase);
            }
            let of_the_others: Vec<u64> = (0..4).map(|_| served(&mut table, a)).collect();
            let closed: Vec<_> = (0..5).map(|_| table.close_one_of(a)).collect();
            let expected = of_the_others.iter().chain([&queued]).copied().map(Some);
            assert_eq!(closed, expected.collect::<Vec<_>>(), "{phase:?}");
            served(&mut table, a);
            tokio::time::advance(NEW_TIME).await;
            assert_eq!(table.close_one_of(a), Some(new), "{phase:?}");
        }
    }

    /// A flood of connections that send nothing, or only the beginning of a request.
    #[test]
    fn new_connections_do_not_replace_all_others() {
        let (mut table, [a, b]) = table();
        let kept: Vec<u64> = (0..8).map(|_| served(&mut table, a)).collect();
        for phase in [Phase::Queued, Phase::Streaming, Phase::Working] {
            let id = table.insert(a).0;
            table.change(id, None, Some(phase));
        }
        let other = table.insert(b).0;
        let mut flood: Vec<u64> = (0..12).map(|_| table.insert(a).0).collect();
        for n in 0..1000 {
            let closed = table.close_one_of(a).unwrap();
            assert!(flood.contains(&closed) && !kept.contains(&closed), "{n}");
            table.remove(closed);
            flood.push(table.insert(a).0);
            table.change(*flood.last().unwrap(), None, Some(Phase::Receiving));
        }
        assert!(table.contains(other));
    }

    /// An address with fewer connections than the client.
    #[tokio::test(start_paused = true)]
    async fn a_connection_of_a_small_address_is_safe_from_a_large_one() {
        let (mut table, [a, b]) = table();
        let of_b = table.insert(b).0;
        let of_a: Vec<u64> = (0..3).map(|_| table.insert(a).0).collect();
        assert_eq!(table.close_one(Some(a)), Some(of_a[0]));
        table.change(of_a[1], None, Some(Phase::Queued));
        table.change(of_a[2], None, Some(Phase::Working));
        let streaming = table.insert(a).0;
        table.change(streaming, None, Some(Phase::Streaming));
        assert_eq!(table.close_one(Some(a)), Some(of_a[1]));
        // Neither does the large address lose an event stream for it, nor its new connection.
        assert_eq!(table.close_one(Some(a)), Some(of_b));
        assert_eq!(table.close_one(Some(a)), Some(streaming));
        assert_eq!(table.close_one(Some(a)), None);
        // An address without connections, and after the short time each one, replace it.
        let third = "192.0.2.3".parse().unwrap();
        let of_b = table.insert(b).0;
        assert_eq!(table.close_one(Some(third)), Some(of_b));
        let (of_b, of_a) = (table.insert(b).0, table.insert(a).0);
        tokio::time::advance(NEW_TIME).await;
        assert_eq!([table.close_one(Some(a)), table.close_one(Some(a))], [Some(of_b), Some(of_a)]);
    }

    #[test]
    fn waiting_connections_are_closed_before_event_streams_and_work_only_in_the_last_resort() {
        let (mut table, [a, _]) = table();
        let id = served(&mut table, a);
        let class = |table: &Table| {
            assert_eq!(table.queue.len(), 2);
            table.queue.first().unwrap().0
        };
        for (phase, expected) in [
            (Phase::Receiving, Class::Waiting),
            (Phase::Queued, Class::Queued),
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
