//! A node of a cluster: what it knows of the others, which slots are whose, and what follows from what they say.
//!
//! [`Cluster`] is given messages, the time and what else a decision needs ([`View`]), and changes only itself: what is to
//! be sent waits in its links, what is to happen elsewhere is noted ([`Effect`], [`Todo`]). [`crate::server::Engine`]
//! brings that about when the message, command or turn of the cron is done (`settle.rs`). What is known is kept in the
//! node file (`file.rs`), which is Valkey's.

mod check;
mod claims;
mod clients;
mod cron;
mod describe;
mod election;
mod epochs;
pub mod file;
mod gossip;
mod info;
mod links;
mod lost_slots;
mod manual;
mod node;
mod open_slots;
mod receive;
mod replica_migration;
mod saving;
mod send;
mod settle;
mod shards;
mod slots;
mod state;
mod statistics;
#[cfg(test)]
mod tests;

pub(in crate::server) use check::slot_of_request;
pub use check::{Redirection, reader_of};
pub use describe::Reader;
pub use links::{Ends, Link, LinkId, Links};
pub use manual::FailoverMode;
pub use node::{Address, Announced, Node, NodeKey, Nodes, node_flag};
pub use open_slots::{SetSlot, SlotAction};
pub use statistics::{Metric, SlotStatistics};

use hashbrown::HashMap;

use crate::algorithms::slot::SLOTS;
use crate::bus::{NodeId, SlotSet};
use crate::config::Config;
use crate::memory::{MemoryUsage, box_usage, usable_size, vec_usage};
use crate::server::slot_migration::SlotMigrations;
use election::Election;
use manual::ManualFailover;
use saving::Saving;
use state::State;
use statistics::Statistics;

/// A table whose keys other nodes may choose.
type Map<K, V> = HashMap<K, V, std::hash::RandomState>;

/// How far the port of the bus is from the client port when none is given.
pub const BUS_PORT_OFFSET: u16 = 10_000;

/// What a node goes by beside what it knows of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The options.
    pub config: &'a Config,
    /// Unix ms.
    pub now_ms: i64,
    /// How far the own data is: what was written, or what of the primary's stream was applied.
    pub offset: i64,
    /// For how many milliseconds the primary has not been heard of.
    pub data_age_ms: i64,
}

/// What is to happen outside of the cluster's own state.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect to another node's bus.
    Connect(LinkId, String, u16),
    /// Become the replica of the server at this address and port.
    Follow {
        /// Its address.
        host: String,
        /// Its port.
        port: u16,
        /// What this server has is of no use there.
        full_sync: bool,
        /// Clients that wait for keys are sent away.
        ends_waits: bool,
    },
    /// Become a primary.
    Unfollow,
    /// Give a message to the subscribers of this node.
    Publish {
        /// Of a shard's channel.
        sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        message: Vec<u8>,
    },
    /// Hold writers back until then (Unix ms).
    HoldWriters(i64),
    /// Hold them back no longer.
    ReleaseWriters,
    /// Delete all data: it was another shard's.
    Flush,
}

/// What is due once the running message, command or turn of the cron is done.
#[derive(Debug, Default)]
pub struct Todo {
    /// The node file is out of date.
    pub save: bool,
    /// And what is sent from now on has to wait until it is on the disk.
    pub sync: bool,
    /// The state may be another one.
    pub update_state: bool,
    /// All nodes are to know at once.
    pub broadcast: bool,
    /// An election may go on.
    pub failover: bool,
    /// A manual failover may go on.
    pub manual_failover: bool,
    /// Slots that were taken from somebody: subscribers of their channels may have to go.
    pub released: Option<Box<SlotSet>>,
    /// Slots of which this node still has keys that are another shard's now.
    pub dirty: Option<Box<SlotSet>>,
    /// The keys that are there have to be held against the slots.
    pub verify_data: bool,
    /// Clients that wait for keys may wait in vain.
    pub check_waits: bool,
    /// What SETSLOT asked for and the replicas have done.
    pub set_slots: Vec<SetSlot>,
}

impl Todo {
    /// The node file is out of date, and has to be on the disk before anything is sent.
    fn save_synced(&mut self) {
        self.save = true;
        self.sync = true;
    }

