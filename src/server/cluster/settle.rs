//! Where the cluster's state meets the rest of the server: messages and commands go in, and what follows from them is
//! brought about when they are done.

use std::fs::File;
use std::io;

use super::check::view;
use super::links::{Ends, LinkId};
use super::manual::FailoverMode;
use super::receive::Verdict;
use super::{Cluster, Effect, SetSlot, Todo, View, node_flag};
use crate::bus::SlotSet;
use crate::keyspace::Keyspace;
use crate::replication::{Replica, ReplicaState};
use crate::server::propagation::Targets;
use crate::server::pubsub::Kind;
use crate::server::slot_migration::Direction;
use crate::server::{Engine, Hold, Server, Task};
use crate::sys::barrier::JobQueue;
use crate::sys::clock;

impl Server {
    /// How far the own data is, as nodes tell it: a replica's is what it has applied of its primary's stream.
    fn cluster_offset(&self) -> i64 {
        if !self.replication.is_replica() {
            return self.replication.offset();
        }
        let cached = || self.primary_link.cached().map(|cached| cached.offset);
        self.applied_offset().or_else(cached).unwrap_or(0).max(0)
    }

    /// For how long the primary has not been heard of, in milliseconds.
    fn primary_silence_ms(&self) -> i64 {
        let last_ms = match self.primary_link.client.and_then(|key| self.clients.get(key)) {
            Some(primary) => primary.last_interaction_ms,
            None => self.primary_link.down_since_ms,
        };
        self.now_ms / 1000 * 1000 - last_ms / 1000 * 1000
    }

    /// Has the cluster's state do something, with what it goes by.
    pub fn with_cluster<T>(&mut self, act: impl FnOnce(&mut Cluster, &View<'_>) -> T) -> Option<T> {
        let (offset, data_age_ms) = (self.cluster_offset(), self.primary_silence_ms());
        let cluster = self.cluster.as_deref_mut()?;
        Some(act(cluster, &view(&self.config, self.now_ms, offset, data_age_ms)))
    }

    /// How far a node's data is: what it said, or for this one what is so.
    #[must_use]
    pub fn offset_of(&self, cluster: &Cluster, key: super::NodeKey) -> i64 {
        if key == cluster.myself { self.cluster_offset() } else { cluster.nodes[key].offset }
    }

    /// Becomes a node. `lock` is that of the node file, `queue` the thread that writes it.
    pub fn enter_cluster(&mut self, mut cluster: Cluster, queue: JobQueue, lock: File) {
        cluster.saving.start(queue, self.aof.wake(), lock);
        cluster.refresh_myself(&self.config);
        cluster.todo = Todo::default();
        self.cluster = Some(Box::new(cluster));
    }

    /// Writes the node file at once, without making it last: the server starts.
    ///
    /// # Errors
    /// The system's.
    pub fn save_cluster(&mut self) -> io::Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        cluster.todo.save_synced();
        cluster.saving.wait_until_idle();
        let saved = super::file::save(self.config.cluster_config_file.as_path(), &cluster.file_text(), None);
        saved.map_err(|(_, error)| error)
    }

    /// The process ends: a replica takes its place if that is wished for, the node file is written, and another process
    /// may use it.
    pub fn leave_cluster(&mut self, failover: bool) {
        if failover && self.cluster.as_ref().is_some_and(|cluster| cluster.me().is_primary()) {
            self.hand_over();
        }
        let Some(cluster) = &mut self.cluster else { return };
        tracing::info!("Saving the cluster configuration file before exiting.");
        cluster.saving.wait_until_idle();
        cluster.saving.begin(&self.config, cluster.file_text(), true);
        cluster.saving.wait_until_idle();
        cluster.saving.unlock();
    }

    /// Has a replica that has everything take this node's place.
    fn hand_over(&mut self) {
        /// The first version whose replicas understand who of them is meant.
        const FIRST_THAT_CAN: u32 = 0x90000;
        let offset = self.replication.offset();
        let records = self.replication.replicas().iter();
        let replicas: Vec<&Replica> =
            records.filter_map(|key| self.clients.get(*key)?.replica.as_deref()).collect();
        if replicas.iter().any(|replica| replica.version < FIRST_THAT_CAN) {
            tracing::info!("Unable to perform auto failover on shutdown since there are legacy replicas.");
            return;
        }
        let is_level = |replica: &&&Replica| {
            replica.state == ReplicaState::Online
                && replica.acknowledged == offset
                && !replica.node_id.is_empty()
        };
        let Some(best) = replicas.iter().rfind(is_level).map(|replica| replica.node_id.clone()) else {
            tracing::info!("Unable to find a replica to perform the auto failover on shutdown.");
            return;
        };
        // All replicas share the stream; only the one that is named does it.
        self.feed_request(&[b"CLUSTER", b"FAILOVER", b"FORCE", b"REPLICAID", &best]);
        tracing::info!("Perform auto failover to replica {} on shutdown.", String::from_utf8_lossy(&best));
    }

    /// CLUSTER FAILOVER.
    pub fn fail_over_in_cluster(&mut self, mode: FailoverMode) {
        self.with_cluster(|cluster, view| cluster.begin_manual_failover(mode, view));
    }

