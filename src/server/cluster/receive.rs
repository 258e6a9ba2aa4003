//! What this node hears: a message is checked, its sender found, and what it says taken in.

use super::links::LinkId;
use super::node::{Address, Node, NodeKey, node_flag};
use super::{Cluster, Effect, View};
use crate::bus::{self, Body, Kind, Message, NodeId, Sender, mark};

/// What becomes of a link after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It was closed.
    Closed,
}
use Verdict::{Closed, Keep};

/// Flags that a node says of itself and that are taken over with every message.
const TOLD_FLAGS: u16 = node_flag::LIGHT_PUBLISH | node_flag::MULTI_MEET | node_flag::PRIMARY_FAILED;

impl Cluster {
    /// Takes in a whole message that came on a link.
    pub fn receive(&mut self, link: LinkId, bytes: &[u8], view: &View<'_>) -> Verdict {
        self.count_received(bytes);
        let (number, _) = bus::peek(bytes);
        if self.debug.drop_filter.is_some_and(|filter| filter == i64::from(number) || filter == -2) {
            let name = Kind::from_number(number).map_or("unknown", Kind::name);
            tracing::warn!("Dropping packet of type {name} that matches debug drop filter");
            if self.debug.closes_on_drop {
                self.free_link(link, view.now_ms);
                tracing::warn!("Closing link for matching packet type {name}");
                return Closed;
            }
            return Keep;
        }
        match bus::decode(bytes) {
            Ok(message) => self.take_in(link, message, view),
            Err(invalid) => {
                tracing::warn!("{invalid}");
                Keep
            }
        }
    }

    fn count_received(&mut self, bytes: &[u8]) {
        let (number, _) = bus::peek(bytes);
        let Some(kind) = Kind::from_number(number) else { return };
        if let Some(count) = self.bus.messages_received.get_mut(usize::from(number)) {
            *count += 1;
        }
        let length = bytes.len() as u64;
        self.bus.bytes_received += length;
        match kind {
            Kind::Publish | Kind::PublishShard => self.bus.publish_bytes_received += length,
            Kind::Module => self.bus.module_bytes_received += length,
            _ => {}
        }
    }

    fn take_in(&mut self, link: LinkId, message: Message<'_>, view: &View<'_>) -> Verdict {
        let Message { kind, sender: told, body } = message;
        let Some(told) = told else { return self.take_in_light(link, kind, &body, view) };
        let sender = self.sender_of(link, told.id);
        self.note_sender(link, sender, &told, view);
        match body {
            Body::Gossip(gossip, extensions) => {
                if matches!(kind, Kind::Ping | Kind::Meet)
                    && self.answer(link, kind, sender, &told, gossip, view) == Closed
                {
                    return Closed;
                }
                return self.take_in_ping(link, kind, sender, &told, (gossip, extensions), view);
            }
            Body::Fail(failing) => self.take_in_failure(sender, &told, failing, view),
            Body::Publication(channel, message) if sender.is_some() => {
                self.effects.push(publication(kind, channel, message));
            }
            Body::Update(update) => {
                if let (Some(sender), Some(about)) = (sender, update.id) {
                    self.take_in_update(sender, about, &update, view);
                }
            }
            _ => {}
        }
        let Some(sender) = sender else { return Keep };
        match kind {
            Kind::AuthRequest => self.vote_if_fit(sender, &told, view),
            Kind::AuthAck => self.count_vote(sender, told.current_epoch),
            Kind::FailoverStart => self.begin_to_hold_writers(sender, link, view),
            _ => {}
        }
        Keep
    }

    fn take_in_light(&mut self, link: LinkId, kind: Kind, body: &Body<'_>, view: &View<'_>) -> Verdict {
        let node = self.links.get(link).and_then(|link| link.node);
        let Some(node) = node.filter(|node| !self.nodes[*node].is(node_flag::HANDSHAKE)) else {
            let name =
                node.map_or_else(|| "<unknown> (<unknown>)".to_owned(), |node| self.nodes[node].title());
            tracing::info!(
                "Closing link for node {name} that sent a lightweight message of type {} as its first message on the link",
                kind.name()
            );
            self.free_link(link, view.now_ms);
            return Closed;
        };
        self.nodes[node].data_received_ms = view.now_ms;
        if let Body::Publication(channel, message) = body {
            self.effects.push(publication(kind, channel, message));
        }
        Keep
    }

