//! One node of the cluster as this one knows it, and the table of all of them.
//!
//! Nodes refer to each other by [`NodeKey`]: a place in the table, which goes to another node only after every reference
//! to the former one is gone ([`super::Cluster::forget_node`] sees to it).

use std::num::NonZeroU16;
use std::ops::{Index, IndexMut};

use hashbrown::HashMap;

use super::links::LinkId;
use crate::bus::{NodeId, SlotSet};
use crate::memory::{MemoryUsage, box_usage, usable_size, vec_usage};

/// What a node is, one bit each, as messages say it.
pub mod node_flag {
    /// A primary.
    pub const PRIMARY: u16 = 1;
    /// A replica.
    pub const REPLICA: u16 = 1 << 1;
    /// It does not answer.
    pub const PFAIL: u16 = 1 << 2;
    /// Most primaries say that it does not answer.
    pub const FAIL: u16 = 1 << 3;
    /// This very node.
    pub const MYSELF: u16 = 1 << 4;
    /// Its id is not known yet.
    pub const HANDSHAKE: u16 = 1 << 5;
    /// Its address is not known any more.
    pub const NOADDR: u16 = 1 << 6;
    /// It is to be asked to take this node into its cluster.
    pub const MEET: u16 = 1 << 7;
    /// A primary that replicas may move to once it has none.
    pub const MIGRATE_TO: u16 = 1 << 8;
    /// It will not take its primary's place.
    pub const NOFAILOVER: u16 = 1 << 9;
    /// It understands extensions.
    pub const EXTENSIONS: u16 = 1 << 10;
    /// It understands the short header of messages to subscribers.
    pub const LIGHT_PUBLISH: u16 = 1 << 11;
    /// It understands a MEET when it knows the sender.
    pub const MULTI_MEET: u16 = 1 << 12;
    /// A replica whose primary has failed as it sees it.
    pub const PRIMARY_FAILED: u16 = 1 << 13;
}
use node_flag::{FAIL, HANDSHAKE, MEET, PFAIL, PRIMARY, REPLICA};

/// The place of a node in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey(NonZeroU16);

/// Where a node is and what it calls itself: what it announces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Its address; empty while it is not known.
    pub ip: String,
    /// Its port for clients.
    pub port: u16,
    /// The same over TLS, 0 for none.
    pub tls_port: u16,
    /// The port of its bus.
    pub bus_port: u16,
}

/// What a node announces beside its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// Host name.
    pub hostname: String,
    /// Name for humans.
    pub human_name: String,
    /// Where it stands.
    pub zone: String,
    /// The IPv4 address that clients are told.
    pub client_ipv4: String,
    /// The IPv6 address that clients are told.
    pub client_ipv6: String,
    /// The port that clients are told, 0 for the usual one.
    pub client_port: u16,
    /// The same over TLS.
    pub client_tls_port: u16,
}

/// A node. Times are Unix ms, 0 for never.
#[derive(Debug)]
pub struct Node {
    /// Its id; a random one while it is in handshake.
    pub id: NodeId,
    /// The id of its shard.
    pub shard: NodeId,
    /// See [`node_flag`].
    pub flags: u16,
    /// The epoch of its slots.
    pub config_epoch: u64,
    /// The slots that it serves.
    pub slots: SlotSet,
    /// How many they are.
    pub slot_count: usize,
    /// Its primary, if it is a replica and that is known.
    pub primary: Option<NodeKey>,
    /// Where it is.
    pub address: Address,
    /// What it announces.
    pub announced: Announced,
    /// When it came into the table.
    pub created_ms: i64,
    /// When it was pinged and has not answered since.
    pub ping_sent_ms: i64,
    /// When it last answered.
    pub pong_received_ms: i64,
    /// When anything came from it.
    pub data_received_ms: i64,
    /// When it was asked to take this node in.
    pub meet_sent_ms: i64,
    /// Since when it counts as failed.
    pub failed_ms: i64,
    /// Since when it has been a primary that has lost its replicas.
    pub orphaned_ms: i64,
    /// When it was last tried to connect to it.
    pub connect_ms: i64,
    /// When its own connection to this node ended.
    pub inbound_ended_ms: i64,
    /// How far its data is, as far as it said.
    pub offset: i64,
    /// The connection to it.
    pub link: Option<LinkId>,
    /// Its connection to this node.
    pub inbound: Option<LinkId>,
    /// Which primaries say that it does not answer, and when they did.
    pub reports: Vec<(NodeKey, i64)>,
}

impl Node {
    /// A node of which only its id is known.
    #[must_use]
    pub fn new(id: NodeId, flags: u16, now_ms: i64) -> Self {
        Self {
            id,
            shard: NodeId::random(),
            flags,
            config_epoch: 0,
            slots: SlotSet::default(),
            slot_count: 0,
            primary: None,
            address: Address::default(),
            announced: Announced::default(),
            created_ms: now_ms,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            data_received_ms: 0,
            meet_sent_ms: 0,
            failed_ms: 0,
            orphaned_ms: 0,
            connect_ms: 0,
            inbound_ended_ms: now_ms,
            offset: 0,
            link: None,
            inbound: None,
            reports: Vec::new(),
        }
    }

