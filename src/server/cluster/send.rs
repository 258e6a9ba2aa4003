//! What this node says: pings with gossip, failures, updates, votes, messages to subscribers. All of it only goes to the
//! links' queues.

use std::rc::Rc;

use super::links::LinkId;
use super::node::{Node, NodeKey, node_flag};
use super::{Cluster, Effect, View};
use crate::bus::{self, GossipEntry, Header, Kind, Writer, extension, mark};

/// Nodes that a ping tells of at least, where there are as many.
const GOSSIP_MIN: usize = 3;

/// Unix seconds as messages hold them.
fn seconds(ms: i64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(0)
}

fn entry_of(node: &Node) -> GossipEntry<'_> {
    GossipEntry {
        id: node.id,
        ping_sent: seconds(node.ping_sent_ms),
        pong_received: seconds(node.pong_received_ms),
        ip: &node.address.ip,
        port: node.address.port,
        tls_port: node.address.tls_port,
        bus_port: node.address.bus_port,
        flags: node.flags,
    }
}

impl Cluster {
    /// Begins a message with what it tells of this node; a replica tells its primary's slots.
    fn begin(&self, kind: Kind, marks: u8, view: &View<'_>) -> Writer {
        let me = self.me();
        let primary = me.primary.filter(|_| me.is_replica());
        let source = primary.map_or(me, |primary| &self.nodes[primary]);
        let paused = if me.is_primary() && self.manual.end_ms != 0 { mark::PAUSED } else { 0 };
        Writer::new(
            kind,
            &Header {
                sender: me.id,
                port: me.address.port,
                tls_port: me.address.tls_port,
                bus_port: me.address.bus_port,
                ip: &view.config.cluster_announce_ip.as_str(),
                current_epoch: self.current_epoch,
                config_epoch: source.config_epoch,
                offset: view.offset,
                slots: &source.slots,
                primary: me.primary.map(|primary| self.nodes[primary].id),
                flags: me.flags,
                is_down: !self.is_ok(),
                marks: marks | paused,
            },
        )
    }

    /// Queues a message on a link.
    pub(super) fn push(&mut self, link: LinkId, message: Rc<[u8]>) {
        let kind = bus::peek(&message).0;
        if let Some(link) = self.links.get_mut(link) {
            link.push(message);
            if let Some(count) = self.bus.messages_sent.get_mut(usize::from(kind)) {
                *count += 1;
            }
        }
    }

    /// Queues a message for a node, if there is a connection to it.
    fn push_to(&mut self, node: NodeKey, message: &Rc<[u8]>) {
        if let Some(link) = self.nodes[node].link {
            self.push(link, Rc::clone(message));
        }
    }

    /// Queues a message for every node but those in handshake.
    fn broadcast(&mut self, message: &Rc<[u8]>) {
        for key in self.nodes.keys() {
            if !self.nodes[key].is(node_flag::MYSELF | node_flag::HANDSHAKE) {
                self.push_to(key, message);
            }
        }
    }

    /// Sends PING, PONG or MEET on a link, with gossip.
    pub(super) fn send_ping(&mut self, id: LinkId, kind: Kind, view: &View<'_>) {
        let Some(link) = self.links.get(id) else { return };
        let (receiver, inbound, extensions) = (link.node, link.inbound, link.extensions);
        let title =
            receiver.map_or_else(|| "<unknown> (<unknown>)".to_owned(), |node| self.nodes[node].title());
        let way = if inbound { "inbound" } else { "outbound" };
        tracing::trace!("Sending {} packet to node {title} on {way} link", kind.name());
        let now_ms = view.now_ms;
        if let Some(node) = receiver.filter(|_| !inbound) {
            match kind {
                Kind::Ping => self.nodes[node].ping_sent_ms = now_ms,
                Kind::Meet => self.nodes[node].meet_sent_ms = now_ms,
                _ => {}
            }
        }
        let mut message = self.begin(kind, 0, view);
        for key in self.gossip_for(receiver, view) {
            message.gossip(&entry_of(&self.nodes[key]));
        }
        message.mark_extensions();
        let understands = |key: NodeKey| self.nodes[key].is(node_flag::EXTENSIONS);
        if extensions || receiver.is_some_and(understands) {
            self.write_extensions(&mut message, now_ms);
        }
        self.push(id, message.finish());
    }