    /// CLUSTER SETSLOT, once nothing has to be waited for.
    pub fn set_slot(&mut self, keyspace: &Keyspace, set: SetSlot) {
        self.with_cluster(|cluster, view| cluster.set_slot(set, keyspace, view));
    }

    /// A message that was published here goes to other nodes too.
    pub fn publish_in_cluster(&mut self, kind: Kind, channel: &[u8], message: &[u8]) {
        let sharded = kind == Kind::Shard;
        self.with_cluster(|cluster, view| cluster.publish(sharded, channel, message, view));
    }

    /// Options have changed that other nodes are told of, or that the state depends on.
    pub(in crate::server) fn cluster_options_changed(&mut self) {
        if let Some(cluster) = self.cluster.as_deref_mut() {
            cluster.refresh_myself(&self.config);
            cluster.todo.save_and_update();
        }
    }

    /// Whether clients that write are held back for a manual failover of the cluster: the stream must stand still.
    pub(in crate::server) fn holds_stream(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.fails_over_manually())
            && self.pauses.in_force(self.now_ms).is_some()
    }
}

impl Engine {
    /// A node has connected to the bus.
    pub fn accept_link(&mut self, ends: Ends) -> Option<LinkId> {
        let now_ms = clock::unix_ms();
        tracing::debug!("Accepting cluster node connection from {}", ends.peer);
        self.server.cluster.as_mut().map(|cluster| cluster.links.add(None, ends, now_ms).0)
    }

    /// A connection to another node stands.
    pub fn link_connected(&mut self, id: LinkId, ends: Ends) {
        self.server.now_ms = clock::unix_ms();
        self.server.with_cluster(|cluster, view| cluster.connected(id, ends, view));
        self.settle_cluster();
    }

    /// A connection of the bus has ended; `failure` says why it never stood.
    pub fn link_ended(&mut self, id: LinkId, failure: Option<&str>) {
        if let Some(cluster) = &mut self.server.cluster {
            cluster.link_ended(id, failure, clock::unix_ms());
        }
    }

    /// A whole message came on a link; `false` when the link is closed now.
    pub fn receive_on_link(&mut self, id: LinkId, bytes: &[u8]) -> bool {
        self.server.now_ms = clock::unix_ms();
        let verdict = self.server.with_cluster(|cluster, view| cluster.receive(id, bytes, view));
        self.settle_cluster();
        verdict == Some(Verdict::Keep)
    }

    /// What a node does at intervals. To be called by the cron.
    pub(in crate::server) fn run_cluster_cron(&mut self) {
        let server = &mut self.server;
        if server.cluster.is_none() || server.persistence.is_loading() && !server.replication.is_replica() {
            return;
        }
        server.with_cluster(|cluster, view| cluster.run_cron(view));
        self.run_slot_migration_cron();
        let server = &mut self.server;
        let follows = server.replication.is_replica();
        server.with_cluster(|cluster, _| {
            let me = cluster.me();
            let primary = me.primary.filter(|_| me.is_replica() && !follows);
            if let Some(primary) = primary.filter(|key| !cluster.nodes[*key].is(node_flag::NOADDR)) {
                cluster.follow_address(primary, false, false);
            }
        });
        self.settle_cluster();
    }

    /// Brings about what a message, a command or a turn of the cron has led to.
    pub fn settle_cluster(&mut self) {
        if self.server.cluster.is_none() {
            return;
        }
        self.finish_deletion();
        let set_slots =
            self.server.cluster.as_mut().map(|cluster| std::mem::take(&mut cluster.todo.set_slots));
        for set in set_slots.unwrap_or_default() {
            self.server.set_slot(&self.keyspace, set);
        }
        self.tend_slot_migrations();
        self.perform_effects();
        self.server.with_cluster(|cluster, view| {
            if cluster.todo.update_state {
                cluster.update_state(view);
            }
            let (manual, failover) = (cluster.todo.manual_failover, cluster.todo.failover);
            if manual || cluster.awaits_stream() {
                cluster.tend_manual_failover(view);
            }
            if cluster.me().is_replica() && (manual || failover || cluster.todo.failover) {
                cluster.tend_failover(view);
            }
        });
        self.perform_effects();
        // What a change of this node's role has led to, before keys of lost slots are deleted.
        self.tend_slot_migrations();
        self.clean_slots();
        self.send_clients_on();
        self.save_and_send();
    }

    fn perform_effects(&mut self) {
        while let Some(effects) =
            self.server.cluster.as_mut().map(|cluster| std::mem::take(&mut cluster.effects))
            && !effects.is_empty()
        {
            effects.into_iter().for_each(|effect| self.perform(effect));
        }
    }