    /// The node that sent a message, if it is known. A link of another node's making becomes that node's.
    fn sender_of(&mut self, link: LinkId, id: Option<NodeId>) -> Option<NodeKey> {
        let at_link = self.links.get(link)?.node;
        if let Some(node) = at_link
            && !self.nodes[node].is(node_flag::HANDSHAKE)
        {
            return Some(node);
        }
        let sender = self.nodes.find(id?)?;
        if at_link.is_none() {
            self.bind(link, sender);
        }
        Some(sender)
    }

    /// A link that another node has made is this node's.
    fn bind(&mut self, id: LinkId, node: NodeKey) {
        if let Some(former) = self.nodes[node].inbound.take() {
            // It is not told that it ended, or that is still to be noticed.
            self.links.remove(former);
        }
        self.nodes[node].inbound = Some(id);
        if let Some(link) = self.links.get_mut(id) {
            link.node = Some(node);
            let title = self.nodes[node].title();
            tracing::debug!("Bound cluster node {title} to connection of client {}", link.ends.peer);
        }
    }

    /// Notes what every message tells of its sender.
    fn note_sender(&mut self, link: LinkId, sender: Option<NodeKey>, told: &Sender<'_>, view: &View<'_>) {
        let mut extensions = told.marks & mark::EXTENSIONS != 0;
        if let Some(link) = self.links.get_mut(link) {
            link.extensions |= extensions;
            extensions = link.extensions;
        }
        let Some(key) = sender else { return };
        let node = &mut self.nodes[key];
        if extensions {
            node.set(node_flag::EXTENSIONS);
        }
        node.copy_flags(told.flags, TOLD_FLAGS);
        node.data_received_ms = view.now_ms;
        if node.is(node_flag::HANDSHAKE) || key == self.myself {
            return;
        }
        self.current_epoch = self.current_epoch.max(told.current_epoch);
        let node = &mut self.nodes[key];
        if told.is_primary && told.config_epoch > node.config_epoch {
            node.config_epoch = told.config_epoch;
            self.todo.save_synced();
            self.drop_lost_election(key);
        }
        self.nodes[key].offset = told.offset;
        self.note_paused_primary(key, told);
    }

    /// Answers PING and MEET, and takes in whoever asks for that.
    fn answer(
        &mut self,
        link: LinkId,
        kind: Kind,
        sender: Option<NodeKey>,
        told: &Sender<'_>,
        gossip: bus::Gossip<'_>,
        view: &View<'_>,
    ) -> Verdict {
        let Some(ends) = self.links.get(link).map(|link| link.ends.clone()) else { return Closed };
        let unknown = self.me().address.ip.is_empty();
        if (kind == Kind::Meet || unknown)
            && view.config.cluster_announce_ip.is_empty()
            && !ends.own_ip.is_empty()
            && ends.own_ip != self.me().address.ip
        {
            tracing::info!("IP address for this node updated to {}", ends.own_ip);
            self.me_mut().address.ip = ends.own_ip;
            self.todo.save = true;
        }
        if kind == Kind::Meet {
            match sender {
                None => {
                    self.meet_stranger(link, &ends.peer_ip, told, view);
                    self.take_in_gossip(link, None, gossip, view);
                }
                Some(sender) => {
                    let node = &self.nodes[sender];
                    let is_old = super::cron::exceeds_handshake(node, view);
                    if let Some(outbound) = node.link.filter(|outbound| is_old && *outbound != link) {
                        tracing::info!(
                            "Freeing outbound link to node {} after receiving a MEET packet from this known node",
                            node.title()
                        );
                        self.free_link(outbound, view.now_ms);
                    }
                }
            }
        }
        self.send_ping(link, Kind::Pong, view);
        Keep
    }

