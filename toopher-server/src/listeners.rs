//! The phones that are connected for events.
//!
//! A notification costs as much as its device has listeners. A device has few listeners, and strangers have few of all
//! listeners: a phone without a pairing needs no secret of a site.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

/// The maximum number of listeners of one device: the tabs of a page, and connections that are lost and not yet closed.
const MAX_PER_DEVICE: usize = 4;
/// Phones without a pairing may have one in this many listeners.
const UNPAIRED_SHARE: usize = 4;

/// The listeners of all devices. Clones share them.
#[derive(Clone)]
pub(crate) struct Listeners(Arc<Mutex<Table>>);

struct Table {
    max: usize,
    stopped: bool,
    next_id: u64,
    count: usize,
    devices: HashMap<Arc<str>, Vec<Entry>>,
    /// The listeners of phones without a pairing, oldest first.
    unpaired: BTreeMap<u64, Arc<str>>,
}

struct Entry {
    id: u64,
    /// One message is enough for any number of changes. The listener ends when this is dropped.
    changed: mpsc::Sender<()>,
}

/// A connected phone. Dropping it removes it from the listeners.
pub(crate) struct Listener {
    listeners: Listeners,
    device: Arc<str>,
    id: u64,
    changed: mpsc::Receiver<()>,
}

impl Listeners {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            max,
            stopped: false,
            next_id: 0,
            count: 0,
            devices: HashMap::new(),
            unpaired: BTreeMap::new(),
        })))
    }

    pub(crate) fn set_max(&self, max: usize) {
        self.table().max = max;
    }

    /// Adds a listener of a device. The oldest listener of the device ends if there are too many. Phones without a
    /// pairing end the oldest one of them, and paired ones end them. Returns `None` if the limit is reached anyway.
    ///
    /// After [`stop`](Self::stop), the listener ends at once.
    pub(crate) fn add(&self, device: &str, is_paired: bool) -> Option<Listener> {
        let mut table = self.table();
        let (sender, changed) = mpsc::channel(1);
        let id = table.next_id;
        table.next_id += 1;
        let device: Arc<str> = device.into();
        if !table.stopped {
            if let Some(oldest) = table.devices.get(&device).filter(|entries| entries.len() >= MAX_PER_DEVICE) {
                let oldest = oldest[0].id;
                table.remove(&device, oldest);
            }
            let max_unpaired = (table.max / UNPAIRED_SHARE).max(1);
            if table.count >= table.max || (!is_paired && table.unpaired.len() >= max_unpaired) {
                let (oldest, owner) = table.unpaired.first_key_value()?;
                let (oldest, owner) = (*oldest, owner.clone());
                table.remove(&owner, oldest);
            }
            table.devices.entry(device.clone()).or_default().push(Entry { id, changed: sender });
            table.count += 1;
            if !is_paired {
                table.unpaired.insert(id, device.clone());
            }
        }
        drop(table);
        Some(Listener { listeners: self.clone(), device, id, changed })
    }

    /// Notifies the listeners of one device.
    pub(crate) fn notify(&self, device: &str) {
        if let Some(entries) = self.table().devices.get(device) {
            entries.iter().for_each(Entry::notify);
        }
    }

    /// Notifies the listeners of all devices.
    #[cfg(feature = "postgres")]
    pub(crate) fn notify_all(&self) {
        self.table().devices.values().flatten().for_each(Entry::notify);
    }

    /// Ends all listeners, present and future ones.
    pub(crate) fn stop(&self) {
        let mut table = self.table();
        table.stopped = true;
        table.count = 0;
        table.devices.clear();
        table.unpaired.clear();
    }

    /// No code that runs under the lock can panic within a change, so the data behind a poisoned lock is consistent.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Completes when the device was notified. Returns false if the listener has ended.
    pub(crate) async fn changed(&mut self) -> bool {
        self.changed.recv().await.is_some()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listeners.table().remove(&self.device, self.id);
    }
}

impl Entry {
    fn notify(&self) {
        // Fails if the listener has not yet read an earlier notification, which then announces this change, too.
        let _ = self.changed.try_send(());
    }
}

impl Table {
    fn remove(&mut self, device: &Arc<str>, id: u64) {
        self.unpaired.remove(&id);
        let Some(entries) = self.devices.get_mut(device) else { return };
        let before = entries.len();
        entries.retain(|entry| entry.id != id);
        self.count = self.count.saturating_sub(before - entries.len());
        if entries.is_empty() {
            self.devices.remove(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(listeners: &Listeners) -> (usize, usize, usize) {
        let table = listeners.table();
        (table.count, table.devices.len(), table.unpaired.len())
    }

    fn has_ended(listener: &mut Listener) -> bool {
        matches!(listener.changed.try_recv(), Err(mpsc::error::TryRecvError::Disconnected))
    }

    #[tokio::test]
    async fn a_notification_reaches_the_listeners_of_its_device_only() {
        let listeners = Listeners::new(10);
        let [mut one, mut two] = [true, true].map(|paired| listeners.add("a", paired).unwrap());
        let mut other = listeners.add("b", true).unwrap();
        listeners.notify("a");
        listeners.notify("a");
        listeners.notify("unknown");
        assert!(one.changed().await && two.changed().await);
        for listener in [&mut one, &mut two, &mut other] {
            assert_eq!(listener.changed.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        }
        drop((one, two, other));
        assert_eq!(counts(&listeners), (0, 0, 0));
    }

    #[test]
    fn a_newer_listener_ends_the_oldest_one_of_its_device() {
        let listeners = Listeners::new(100);
        let mut added: Vec<_> = (0..20).map(|_| listeners.add("a", true).unwrap()).collect();
        let ended: Vec<_> = added.iter_mut().map(has_ended).collect();
        assert_eq!(ended.iter().filter(|ended| !**ended).count(), MAX_PER_DEVICE);
        assert!(ended[..16].iter().all(|ended| *ended));
        assert_eq!(counts(&listeners), (4, 1, 0));
        // The ended ones are removed once.
        drop(added);
        assert_eq!(counts(&listeners), (0, 0, 0));
    }

    #[test]
    fn phones_without_a_pairing_do_not_exclude_paired_ones() {
        let listeners = Listeners::new(8);
        let mut strangers: Vec<_> = (0..50).map(|n| listeners.add(&n.to_string(), false).unwrap()).collect();
        assert_eq!(counts(&listeners), (2, 2, 2));
        let paired: Vec<_> = (0..8).map(|n| listeners.add(&format!("p{n}"), true).unwrap()).collect();
        assert!(strangers.iter_mut().all(has_ended));
        assert_eq!(counts(&listeners), (8, 8, 0));
        assert!(listeners.add("more", true).is_none() && listeners.add("more", false).is_none());
        drop(paired);
        assert!(listeners.add("more", false).is_some());
    }

    #[test]
    fn all_end_at_the_stop() {
        let listeners = Listeners::new(8);
        let mut before = listeners.add("a", true).unwrap();
        listeners.stop();
        let mut after = listeners.add("a", true).unwrap();
        assert!(has_ended(&mut before) && has_ended(&mut after));
        drop((before, after));
        assert_eq!(counts(&listeners), (0, 0, 0));
    }
}