    /// Which nodes a ping tells of: some by chance, and all that do not answer.
    fn gossip_for(&self, receiver: Option<NodeKey>, view: &View<'_>) -> Vec<NodeKey> {
        let count = self.nodes.count();
        let share = count * view.config.cluster_message_gossip_perc as usize / 100;
        let wanted = share.max(GOSSIP_MIN).min(count.saturating_sub(2));
        let is_fit = |key: NodeKey, node: &Node| {
            key != self.myself
                && Some(key) != receiver
                && !node.is(node_flag::PFAIL | node_flag::HANDSHAKE | node_flag::NOADDR)
                && (node.link.is_some() || node.slot_count > 0)
        };
        let mut chosen: Vec<NodeKey> =
            self.nodes.iter().filter(|(key, node)| is_fit(*key, node)).map(|(key, _)| key).collect();
        fastrand::shuffle(&mut chosen);
        chosen.truncate(wanted);
        let fails =
            |node: &Node| node.is(node_flag::PFAIL) && !node.is(node_flag::HANDSHAKE | node_flag::NOADDR);
        let failing = self.nodes.iter().filter(|(_, node)| fails(node)).map(|(key, _)| key);
        chosen.extend(failing.take(self.failing));
        chosen
    }

    fn write_extensions(&self, message: &mut Writer, now_ms: i64) {
        let me = self.me();
        let announced = &me.announced;
        message.text(extension::HOSTNAME, &announced.hostname);
        message.text(extension::HUMAN_NAME, &announced.human_name);
        message.text(extension::CLIENT_IPV4, &announced.client_ipv4);
        message.text(extension::CLIENT_IPV6, &announced.client_ipv6);
        message.port(extension::CLIENT_PORT, announced.client_port);
        message.port(extension::CLIENT_TLS_PORT, announced.client_tls_port);
        message.text(extension::ZONE, &announced.zone);
        for (id, seconds) in self.forgotten(now_ms) {
            message.forgotten(id, seconds);
        }
        message.shard(me.shard);
    }