    /// The node file is out of date, and the state may be another one.
    fn save_and_update(&mut self) {
        self.save = true;
        self.update_state = true;
    }
}

/// What DEBUG switches of the bus.
#[derive(Debug, Default, Clone, Copy)]
pub struct BusDebug {
    /// Messages of this type are dropped: its number; -2 for every type, -1 for none.
    pub drop_filter: Option<i64>,
    /// And the links that they came by are closed.
    pub closes_on_drop: bool,
    /// No node is pinged just by chance.
    pub no_random_ping: bool,
    /// No connection is made.
    pub no_reconnection: bool,
}

/// What went over the bus.
#[derive(Debug, Default)]
pub struct BusStatistics {
    /// Messages sent, by type.
    pub messages_sent: [u64; 11],
    /// Messages received, by type.
    pub messages_received: [u64; 11],
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent of messages to subscribers.
    pub publish_bytes_sent: u64,
    /// Bytes received of messages to subscribers.
    pub publish_bytes_received: u64,
    /// Bytes sent of modules' messages.
    pub module_bytes_sent: u64,
    /// Bytes received of modules' messages.
    pub module_bytes_received: u64,
    /// Links that were closed since too much waited on them.
    pub links_over_limit: u64,
}

/// A node and all it knows.
#[derive(Debug)]
pub struct Cluster {
    /// All nodes.
    pub nodes: Nodes,
    /// This one among them.
    pub myself: NodeKey,
    /// Whose a slot is.
    owners: Box<[Option<NodeKey>]>,
    /// Slots that their owners claim no longer; nobody else has claimed them yet.
    unclaimed: Box<SlotSet>,
    /// Slots on their way to other nodes.
    migrating: Map<u16, NodeKey>,
    /// Slots on their way to this one.
    importing: Map<u16, NodeKey>,
    /// The highest epoch that is known.
    pub current_epoch: u64,
    /// The epoch in which this node voted last.
    pub last_vote_epoch: u64,
    /// Nodes that were forgotten and until when they stay so, Unix seconds.
    forgotten: Map<NodeId, i64>,
    /// Connections.
    pub links: Links,
    state: State,
    election: Election,
    manual: ManualFailover,
    /// What went over the bus.
    pub bus: BusStatistics,
    /// What is due.
    pub todo: Todo,
    effects: Vec<Effect>,
    saving: Saving,
    /// What the commands on each slot cost, while that is wanted.
    statistics: Statistics,
    /// The slot that the running request is for.
    pub running_slot: Option<u16>,
    /// What DEBUG has switched.
    pub debug: BusDebug,
    /// The address that was announced last; with another one the own is found out anew.
    announced_ip: String,
    /// The port that the bus listens at.
    bus_port: Option<u16>,
    cron_turns: u64,
    failing: usize,
    /// Slots whose keys are being deleted.
    lost: lost_slots::LostSlots,
    /// Slots to be given to nodes once their replicas know: who asked.
    pending_setslots: Vec<open_slots::PendingSetSlot>,
    /// Slots that move as a whole (CLUSTER MIGRATESLOTS).
    pub migrations: SlotMigrations,
}

