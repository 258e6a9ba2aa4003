//! What follows when a node claims slots: who has them from now on, and what becomes of this node when its shard loses
//! its last one.

use super::node::NodeKey;
use super::{Cluster, View};
use crate::algorithms::slot::SLOTS;
use crate::bus::SlotSet;

/// Slots in a row that went from one node to another, for the log.
#[derive(Debug, Default)]
struct Moved {
    row: Option<(u16, u16, NodeKey)>,
}

/// What the slots of a claim came to.
#[derive(Debug, Default)]
struct Outcome {
    /// Slots claimed.
    claimed: usize,
    /// Slots of this node's shard that went to the sender.
    lost: usize,
    /// Slots that this node served itself.
    own: SlotSet,
}

impl Cluster {
    fn log_row(&self, (first, last, source): (u16, u16, NodeKey), target: NodeKey) {
        let (source, target) = (&self.nodes[source], &self.nodes[target]);
        tracing::info!(
            "Slot range [{first}, {last}] is migrated from node {} in shard {} to node {} in shard {}.",
            source.title(),
            source.shard,
            target.title(),
            target.shard
        );
    }

    fn note_moved(&self, moved: &mut Moved, slot: u16, source: NodeKey, target: NodeKey) {
        match &mut moved.row {
            Some((_, last, from)) if *last + 1 == slot && *from == source => *last = slot,
            row => {
                if let Some(row) = row.replace((slot, slot, source)) {
                    self.log_row(row, target);
                }
            }
        }
    }

    /// A node (which need not be who said so) claims these slots by this epoch, and no others.
    pub(super) fn accept_claim(&mut self, sender: NodeKey, epoch: u64, slots: &SlotSet, view: &View<'_>) {
        if sender == self.myself {
            tracing::info!("Discarding UPDATE message about myself.");
            return;
        }
        let same_shard = self.are_in_same_shard(sender, self.myself);
        let shard_primary = self.own_primary();
        let (mut outcome, mut moved) = (Outcome::default(), Moved::default());
        for slot in 0..SLOTS as u16 {
            if !slots.contains(slot) {
                self.note_not_claimed(slot, sender, epoch);
                continue;
            }
            outcome.claimed += 1;
            let owner = self.owner(slot);
            if owner == Some(sender) {
                self.unclaimed.remove(slot);
                continue;
            }
            let is_free = self.is_unclaimed(slot);
            let is_older = owner.is_some_and(|owner| self.nodes[owner].config_epoch < epoch);
            // An import of this node's own may have raised its epoch since it granted the slot.
            if !is_free && !is_older && !self.migrations.failover_granted(slot) {
                continue;
            }
            if let Some(owner) = owner.filter(|owner| !is_free && !self.are_in_same_shard(*owner, sender)) {
                self.note_moved(&mut moved, slot, owner, sender);
            }
            if owner == Some(self.myself) {
                outcome.own.insert(slot);
            }
            if owner.is_some() && owner == shard_primary {
                outcome.lost += 1;
            }
            self.settle_open_slot(slot, sender, same_shard);
            self.move_slot(sender, slot);
            self.todo.save_synced();
            self.todo.update_state = true;
        }
        if let Some(row) = moved.row {
            self.log_row(row, sender);
        }
        self.follow_claim(sender, epoch, same_shard, shard_primary, outcome, view);
    }

    /// A slot on its way goes to a node.
    fn settle_open_slot(&mut self, slot: u16, sender: NodeKey, same_shard: bool) {
        // Within the shard it is a failover, and the slot stays on its way.
        if !same_shard && let Some(target) = self.migrating.remove(&slot) {
            let target = &self.nodes[target];
            tracing::info!(
                "Slot {slot} is no longer being migrated to node {} in shard {}.",
                target.title(),
                target.shard
            );
        }
        let Some(source) = self.importing.get(&slot).copied().filter(|source| *source != sender) else {
            return;
        };
        let node = &self.nodes[source];
        if self.are_in_same_shard(sender, source) {
            tracing::debug!(
                "Failover occurred in migration source. Update importing source for slot {slot} to node {} in shard {}.",
                self.nodes[sender].title(),
                self.nodes[sender].shard
            );
            self.importing.insert(slot, sender);
        } else {
            tracing::info!(
                "Slot {slot} is no longer being imported from node {} in shard {}.",
                node.title(),
                node.shard
            );
            self.importing.remove(&slot);
        }
    }

    /// A node does not claim a slot.
    fn note_not_claimed(&mut self, slot: u16, sender: NodeKey, epoch: u64) {
        if self.owner(slot) == Some(sender) {
            // It stays bound so that clients are only sent around and not away; but nobody is told so any more.
            self.unclaimed.insert(slot);
        }
        if let Some(target) = self.migrating.get(&slot).copied()
            && target != sender
            && (self.nodes[target].config_epoch < epoch || self.nodes[target].is_replica())
            && self.are_in_same_shard(target, sender)
        {
            tracing::debug!(
                "Failover occurred in migration target. Slot {slot} is now being migrated to node {} in shard {}.",
                self.nodes[sender].title(),
                self.nodes[sender].shard
            );
            self.migrating.insert(slot, sender);
            self.todo.save_synced();
            self.todo.update_state = true;
        }
        if self.me().is_primary() && self.importing.get(&slot) == Some(&sender) {
            // The source has let go: the end of the import was missed here, or by the primary that this node follows.
            tracing::info!(
                "Slot {slot} is no longer being imported from node {} in shard {}; Clear my importing source for the slot.",
                self.nodes[sender].title(),
                self.nodes[sender].shard
            );
            self.importing.remove(&slot);
            if !self.serves(slot) {
                self.move_slot(self.myself, slot);
                self.bump_epoch();
                self.todo.save_synced();
                self.todo.update_state = true;
            }
        }
    }

    /// What a claim makes of this node.
    fn follow_claim(
        &mut self,
        sender: NodeKey,
        epoch: u64,
        same_shard: bool,
        shard_primary: Option<NodeKey>,
        outcome: Outcome,
        view: &View<'_>,
    ) {
        let me = self.me();
        let both_empty = outcome.claimed == 0
            && me.slot_count == 0
            && me.primary != Some(sender)
            && self.epoch_of(me) < epoch
            && same_shard;
        let is_new_primary = outcome.lost > 0 || both_empty;
        let shard_is_empty = shard_primary.is_some_and(|primary| self.nodes[primary].slot_count == 0);
        let node = &self.nodes[sender];
        if is_new_primary && shard_is_empty {
            if view.config.cluster_allow_replica_migration || same_shard {
                tracing::info!(
                    "Configuration change detected. Reconfiguring myself as a replica of node {} in shard {}",
                    node.title(),
                    node.shard
                );
                self.follow(sender, !same_shard, !same_shard, true);
                self.todo.save_synced();
                self.todo.update_state = true;
                self.todo.broadcast = true;
                return;
            }
            if me.is_primary() && outcome.claimed >= outcome.lost {
                tracing::info!(
                    "My last slot was migrated to node {} in shard {}. I am now an empty primary.",
                    node.title(),
                    node.shard
                );
            } else {
                return;
            }
        }
        if !outcome.own.is_empty() {
            self.todo.dirty = Some(Box::new(match self.todo.dirty.take() {
                Some(before) => before.iter().chain(outcome.own.iter()).collect(),
                None => outcome.own,
            }));
        }
    }
}
