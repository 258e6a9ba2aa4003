//! Whose a slot is. Every change of that goes through [`Cluster::give_slot`] and [`Cluster::release_slot`], which keep the
//! nodes' own sets level with the owners.

use super::Cluster;
use super::node::{NodeKey, node_flag};
use crate::algorithms::slot::SLOTS;
use crate::bus::SlotSet;
use crate::keyspace::Keyspace;

impl Cluster {
    /// Whose a slot is; `None` when it is nobody's.
    #[inline]
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<NodeKey> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    /// Whether this node serves a slot.
    #[must_use]
    pub fn serves(&self, slot: u16) -> bool {
        self.owner(slot) == Some(self.myself)
    }

    /// Whether this node's shard serves a slot.
    #[must_use]
    pub fn shard_serves(&self, slot: u16) -> bool {
        let owner = self.owner(slot);
        owner.is_some() && owner == self.own_primary()
    }

    /// The slots of this node's shard.
    #[must_use]
    pub fn shard_slots(&self) -> SlotSet {
        self.own_primary().map(|primary| self.nodes[primary].slots.clone()).unwrap_or_default()
    }

    /// Gives a slot that is nobody's to a node; says whether it was nobody's.
    pub fn give_slot(&mut self, node: NodeKey, slot: u16) -> bool {
        let Some(owner @ None) = self.owners.get_mut(usize::from(slot)) else { return false };
        *owner = Some(node);
        self.unclaimed.remove(slot);
        self.statistics.reset(slot);
        self.migrations.ownership_changed = true;
        let owner = &mut self.nodes[node];
        if owner.slots.insert(slot) {
            owner.slot_count += 1;
            if owner.slot_count == 1 && self.a_primary_has_replicas() {
                // Whoever serves slots where others have replicas is to have some too.
                self.nodes[node].set(node_flag::MIGRATE_TO);
            }
        }
        true
    }

    /// Takes a slot from whoever has it; says whether somebody had.
    pub fn release_slot(&mut self, slot: u16) -> bool {
        let Some(owner) = self.owners.get_mut(usize::from(slot)).and_then(Option::take) else { return false };
        let node = &mut self.nodes[owner];
        if node.slots.remove(slot) {
            node.slot_count -= 1;
        }
        self.unclaimed.remove(slot);
        self.statistics.reset(slot);
        self.migrations.ownership_changed = true;
        self.todo.released.get_or_insert_default().insert(slot);
        true
    }

    /// Takes a slot from whoever has it and gives it to a node.
    pub fn move_slot(&mut self, node: NodeKey, slot: u16) {
        self.release_slot(slot);
        self.give_slot(node, slot);
    }

    /// Takes all slots from a node; says how many they were.
    pub fn release_slots_of(&mut self, node: NodeKey) -> usize {
        let slots = self.nodes[node].slots.clone();
        slots.iter().filter(|slot| self.release_slot(*slot)).count()
    }

    /// Whether a slot is nobody's, as far as one can tell.
    pub(super) fn is_unclaimed(&self, slot: u16) -> bool {
        self.owner(slot).is_none() || self.unclaimed.contains(slot)
    }

    /// The slots that somebody serves, in rows of the same owner: first, last, owner.
    #[must_use]
    pub fn rows(&self) -> Vec<(u16, u16, NodeKey)> {
        let mut rows: Vec<(u16, u16, NodeKey)> = Vec::new();
        for slot in 0..SLOTS as u16 {
            let Some(owner) = self.owner(slot) else { continue };
            match rows.last_mut() {
                Some((_, end, last)) if *end + 1 == slot && *last == owner => *end = slot,
                _ => rows.push((slot, slot, owner)),
            }
        }
        rows
    }

    /// Slots that somebody serves.
    #[must_use]
    pub fn assigned(&self) -> usize {
        self.owners.iter().flatten().count()
    }

    fn a_primary_has_replicas(&self) -> bool {
        self.nodes.iter().any(|(_, node)| node.is_replica() && node.primary.is_some())
    }

    /// Holds the keys that are there against the slots: takes those slots that have keys and are nobody's; gives those
    /// that are another node's, whose keys have to go.
    pub(super) fn take_slots_of_keys(&mut self, keyspace: &Keyspace) -> SlotSet {
        let mut foreign = SlotSet::default();
        if self.me().is_replica() {
            // All data is the primary's.
            return foreign;
        }
        for slot in 0..SLOTS as u16 {
            let is_own =
                self.serves(slot) || self.importing.contains_key(&slot) || self.migrations.is_importing(slot);
            if is_own || keyspace.keys_in_slot(slot) == 0 {
                continue;
            }
            self.todo.save_synced();
            if self.owner(slot).is_none() {
                tracing::info!("I have keys for unassigned slot {slot}. Taking responsibility for it.");
                self.give_slot(self.myself, slot);
                self.todo.update_state = true;
            } else {
                tracing::info!(
                    "I have keys for slot {slot}, but the slot is assigned to another node. Deleting keys in the slot."
                );
                foreign.insert(slot);
            }
        }
        foreign
    }
}
