//! Slots on their way between nodes (CLUSTER SETSLOT).
//!
//! A primary with replicas has them do first what it is about to do itself, so that nothing is lost if it fails right
//! after: the request is fed to them, and runs here when they have acknowledged it.

use super::node::NodeKey;
use super::{Cluster, View};
use crate::bus::NodeId;
use crate::keyspace::Keyspace;
use crate::server::client::ClientKey;

/// What is to become of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotAction {
    /// It goes to the node.
    Migrating,
    /// It comes from the node.
    Importing,
    /// It stays where it is.
    Stable,
    /// It is the node's.
    Assign,
}

/// What SETSLOT asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSlot {
    /// The slot.
    pub slot: u16,
    /// What is to become of it.
    pub action: SlotAction,
    /// The node that is named, if the action has one.
    pub node: Option<NodeKey>,
}

/// A request that waits for replicas.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingSetSlot {
    pub(super) client: ClientKey,
    pub(super) set: SetSlot,
}

impl Cluster {
    /// Where a slot is on its way to.
    #[must_use]
    pub fn migrating_to(&self, slot: u16) -> Option<NodeKey> {
        self.migrating.get(&slot).copied()
    }

    /// Where a slot is on its way from.
    #[must_use]
    pub fn importing_from(&self, slot: u16) -> Option<NodeKey> {
        self.importing.get(&slot).copied()
    }

    /// Whether there are slots on their way to this node by SETSLOT.
    #[must_use]
    pub fn imports_by_hand(&self) -> bool {
        !self.importing.is_empty()
    }

    /// Whether there are slots on their way from this node by SETSLOT.
    #[must_use]
    pub fn migrates_by_hand(&self) -> bool {
        !self.migrating.is_empty()
    }

    /// A slot stays where it is.
    pub fn close_slot_import(&mut self, slot: u16) {
        self.importing.remove(&slot);
    }

    /// Slots on their way, as snapshots for replicas tell them: `slot<id,` from, `slot>id,` to.
    #[must_use]
    pub fn open_slots_text(&self) -> String {
        let importing = self.importing.iter().map(|(slot, node)| (slot, '<', node));
        let migrating = self.migrating.iter().map(|(slot, node)| (slot, '>', node));
        let all = importing.chain(migrating);
        all.map(|(slot, direction, node)| format!("{slot}{direction}{},", self.nodes[*node].id)).collect()
    }

    /// Takes over what a primary's snapshot tells of slots on their way; what is no such text is left out.
    pub fn adopt_open_slots(&mut self, text: &str) {
        for part in text.split_terminator(',') {
            let Some(at) = part.find(['<', '>']) else { continue };
            let (slot, rest) = part.split_at(at);
            let (direction, id) = rest.split_at(1);
            let slot = slot.parse().ok().filter(|slot: &u16| usize::from(*slot) < self.owners.len());
            let (Some(slot), Some(id)) = (slot, NodeId::parse(id.as_bytes())) else { continue };
            let Some(node) = self.nodes.find(id) else { continue };
            match direction {
                "<" => self.importing.insert(slot, node),
                _ => self.migrating.insert(slot, node),
            };
        }
        self.todo.save = true;
    }

    /// Does what SETSLOT asks for.
    pub fn set_slot(&mut self, set: SetSlot, keyspace: &Keyspace, view: &View<'_>) {
        let SetSlot { slot, action, node } = set;
        match (action, node) {
            (SlotAction::Migrating, Some(node)) => {
                tracing::info!("Migrating slot {slot} to node {}", self.nodes[node].title());
                self.migrating.insert(slot, node);
            }
            (SlotAction::Importing, Some(node)) => {
                tracing::info!("Importing slot {slot} from node {}", self.nodes[node].title());
                self.importing.insert(slot, node);
            }
            (SlotAction::Assign, Some(node)) => self.assign_slot(slot, node, keyspace, view),
            _ => {
                tracing::info!("Marking slot {slot} stable");
                self.importing.remove(&slot);
                self.migrating.remove(&slot);
            }
        }
        self.todo.save_and_update();
    }

    fn assign_slot(&mut self, slot: u16, node: NodeKey, keyspace: &Keyspace, view: &View<'_>) {
        let target = &self.nodes[node];
        let (title, shard) = (target.title(), target.shard);
        tracing::info!("Assigning slot {slot} to node {title} in shard {shard}");
        if keyspace.keys_in_slot(slot) == 0 {
            self.migrating.remove(&slot);
        }
        let primary = self.primary_of(self.myself);
        let was_own = self.owner(slot) == Some(primary);
        self.move_slot(node, slot);
        let lost_last = was_own && node != primary && self.nodes[primary].slot_count == 0;
        if lost_last && view.config.cluster_allow_replica_migration {
            tracing::info!(
                "Lost my last slot during slot migration. Reconfiguring myself as a replica of {title} in shard {shard}"
            );
            self.follow(node, true, true, true);
            self.todo.save_synced();
            self.todo.broadcast = true;
        } else if lost_last && self.me().is_primary() {
            tracing::info!(
                "My last slot was migrated to node {title} in shard {shard}. I am now an empty primary."
            );
        }
        let is_own = node == self.myself || self.me().primary == Some(node);
        if is_own && self.importing.remove(&slot).is_some() && node == self.myself {
            if self.bump_epoch() {
                tracing::info!("ConfigEpoch updated after importing slot {slot}");
            }
            self.todo.broadcast = true;
        }
    }

    /// A client's SETSLOT waits until the replicas have done the same.
    pub fn set_slot_later(&mut self, client: ClientKey, set: SetSlot) {
        self.pending_setslots.retain(|pending| pending.client != client);
        self.pending_setslots.push(PendingSetSlot { client, set });
    }

    /// What a client's SETSLOT asked for that waited, unless a node that it names is gone.
    pub fn take_pending_set_slot(&mut self, client: ClientKey) -> Option<SetSlot> {
        let place = self.pending_setslots.iter().position(|pending| pending.client == client)?;
        Some(self.pending_setslots.swap_remove(place).set)
    }
}
