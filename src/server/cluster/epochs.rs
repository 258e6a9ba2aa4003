//! Epochs: which of two nodes that claim a slot has the newer word.

use super::node::NodeKey;
use super::{Cluster, Node};

impl Cluster {
    /// The highest epoch of all.
    pub(super) fn highest_epoch(&self) -> u64 {
        let highest = self.nodes.iter().map(|(_, node)| node.config_epoch).max();
        highest.unwrap_or(0).max(self.current_epoch)
    }

    /// The epoch of a node's slots, a replica's primary's.
    pub(super) fn epoch_of(&self, node: &Node) -> u64 {
        node.primary.map_or(node.config_epoch, |primary| self.nodes[primary].config_epoch)
    }

    /// Makes the epoch of this node the highest without asking anybody; says whether it was not.
    pub fn bump_epoch(&mut self) -> bool {
        let own = self.me().config_epoch;
        if own != 0 && own == self.highest_epoch() {
            return false;
        }
        self.take_next_epoch();
        tracing::info!("New configEpoch set to {}", self.me().config_epoch);
        true
    }

    fn take_next_epoch(&mut self) {
        self.current_epoch += 1;
        self.me_mut().config_epoch = self.current_epoch;
        self.todo.save_synced();
        self.todo.broadcast = true;
    }

    /// Two primaries have the same epoch: the one with the lower id takes another.
    pub(super) fn resolve_collision(&mut self, sender: NodeKey) {
        let (node, me) = (&self.nodes[sender], self.me());
        let collides = node.config_epoch == me.config_epoch && node.is_primary() && me.is_primary();
        if !collides || node.id <= me.id {
            return;
        }
        let title = node.title();
        self.take_next_epoch();
        tracing::info!(
            "configEpoch collision with node {title}. configEpoch set to {}",
            self.me().config_epoch
        );
    }
}