    fn perform(&mut self, effect: Effect) {
        let server = &mut self.server;
        match effect {
            Effect::Connect(link, ip, port) => server.ask(Task::ConnectBus(link, ip, port)),
            Effect::Follow { host, port, full_sync, ends_waits } => {
                server.follow_in_cluster(host.as_bytes(), port, full_sync, ends_waits);
            }
            Effect::Unfollow => server.unfollow(),
            Effect::Publish { sharded, channel, message } => {
                let kind = if sharded { Kind::Shard } else { Kind::Channel };
                server.publish(None, kind, &channel, &message);
            }
            Effect::HoldWriters(until_ms) => server.pauses.hold(Hold::ClusterFailover(until_ms)),
            Effect::ReleaseWriters => server.release(Hold::ClusterFailover(0)),
            Effect::Flush => {
                self.empty_data();
                // An append-only file must not bring it back.
                self.server.propagation.push(0, Targets::AOF, [b"FLUSHALL".as_slice()].into_iter());
                self.server.end_unit();
            }
        }
    }

    /// Deletes the keys of slots that are another shard's, and takes those slots with keys that are nobody's.
    fn clean_slots(&mut self) {
        let Some(cluster) = self.server.cluster.as_deref_mut() else { return };
        let mut foreign = cluster.todo.dirty.take().map(|dirty| *dirty).unwrap_or_default();
        if std::mem::take(&mut cluster.todo.verify_data) {
            let found = cluster.take_slots_of_keys(&self.keyspace);
            foreign = foreign.iter().chain(found.iter()).collect();
        }
        if cluster.me().is_primary() && !foreign.is_empty() {
            let me = cluster.me();
            let (title, shard) = (me.title(), me.shard);
            let dirty: SlotSet =
                foreign.iter().filter(|slot| self.keyspace.keys_in_slot(*slot) > 0).collect();
            for slot in dirty.iter() {
                tracing::info!("Deleting keys in dirty slot {slot} on node {title} in shard {shard}");
            }
            self.delete_slots(&dirty);
        }
    }

    /// Clients that wait for what is not served here any more are sent on.
    fn send_clients_on(&mut self) {
        let Some(cluster) = self.server.cluster.as_deref_mut() else { return };
        let released = cluster.todo.released.take();
        let check_waits = std::mem::take(&mut cluster.todo.check_waits) || released.is_some();
        if let Some(released) = released {
            self.server.end_channels(&released);
        }
        if check_waits {
            self.server.end_unserved_waits();
        }
    }

    /// Has the node file written if that is due, tells the other nodes if they are to know, and lets what was queued go.
    fn save_and_send(&mut self) {
        self.server.with_cluster(|cluster, view| {
            cluster.saving.hear_of_failures(view.config, view.now_ms);
            let Todo { save, sync, broadcast, .. } = std::mem::take(&mut cluster.todo);
            let mut gate = 0;
            if save {
                let number = cluster.saving.want(sync);
                gate = if sync { number } else { 0 };
            }
            if let Some(sync) = cluster.saving.take_due() {
                let text = cluster.file_text();
                cluster.saving.begin(view.config, text, sync);
            }
            if broadcast {
                cluster.broadcast_pong(false, view);
            }
            let saved = cluster.saving.saved();
            cluster.links.release(gate, saved);
        });
    }

    /// What a link may send now: the bytes, and whether more waits.
    #[must_use]
    pub fn sendable_on_link(&self, id: LinkId) -> Option<&[u8]> {
        let cluster = self.server.cluster.as_deref()?;
        cluster.links.get(id).map(|link| link.sendable(cluster.saving.saved()))
    }

    /// Whether a link's socket has more to take than it takes.
    pub fn set_link_stuck(&mut self, id: LinkId, stuck: bool) {
        if let Some(link) = self.server.cluster.as_mut().and_then(|cluster| cluster.links.get_mut(id)) {
            link.stuck = stuck;
        }
    }

    /// A link's task and socket hold so many bytes more.
    pub fn note_link_task(&mut self, id: LinkId, bytes: usize) {
        if let Some(link) = self.server.cluster.as_mut().and_then(|cluster| cluster.links.get_mut(id)) {
            link.task_bytes += bytes;
        }
    }

    /// So many bytes hold what is received on a link.
    pub fn note_receive_buffer(&mut self, id: LinkId, bytes: usize) {
        if let Some(link) = self.server.cluster.as_mut().and_then(|cluster| cluster.links.get_mut(id)) {
            link.receive_bytes = bytes;
        }
    }

    /// So many bytes were sent on a link.
    pub fn note_sent_on_link(&mut self, id: LinkId, count: usize) {
        let Some(cluster) = self.server.cluster.as_deref_mut() else { return };
        let kind = cluster.links.get_mut(id).and_then(|link| link.note_sent(count));
        cluster.count_sent(kind, count);
    }

    /// The data is loaded: slots of keys that nobody serves are this node's, and keys of other nodes' slots go.
    pub fn verify_cluster_data(&mut self) {
        if self.server.cluster.as_ref().is_some_and(|cluster| cluster.me().is_primary()) {
            // Whoever sends them has begun anew, or given up. A replica's primary will say what becomes of them.
            self.server.fail_slot_migrations(Some(Direction::Import), "Process restarted");
        }
        if let Some(cluster) = &mut self.server.cluster {
            cluster.todo.verify_data = true;
            self.settle_cluster();
        }
    }
}