    /// Whether it has one of these flags.
    #[must_use]
    pub fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    /// Gives it flags.
    pub fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Takes flags from it.
    pub fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }

    /// Gives it those of the flags in `of` that `flags` has, and takes the others.
    pub fn copy_flags(&mut self, flags: u16, of: u16) {
        self.flags = self.flags & !of | flags & of;
    }

    /// Whether it is a primary.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.is(PRIMARY)
    }

    /// Whether it is a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.is(REPLICA)
    }

    /// Whether it has a vote: it is a primary with slots.
    #[must_use]
    pub fn votes(&self) -> bool {
        self.is_primary() && self.slot_count > 0
    }

    /// Whether nothing is wrong with it.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        !self.is(HANDSHAKE | MEET | PFAIL | FAIL)
    }

    /// What the log calls it: its name for humans, or its address.
    #[must_use]
    pub fn name(&self) -> String {
        let Address { ip, port, .. } = &self.address;
        match self.announced.human_name.as_str() {
            "" if ip.contains(':') => format!("[{ip}]:{port}"),
            "" => format!("{ip}:{port}"),
            name => name.to_owned(),
        }
    }

    /// Its id and what the log calls it.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} ({})", self.id, self.name())
    }
}

impl MemoryUsage for Node {
    fn memory_usage(&self) -> usize {
        let Announced { hostname, human_name, zone, client_ipv4, client_ipv6, .. } = &self.announced;
        let texts = [&self.address.ip, hostname, human_name, zone, client_ipv4, client_ipv6];
        box_usage::<Self>()
            + vec_usage(&self.reports)
            + texts.iter().map(|text| usable_size(text.capacity())).sum::<usize>()
    }
}

/// All nodes that are known, this one among them.
#[derive(Debug)]
pub struct Nodes {
    places: Vec<Option<Box<Node>>>,
    by_id: HashMap<NodeId, NodeKey, std::hash::RandomState>,
    /// What a key stands for that is of nobody: no key ever is, and if one were nothing would break.
    nobody: Box<Node>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            by_id: HashMap::default(),
            nobody: Box::new(Node::new(NodeId::random(), 0, 0)),
        }
    }
}

fn key_of(index: usize) -> Option<NodeKey> {
    u16::try_from(index + 1).ok().and_then(NonZeroU16::new).map(NodeKey)
}

impl NodeKey {
    /// The key of the first node of a table.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    fn index(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

impl Nodes {
    /// Adds a node; `None` when the table is full or has one of this id.
    pub fn add(&mut self, node: Node) -> Option<NodeKey> {
        if self.by_id.contains_key(&node.id) {
            return None;
        }
        let index = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let key = key_of(index)?;
        self.by_id.insert(node.id, key);
        let node = Some(Box::new(node));
        match self.places.get_mut(index) {
            Some(place) => *place = node,
            None => self.places.push(node),
        }
        Some(key)
    }

    /// Takes a node out. Nothing may refer to it any more.
    pub fn remove(&mut self, key: NodeKey) {
        if let Some(node) = self.places.get_mut(key.index()).and_then(Option::take) {
            self.by_id.remove(&node.id);
        }
    }

    /// Gives a node another id; `false` when that is another's.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) -> bool {
        if self.by_id.contains_key(&id) {
            return false;
        }
        let before = std::mem::replace(&mut self[key].id, id);
        self.by_id.remove(&before);
        self.by_id.insert(id, key);
        true
    }

    /// The node of this id.
    #[must_use]
    pub fn find(&self, id: NodeId) -> Option<NodeKey> {
        self.by_id.get(&id).copied()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The nodes in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        let nodes = self.places.iter().enumerate();
        nodes.filter_map(|(index, node)| Some((key_of(index)?, node.as_deref()?)))
    }

    /// The nodes, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeKey, &mut Node)> {
        let nodes = self.places.iter_mut().enumerate();
        nodes.filter_map(|(index, node)| Some((key_of(index)?, node.as_deref_mut()?)))
    }

    /// The keys of all nodes, for walks that change the table.
    #[must_use]
    pub fn keys(&self) -> Vec<NodeKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Whether a node is still there.
    #[must_use]
    pub fn holds(&self, key: NodeKey) -> bool {
        self.places.get(key.index()).is_some_and(Option::is_some)
    }
}

impl Index<NodeKey> for Nodes {
    type Output = Node;

    fn index(&self, key: NodeKey) -> &Node {
        debug_assert!(self.holds(key), "a node that is gone");
        self.places.get(key.index()).and_then(Option::as_deref).unwrap_or(&self.nobody)
    }
}

impl IndexMut<NodeKey> for Nodes {
    fn index_mut(&mut self, key: NodeKey) -> &mut Node {
        debug_assert!(self.holds(key), "a node that is gone");
        let node = self.places.get_mut(key.index()).and_then(Option::as_deref_mut);
        node.unwrap_or(&mut self.nobody)
    }
}

impl MemoryUsage for Nodes {
    fn memory_usage(&self) -> usize {
        vec_usage(&self.places)
            + usable_size(self.by_id.allocation_size().next_multiple_of(16))
            + self.nobody.memory_usage()
            + self.iter().map(|(_, node)| node.memory_usage()).sum::<usize>()
    }
}
