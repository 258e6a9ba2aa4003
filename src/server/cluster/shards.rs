//! Who is whose replica and which nodes are a shard; taking nodes in and forgetting them.

use super::node::{Address, Node, NodeKey, node_flag};
use super::{Cluster, Effect, View};
use crate::bus::NodeId;

/// A forgotten node's time is a peer's to say; more than this it is not kept.
const LONGEST_FORGOTTEN_S: u64 = 365 * 24 * 3600;

impl Cluster {
    /// The replicas of a node, in the order of their ids.
    #[must_use]
    pub fn replicas_of(&self, primary: NodeKey) -> Vec<NodeKey> {
        let replicas = self.nodes.iter().filter(|(_, node)| node.primary == Some(primary));
        let mut replicas: Vec<(NodeId, NodeKey)> = replicas.map(|(key, node)| (node.id, key)).collect();
        replicas.sort_unstable();
        replicas.into_iter().map(|(_, key)| key).collect()
    }

    /// Replicas of a node that have not failed.
    pub(super) fn working_replicas(&self, primary: NodeKey) -> usize {
        let works = |node: &Node| node.primary == Some(primary) && !node.is(node_flag::FAIL);
        self.nodes.iter().filter(|(_, node)| works(node)).count()
    }

    /// The end of a node's chain of primaries: itself, if it is none's replica.
    #[must_use]
    pub fn primary_of(&self, node: NodeKey) -> NodeKey {
        let mut primary = node;
        while let Some(next) = self.nodes[primary].primary {
            primary = next;
            if primary == node {
                break;
            }
        }
        primary
    }

    /// Whether two nodes are of the same shard.
    pub(super) fn are_in_same_shard(&self, one: NodeKey, other: NodeKey) -> bool {
        self.nodes[one].shard == self.nodes[other].shard
    }

    /// The shards: their ids, and their nodes in the order of the table. Nodes that are in handshake are in none.
    #[must_use]
    pub fn shards(&self) -> Vec<(NodeId, Vec<NodeKey>)> {
        let mut shards: Vec<(NodeId, Vec<NodeKey>)> = Vec::new();
        for (key, node) in self.nodes.iter().filter(|(_, node)| !node.is(node_flag::HANDSHAKE)) {
            match shards.iter_mut().find(|(shard, _)| *shard == node.shard) {
                Some((_, nodes)) => nodes.push(key),
                None => shards.push((node.shard, vec![key])),
            }
        }
        shards
    }

    /// A node is a replica of another from now on. What follows for this server itself is the caller's.
    pub(super) fn attach_replica(&mut self, replica: NodeKey, primary: NodeKey) {
        self.detach_replica(replica);
        self.nodes[replica].primary = Some(primary);
        self.nodes[primary].set(node_flag::MIGRATE_TO);
    }

    /// A node is nobody's replica any more.
    pub(super) fn detach_replica(&mut self, replica: NodeKey) {
        let Some(former) = self.nodes[replica].primary.take() else { return };
        if !self.nodes.iter().any(|(_, node)| node.primary == Some(former)) {
            self.nodes[former].clear(node_flag::MIGRATE_TO);
        }
    }

    /// A node that was a replica is a primary.
    pub(super) fn set_primary_role(&mut self, key: NodeKey) {
        if self.nodes[key].is_primary() {
            return;
        }
        let node = &self.nodes[key];
        tracing::info!("Reconfiguring node {} as primary for shard {}", node.title(), node.shard);
        if node.primary.is_some() {
            self.detach_replica(key);
            if key != self.myself {
                self.nodes[key].set(node_flag::MIGRATE_TO);
            }
        }
        let node = &mut self.nodes[key];
        node.clear(node_flag::REPLICA);
        node.set(node_flag::PRIMARY);
        if key == self.myself {
            self.effects.push(Effect::Unfollow);
        }
        self.todo.save_and_update();
    }

    /// This node becomes the replica of another. `full_sync`: what it has is of no use there.
    pub(super) fn follow(&mut self, primary: NodeKey, close_slots: bool, full_sync: bool, ends_waits: bool) {
        self.migrations.ownership_changed = true;
        self.detach_replica(self.myself);
        let me = self.me_mut();
        me.clear(node_flag::PRIMARY | node_flag::MIGRATE_TO | node_flag::PRIMARY_FAILED);
        me.set(node_flag::REPLICA);
        if close_slots {
            self.migrating.clear();
            self.importing.clear();
        }
        let shard = self.nodes[primary].shard;
        self.me_mut().shard = shard;
        self.attach_replica(self.myself, primary);
        self.follow_address(primary, full_sync, ends_waits);
        // Channels of slots that are not the new shard's end.
        let released = self.todo.released.get_or_insert_default();
        (0..crate::algorithms::slot::SLOTS as u16).for_each(|slot| {
            released.insert(slot);
        });
        self.reset_manual_failover();
        self.election.at_ms = 0;
        self.todo.check_waits = true;
    }

    /// Has this server replicate the one at a node's address.
    pub(super) fn follow_address(&mut self, primary: NodeKey, full_sync: bool, ends_waits: bool) {
        let Address { ip, port, .. } = &self.nodes[primary].address;
        let (host, port) = (ip.clone(), *port);
        self.effects.push(Effect::Follow { host, port, full_sync, ends_waits });
    }

