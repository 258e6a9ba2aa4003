//! Deleting the keys of slots that are another shard's now: so many at a time, between two turns of the event loop.
//!
//! For everybody they are gone at once: requests for those slots are sent elsewhere, what goes over a database passes them
//! over as it does keys that are imported, and what counts or lists a slot's keys finds none. Before a slot can be served
//! again, or all data become another primary's, the rest is deleted in one go. Replicas and the append-only file are told
//! key by key.

use super::Cluster;
use crate::algorithms::slot_set::SlotSet;
use crate::keyspace::{Keys, Keyspace};
use crate::memory::box_usage;
use crate::server::{Engine, Server, Task};
use crate::sys::clock;

/// Keys that are deleted between two turns.
const AT_ONCE: usize = 1000;

/// The slots whose keys are being deleted.
#[derive(Debug, Default)]
pub(super) struct LostSlots {
    slots: Option<Box<SlotSet>>,
    /// A task has been asked to go on with it.
    has_task: bool,
}

impl LostSlots {
    fn contains(&self, slot: u16) -> bool {
        self.slots.as_ref().is_some_and(|slots| slots.contains(slot))
    }

    fn first(&self) -> Option<u16> {
        self.slots.as_ref()?.iter().next()
    }

    fn add(&mut self, slots: &SlotSet) {
        let lost = self.slots.get_or_insert_default();
        slots.iter().for_each(|slot| {
            lost.insert(slot);
        });
    }

    /// All keys of a slot are gone.
    fn remove(&mut self, slot: u16) {
        if let Some(slots) = &mut self.slots {
            slots.remove(slot);
            if slots.is_empty() {
                self.slots = None;
            }
        }
    }

    pub(super) fn memory_usage(&self) -> usize {
        self.slots.as_ref().map_or(0, |_| box_usage::<SlotSet>())
    }
}

impl Cluster {
    /// The slots whose keys are being deleted.
    pub(in crate::server) fn deleting_slots(&self) -> SlotSet {
        self.lost.slots.as_deref().cloned().unwrap_or_default()
    }

    /// Whether the keys that are left of a slot are being deleted: for everybody they are gone.
    #[must_use]
    pub fn is_deleting(&self, slot: u16) -> bool {
        self.lost.contains(slot)
    }

    /// Whether keys that are being deleted could be taken for others soon.
    fn has_to_hurry(&self) -> bool {
        let is_back = |slot| self.serves(slot) || self.importing.contains_key(&slot);
        let slots = self.lost.slots.as_ref();
        slots.is_some_and(|slots| {
            self.me().is_replica() || !self.todo.set_slots.is_empty() || slots.iter().any(is_back)
        })
    }
}

impl Server {
    /// Deletes up to `most` keys of lost slots; says whether none is left. What it tells replicas goes out with what the
    /// caller tells them.
    pub fn delete_lost_keys(&mut self, keyspace: &mut Keyspace, most: usize) -> bool {
        let mut left = most;
        while let Some(slot) = self.cluster.as_ref().and_then(|cluster| cluster.lost.first()) {
            let (database, mut keys) = some_keys(keyspace, slot);
            if keys.is_empty() {
                if let Some(cluster) = &mut self.cluster {
                    cluster.lost.remove(slot);
                    cluster.migrations.hidden_changed = true;
                }
                continue;
            }
            if left == 0 {
                break;
            }
            keys.truncate(left);
            left -= keys.len();
            keys.iter().for_each(|key| self.delete_lost_key(keyspace, database, key));
        }
        self.refresh_hidden_slots(keyspace);
        self.cluster.as_ref().is_none_or(|cluster| cluster.lost.first().is_none())
    }

    fn delete_lost_key(&mut self, keyspace: &mut Keyspace, database: usize, key: &[u8]) {
        let lazily = self.config.lazyfree_lazy_server_del;
        let now_ms = self.now_ms;
        let mut keys = Keys { keyspace, database, now_ms, hint: None, touches: false };
        let Some(entry) = keys.remove_any(key) else { return };
        self.propagate_deletion(database, key, lazily);
        self.watched.touch(&mut self.clients, database, key);
        self.invalidate(key, None);
        self.background.free_entry(entry, lazily);
        keyspace.counters.changes += 1;
    }
}

/// Some keys of a slot and their database; none only if there are none.
fn some_keys(keyspace: &Keyspace, slot: u16) -> (usize, Vec<Vec<u8>>) {
    let databases = keyspace.databases().iter().enumerate();
    let mut found = databases.map(|(index, database)| (index, database.some_keys_in_slot(slot)));
    found.find(|(_, keys)| !keys.is_empty()).unwrap_or_default()
}

impl Engine {
    /// Begins to delete the keys of these slots.
    pub(in crate::server) fn delete_slots(&mut self, slots: &SlotSet) {
        let Some(cluster) = self.server.cluster.as_mut().filter(|_| !slots.is_empty()) else { return };
        cluster.lost.add(slots);
        cluster.migrations.hidden_changed = true;
        if !self.delete_some_lost_keys()
            && let Some(cluster) = self.server.cluster.as_mut()
            && !std::mem::replace(&mut cluster.lost.has_task, true)
        {
            self.server.ask(Task::DeleteLostKeys);
        }
    }

    /// Goes on with deleting the keys of lost slots; says whether none is left. For the task that was asked for.
    pub fn continue_deletion(&mut self) -> bool {
        if self.server.holds_stream() {
            // A replica that is about to take over has to catch up.
            return false;
        }
        self.server.now_ms = clock::unix_ms();
        let is_done = self.delete_some_lost_keys();
        if let Some(cluster) = self.server.cluster.as_mut().filter(|_| is_done) {
            cluster.lost.has_task = false;
        }
        is_done
    }

    fn delete_some_lost_keys(&mut self) -> bool {
        let is_done = self.server.delete_lost_keys(&mut self.keyspace, AT_ONCE);
        self.server.end_unit_of_independent();
        is_done
    }

    /// Deletes what is left of lost slots if a slot is served again, or this node's data will be another one's.
    pub(super) fn finish_deletion(&mut self) {
        if self.server.cluster.as_ref().is_some_and(|cluster| cluster.has_to_hurry()) {
            while !self.delete_some_lost_keys() {}
        }
    }
}