    fn meet_stranger(&mut self, link: LinkId, peer_ip: &str, told: &Sender<'_>, view: &View<'_>) {
        if self.links.get(link).is_none_or(|link| link.node.is_some()) {
            // A second MEET before the handshake is over.
            return;
        }
        let extensions = self.links.get(link).is_some_and(|link| link.extensions);
        let flags = node_flag::HANDSHAKE | if extensions { node_flag::EXTENSIONS } else { 0 };
        let node =
            Node { address: address_of(told, peer_ip), ..Node::new(NodeId::random(), flags, view.now_ms) };
        if let Some(key) = self.nodes.add(node) {
            self.bind(link, key);
            self.todo.save = true;
        }
    }

    fn take_in_failure(
        &mut self,
        sender: Option<NodeKey>,
        told: &Sender<'_>,
        failing: Option<NodeId>,
        view: &View<'_>,
    ) {
        let name = |id: Option<NodeId>| id.map(|id| id.to_string()).unwrap_or_default();
        let Some(sender) = sender else {
            tracing::info!(
                "Ignoring FAIL message from unknown node {} about {}",
                name(told.id),
                name(failing)
            );
            return;
        };
        let Some(key) = failing.and_then(|id| self.nodes.find(id)) else { return };
        if !self.nodes[key].is(node_flag::FAIL | node_flag::MYSELF) {
            let (sender, about) = (self.nodes[sender].title(), self.nodes[key].title());
            tracing::info!("FAIL message received from {sender} about {about}");
            self.mark_failed(key, view);
        }
    }

    fn take_in_update(&mut self, sender: NodeKey, about: NodeId, update: &bus::Update, view: &View<'_>) {
        let Some(key) = self.nodes.find(about) else { return };
        let (node, from) = (&self.nodes[key], &self.nodes[sender]);
        if node.config_epoch >= update.config_epoch {
            return;
        }
        tracing::info!(
            "Processing UPDATE message received from {} in shard {} about node {} in shard {}. old configEpoch {}, new \
             configEpoch {}",
            from.title(),
            from.shard,
            node.title(),
            node.shard,
            node.config_epoch,
            update.config_epoch
        );
        if key == self.myself {
            tracing::info!("Discarding UPDATE message about myself.");
            return;
        }
        if node.is_replica() {
            self.set_primary_role(key);
        }
        self.nodes[key].config_epoch = update.config_epoch;
        self.todo.save_synced();
        self.accept_claim(key, update.config_epoch, &update.slots, view);
    }

    /// Where a message says that its sender is, if that is another place than the one known; says whether it is.
    pub(super) fn update_address(
        &mut self,
        key: NodeKey,
        link: LinkId,
        told: &Sender<'_>,
        view: &View<'_>,
    ) -> bool {
        let node = &self.nodes[key];
        // A link to the node itself was made to where it is.
        if node.link == Some(link) || key == self.myself {
            return false;
        }
        let Some(peer_ip) = self.links.get(link).map(|link| link.ends.peer_ip.clone()) else { return false };
        let address = address_of(told, &peer_ip);
        if address.ip.is_empty() || address == node.address {
            return false;
        }
        self.move_to(key, address, view);
        true
    }

    /// A node is at another address from now on.
    pub(super) fn move_to(&mut self, key: NodeKey, address: Address, view: &View<'_>) {
        if let Some(outbound) = self.nodes[key].link {
            self.free_link(outbound, view.now_ms);
        }
        let node = &mut self.nodes[key];
        node.address = address;
        node.clear(node_flag::NOADDR);
        let Address { ip, port, .. } = &node.address;
        tracing::info!("Address updated for node {}, now {ip}:{port}", node.title());
        if self.me().is_replica() && self.me().primary == Some(key) {
            self.follow_address(key, false, false);
        }
    }
}

fn publication(kind: Kind, channel: &[u8], message: &[u8]) -> Effect {
    let sharded = kind == Kind::PublishShard;
    Effect::Publish { sharded, channel: channel.to_vec(), message: message.to_vec() }
}

/// Where a message says that its sender is: at what it announces, or where its connection comes from.
fn address_of(told: &Sender<'_>, peer_ip: &str) -> Address {
    Address {
        ip: if told.ip.is_empty() { peer_ip } else { told.ip }.to_owned(),
        port: told.port,
        tls_port: told.tls_port,
        bus_port: told.bus_port,
    }
}