    /// A node says of which shard it is. A replica is of its primary's shard whatever it says.
    pub(super) fn update_shard(&mut self, key: NodeKey, shard: NodeId) {
        let primary = self.primary_of(key);
        let node = &self.nodes[key];
        if node.is_replica() && self.nodes[primary].shard != shard {
            tracing::info!(
                "Shard id {shard} update request for node id {} diverges from existing primary shard id {}, rejecting!",
                node.id,
                self.nodes[primary].shard
            );
            return;
        }
        if node.shard != shard {
            self.nodes[key].shard = shard;
            self.todo.save = true;
        }
        if key != self.myself && self.me().primary == Some(key) && self.me().shard != shard {
            self.me_mut().shard = shard;
            self.todo.save_synced();
        }
    }

    /// Takes a node out of the table and everything that refers to it.
    pub fn forget_node(&mut self, key: NodeKey, now_ms: i64) {
        if key == self.myself || !self.nodes.holds(key) {
            return;
        }
        tracing::debug!("Deleting node {} from cluster view", self.nodes[key].title());
        self.release_slots_of(key);
        self.migrating.retain(|_, node| *node != key);
        self.importing.retain(|_, node| *node != key);
        self.detach_replica(key);
        for (_, node) in self.nodes.iter_mut() {
            node.reports.retain(|(reporter, _)| *reporter != key);
            if node.primary == Some(key) {
                node.primary = None;
            }
        }
        if self.manual.replica == Some(key) {
            self.reset_manual_failover();
        }
        self.pending_setslots.retain(|pending| pending.set.node != Some(key));
        let node = &self.nodes[key];
        for link in [node.link, node.inbound].into_iter().flatten() {
            self.free_link(link, now_ms);
        }
        self.nodes.remove(key);
    }

    /// Begins a handshake with whoever is at this address; `false` when one is under way.
    pub fn begin_handshake(&mut self, address: Address, now_ms: i64) -> bool {
        let same = |node: &Node| {
            node.is(node_flag::HANDSHAKE)
                && node.address.ip.eq_ignore_ascii_case(&address.ip)
                && (node.address.port, node.address.bus_port) == (address.port, address.bus_port)
        };
        if self.nodes.iter().any(|(_, node)| same(node)) {
            return false;
        }
        let flags = node_flag::HANDSHAKE | node_flag::MEET;
        self.nodes.add(Node { address, ..Node::new(NodeId::random(), flags, now_ms) });
        true
    }

    /// Forgets a node for `cluster-blacklist-ttl` seconds, so that nobody's gossip brings it back.
    pub fn forget_for_a_while(&mut self, key: NodeKey, view: &View<'_>) {
        let ttl = view.config.cluster_blacklist_ttl.min(LONGEST_FORGOTTEN_S).cast_signed();
        self.forgotten.insert(self.nodes[key].id, view.now_ms / 1000 + ttl);
        self.forget_node(key, view.now_ms);
        self.todo.save_and_update();
    }

    /// The same since another node says so.
    pub(super) fn forget_as_told(&mut self, id: NodeId, seconds: u64, view: &View<'_>) {
        let Some(key) = self.nodes.find(id) else { return };
        if key == self.myself || self.me().primary == Some(key) {
            return;
        }
        let until = view.now_ms / 1000 + seconds.min(LONGEST_FORGOTTEN_S).cast_signed();
        self.forgotten.insert(id, until);
        self.forget_node(key, view.now_ms);
        self.todo.save_and_update();
    }

    /// Whether a node is to stay forgotten.
    pub fn is_forgotten(&mut self, id: NodeId, now_ms: i64) -> bool {
        self.forgotten.retain(|_, until| *until >= now_ms / 1000);
        self.forgotten.contains_key(&id)
    }

    /// Nodes that are to stay forgotten, and for how many seconds.
    pub(super) fn forgotten(&self, now_ms: i64) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        let left = move |until: i64| u64::try_from(until - now_ms / 1000).ok();
        self.forgotten.iter().filter_map(move |(id, until)| Some((*id, left(*until)?)))
    }

    /// Forgets everybody else and every slot. After a hard reset it is another node altogether.
    pub fn reset(&mut self, hard: bool, now_ms: i64) {
        self.migrating.clear();
        self.importing.clear();
        self.reset_manual_failover();
        (0..crate::algorithms::slot::SLOTS as u16).for_each(|slot| {
            self.release_slot(slot);
        });
        for key in self.nodes.keys() {
            self.forget_node(key, now_ms);
        }
        self.forgotten.clear();
        if hard {
            (self.current_epoch, self.last_vote_epoch) = (0, 0);
            self.me_mut().config_epoch = 0;
            tracing::info!("configEpoch set to 0 via CLUSTER RESET HARD");
            self.nodes.rename(self.myself, NodeId::random());
            tracing::info!("Node hard reset, now I'm {}", self.me().id);
        }
        self.me_mut().shard = NodeId::random();
        tracing::info!("Moving myself to a new shard {}.", self.me().shard);
        if self.me().is_replica() {
            self.set_primary_role(self.myself);
            self.effects.push(Effect::Flush);
        }
        self.todo.save_synced();
        self.todo.update_state = true;
    }

    /// Stops replicating and becomes a primary without data, in a shard of its own (CLUSTER REPLICATE NO ONE).
    pub fn replicate_no_one(&mut self) {
        self.set_primary_role(self.myself);
        self.effects.push(Effect::Flush);
        self.migrating.clear();
        self.importing.clear();
        self.reset_manual_failover();
        self.me_mut().shard = NodeId::random();
        tracing::info!("Moving myself to a new shard {}.", self.me().shard);
        self.todo.verify_data = true;
        self.todo.save_and_update();
        self.todo.broadcast = true;
    }

    /// Becomes the replica of a primary (CLUSTER REPLICATE).
    pub fn replicate(&mut self, primary: NodeKey) {
        self.follow(primary, true, true, true);
        self.todo.save_and_update();
        self.todo.broadcast = true;
    }
}