    /// Tells every node, or the other replicas of the own primary only, how things stand here.
    pub(super) fn broadcast_pong(&mut self, replicas_only: bool, view: &View<'_>) {
        let mine = self.me().primary;
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let Some(link) = node.link else { continue };
            let is_near = node.is_replica()
                && node.primary.is_some()
                && (node.primary == Some(self.myself) || node.primary == mine);
            if key == self.myself || node.is(node_flag::HANDSHAKE) || replicas_only && !is_near {
                continue;
            }
            self.send_ping(link, Kind::Pong, view);
        }
    }

    /// Tells every node that one has failed.
    pub(super) fn send_fail(&mut self, node: NodeKey, view: &View<'_>) {
        let mut message = self.begin(Kind::Fail, 0, view);
        message.failed(self.nodes[node].id);
        self.broadcast(&message.finish());
    }

    /// Tells a node which slots another one has.
    pub(super) fn send_update(&mut self, receiver: NodeKey, about: NodeKey, view: &View<'_>) {
        tracing::debug!(
            "Node {} has old slots configuration, sending an UPDATE message about {}",
            self.nodes[receiver].title(),
            self.nodes[about].title()
        );
        if self.nodes[receiver].link.is_none() {
            return;
        }
        let mut message = self.begin(Kind::Update, 0, view);
        let node = &self.nodes[about];
        message.update(node.id, node.config_epoch, &node.slots.without(&self.unclaimed));
        self.push_to(receiver, &message.finish());
    }

    /// Asks every node for its vote.
    pub(super) fn send_auth_request(&mut self, force: bool, view: &View<'_>) {
        let marks = if force { mark::FORCE_ACK } else { 0 };
        let message = self.begin(Kind::AuthRequest, marks, view).finish();
        self.broadcast(&message);
    }

    /// Votes for a replica, or asks a primary to hold back its writers.
    pub(super) fn send_plain(&mut self, receiver: NodeKey, kind: Kind, view: &View<'_>) {
        if self.nodes[receiver].link.is_some() {
            let message = self.begin(kind, 0, view).finish();
            self.push_to(receiver, &message);
        }
    }

    /// Passes a published message on: to every node, or to those of the own shard.
    pub fn publish(&mut self, sharded: bool, channel: &[u8], message: &[u8], view: &View<'_>) {
        let kind = if sharded { Kind::PublishShard } else { Kind::Publish };
        let (mut light, mut full) = (None, None);
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let Some(link) = node.link else { continue };
            let is_other_shard = sharded && !self.are_in_same_shard(key, self.myself);
            if node.is(node_flag::MYSELF | node_flag::HANDSHAKE) || is_other_shard {
                continue;
            }
            let created_ms = self.links.get(link).map_or(i64::MAX, |link| link.created_ms);
            let is_light = node.pong_received_ms >= created_ms && node.is(node_flag::LIGHT_PUBLISH);
            let bytes = if is_light {
                light.get_or_insert_with(|| bus::publish_light(kind, channel, message))
            } else {
                full.get_or_insert_with(|| {
                    let mut writer = self.begin(kind, 0, view);
                    writer.publication(channel, message);
                    writer.finish()
                })
            };
            let bytes = Rc::clone(bytes);
            self.push(link, bytes);
        }
    }

    /// Begins to connect to a node.
    pub(super) fn connect(&mut self, key: NodeKey, now_ms: i64) {
        let (id, _) = self.links.add(Some(key), super::Ends::default(), now_ms);
        let node = &mut self.nodes[key];
        node.connect_ms = now_ms;
        node.link = Some(id);
        self.effects.push(Effect::Connect(id, node.address.ip.clone(), node.address.bus_port));
    }

    /// A connection that this node has made stands: says who this node is.
    pub fn connected(&mut self, id: LinkId, ends: super::Ends, view: &View<'_>) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.ends = ends;
        let Some(key) = link.node else { return };
        let node = &self.nodes[key];
        let (pinged_ms, meets) = (node.ping_sent_ms, node.is(node_flag::MEET));
        tracing::debug!("Connecting with Node {} at {}:{}", node.id, node.address.ip, node.address.bus_port);
        self.send_ping(id, if meets { Kind::Meet } else { Kind::Ping }, view);
        if pinged_ms != 0 {
            // What was asked before the connection broke is still without an answer.
            self.nodes[key].ping_sent_ms = pinged_ms;
        }
    }

    /// A connection has ended, or never stood.
    pub fn link_ended(&mut self, id: LinkId, failure: Option<&str>, now_ms: i64) {
        if let (Some(why), Some(key)) = (failure, self.links.get(id).and_then(|link| link.node)) {
            let node = &mut self.nodes[key];
            if node.ping_sent_ms == 0 {
                // Without a ping that waits for its answer nobody would notice that the node is down.
                node.ping_sent_ms = now_ms;
            }
            let super::Address { ip, bus_port, .. } = &node.address;
            tracing::debug!("Connection with Node {} at {ip}:{bus_port} failed: {why}", node.id);
        }
        self.free_link(id, now_ms);
    }

    /// Ends a connection.
    pub fn free_link(&mut self, id: LinkId, now_ms: i64) {
        let Some(link) = self.links.remove(id) else { return };
        let Some(key) = link.node.filter(|key| self.nodes.holds(*key)) else { return };
        let node = &mut self.nodes[key];
        if node.link == Some(id) {
            node.link = None;
        } else if node.inbound == Some(id) {
            node.inbound = None;
            node.inbound_ended_ms = now_ms;
        }
    }
}