impl Cluster {
    /// A node that nobody has heard of, without slots.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        let mut cluster = Self::without_nodes();
        let myself = Node::new(NodeId::random(), node_flag::MYSELF | node_flag::PRIMARY, now_ms);
        if let Some(key) = cluster.nodes.add(myself) {
            cluster.myself = key;
        }
        cluster
    }

    /// Knows nothing, not even itself: to be filled before it is used.
    fn without_nodes() -> Self {
        Self {
            nodes: Nodes::default(),
            myself: NodeKey::FIRST,
            owners: vec![None; SLOTS].into_boxed_slice(),
            unclaimed: Box::default(),
            migrating: Map::default(),
            importing: Map::default(),
            current_epoch: 0,
            last_vote_epoch: 0,
            forgotten: Map::default(),
            links: Links::default(),
            state: State::default(),
            election: Election::default(),
            manual: ManualFailover::default(),
            bus: BusStatistics::default(),
            todo: Todo::default(),
            effects: Vec::new(),
            saving: Saving::default(),
            statistics: Statistics::default(),
            running_slot: None,
            debug: BusDebug::default(),
            announced_ip: String::new(),
            bus_port: None,
            cron_turns: 0,
            failing: 0,
            lost: lost_slots::LostSlots::default(),
            pending_setslots: Vec::new(),
            migrations: SlotMigrations::default(),
        }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> &Node {
        &self.nodes[self.myself]
    }

    /// This node, to change.
    pub fn me_mut(&mut self) -> &mut Node {
        &mut self.nodes[self.myself]
    }

    /// The primary of this node's shard: itself, or whose replica it is if that is known.
    #[must_use]
    pub fn own_primary(&self) -> Option<NodeKey> {
        if self.me().is_replica() { self.me().primary } else { Some(self.myself) }
    }

    /// The node of this id, as clients give it.
    #[must_use]
    pub fn find(&self, id: &[u8]) -> Option<NodeKey> {
        self.nodes.find(NodeId::parse(id)?)
    }

    /// Takes what the configuration says of this node into the table.
    pub fn refresh_myself(&mut self, config: &Config) {
        let or = |announced: u16, otherwise: u16| if announced == 0 { otherwise } else { announced };
        let text = |text: &crate::config::Text| text.as_str().into_owned();
        // The bus stays where it is when clients are listened to elsewhere.
        let bus_port = or(config.cluster_port, config.port.wrapping_add(BUS_PORT_OFFSET));
        let bus_port = *self.bus_port.get_or_insert(bus_port);
        let announced = Announced {
            hostname: text(&config.cluster_announce_hostname),
            human_name: text(&config.cluster_announce_human_nodename),
            zone: text(&config.availability_zone),
            client_ipv4: text(&config.cluster_announce_client_ipv4),
            client_ipv6: text(&config.cluster_announce_client_ipv6),
            client_port: config.cluster_announce_client_port,
            client_tls_port: config.cluster_announce_client_tls_port,
        };
        let ip = text(&config.cluster_announce_ip);
        let ip_changed = ip != self.announced_ip;
        let no_failover = config.cluster_replica_no_failover;
        let me = self.me_mut();
        let before = (me.announced.clone(), me.address.clone(), me.flags);
        me.announced = announced;
        me.address.port = or(config.cluster_announce_port, config.port);
        me.address.tls_port = config.cluster_announce_tls_port;
        me.address.bus_port = or(config.cluster_announce_bus_port, bus_port);
        if ip_changed {
            me.address.ip.clone_from(&ip);
        }
        me.set(node_flag::EXTENSIONS | node_flag::LIGHT_PUBLISH | node_flag::MULTI_MEET);
        me.copy_flags(if no_failover { node_flag::NOFAILOVER } else { 0 }, node_flag::NOFAILOVER);
        let flags_changed = me.flags != before.2;
        if flags_changed || (me.announced != before.0) || me.address != before.1 {
            self.todo.save = true;
            self.todo.update_state |= flags_changed;
        }
        self.announced_ip = ip;
    }

    /// Forgets what went over the bus, and what commands have cost (CONFIG RESETSTAT).
    pub fn reset_statistics(&mut self) {
        self.statistics.clear();
        self.bus = BusStatistics::default();
        (self.migrations.bytes_in, self.migrations.bytes_out) = (0, 0);
    }

    /// Bytes of the connections: buffers, and what waits to be sent.
    #[must_use]
    pub fn links_usage(&self) -> usize {
        self.links.memory_usage()
    }
}

impl MemoryUsage for Cluster {
    fn memory_usage(&self) -> usize {
        // The allocator is asked for blocks aligned to 16 bytes.
        let table = |bytes: usize| usable_size(bytes.next_multiple_of(16));
        box_usage::<Self>()
            + self.nodes.memory_usage()
            + usable_size(size_of_val::<[Option<NodeKey>]>(&self.owners))
            + box_usage::<SlotSet>()
            + table(self.migrating.allocation_size())
            + table(self.importing.allocation_size())
            + table(self.forgotten.allocation_size())
            + self.links.memory_usage()
            + vec_usage(&self.effects)
            + vec_usage(&self.pending_setslots)
            + vec_usage(&self.todo.set_slots)
            + usable_size(self.announced_ip.capacity())
            + self.saving.memory_usage()
            + self.lost.memory_usage()
            + self.statistics.memory_usage()
            + self.migrations.memory_usage()
    }
}
