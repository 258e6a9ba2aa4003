//! Replica migration: a replica of a primary that has several goes to a primary that has lost all of its own.

use super::node::{NodeKey, node_flag};
use super::{Cluster, View};

/// For so long a primary has to be without replicas before one comes, in milliseconds.
const DELAY_MS: i64 = 5000;

/// How replicas are spread over the primaries, as a turn of the cron counts them.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// Primaries that have lost their replicas.
    pub(super) orphaned: usize,
    /// Most working replicas that a primary has.
    pub(super) most: usize,
    /// Working replicas of this node's primary.
    pub(super) own: usize,
}

impl Cluster {
    /// Counts the working replicas of each primary. Only a replica wants to know.
    pub(super) fn spread(&self) -> Spread {
        let mut spread = Spread::default();
        let apart = node_flag::MYSELF | node_flag::NOADDR | node_flag::HANDSHAKE | node_flag::FAIL;
        for (key, node) in self.nodes.iter().filter(|(_, node)| node.is_primary() && !node.is(apart)) {
            let working = self.working_replicas(key);
            if working == 0 && node.slot_count > 0 && node.is(node_flag::MIGRATE_TO) {
                spread.orphaned += 1;
            }
            spread.most = spread.most.max(working);
            if self.me().primary == Some(key) {
                spread.own = working;
            }
        }
        spread
    }

    /// Goes to a primary without replicas if this is the replica to go.
    pub(super) fn migrate_replica(&mut self, most: usize, view: &View<'_>) {
        let Some(primary) = self.me().primary.filter(|_| self.is_ok()) else { return };
        let failing = node_flag::FAIL | node_flag::PFAIL;
        let siblings =
            self.nodes.iter().filter(|(_, node)| node.primary == Some(primary) && !node.is(failing));
        if siblings.count() <= view.config.cluster_migration_barrier as usize {
            return;
        }
        let mut target: Option<NodeKey> = None;
        let mut candidate = self.me().id;
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let working = if node.is_primary() { self.working_replicas(key) } else { 0 };
            let is_orphaned = node.is_primary()
                && !node.is(node_flag::FAIL)
                && node.is(node_flag::MIGRATE_TO)
                && working == 0;
            if is_orphaned && target.is_none() && node.slot_count > 0 {
                target = Some(key);
            }
            if node.is_primary() && working == most {
                let replicas = self.nodes.iter().filter(|(_, other)| other.primary == Some(key));
                candidate = replicas.map(|(_, replica)| replica.id).fold(candidate, Ord::min);
            }
            let node = &mut self.nodes[key];
            match is_orphaned {
                true if node.orphaned_ms == 0 => node.orphaned_ms = view.now_ms,
                true => {}
                false => node.orphaned_ms = 0,
            }
        }
        let Some(target) = target.filter(|_| candidate == self.me().id) else { return };
        let node = &self.nodes[target];
        if view.now_ms - node.orphaned_ms <= DELAY_MS {
            return;
        }
        tracing::info!("Migrating to orphaned primary {} in shard {}", node.title(), node.shard);
        self.follow(target, true, true, true);
        self.todo.save_synced();
        self.todo.broadcast = true;
    }
}
