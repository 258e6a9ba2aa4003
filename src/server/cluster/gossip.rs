//! PING, PONG and MEET: handshakes, signs of life, the sender's role and slots, and what it says of others.

use super::links::LinkId;
use super::node::{Address, Node, NodeKey, node_flag};
use super::receive::Verdict;
use super::{Cluster, View};
use crate::bus::{Extension, Extensions, Gossip, Kind, Sender, extension};

/// For so many node timeouts what a node reports of another one counts.
const REPORT_VALIDITY: i64 = 2;
/// A failed primary whose slots nobody has taken comes back after so many node timeouts.
const FAIL_UNDO: i64 = 2;
/// How far into the future a time that another node tells may lie, in milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 500;

impl Cluster {
    pub(super) fn take_in_ping(
        &mut self,
        link: LinkId,
        kind: Kind,
        sender: Option<NodeKey>,
        told: &Sender<'_>,
        (gossip, extensions): (Gossip<'_>, Extensions<'_>),
        view: &View<'_>,
    ) -> Verdict {
        if let Some(key) = sender.filter(|key| self.nodes[*key].is(node_flag::MEET)) {
            self.nodes[key].clear(node_flag::MEET);
            tracing::info!("Successfully completed handshake with {}", self.nodes[key].title());
        }
        let outbound = self.links.get(link).filter(|link| !link.inbound).and_then(|link| link.node);
        if let Some(node) = outbound
            && self.identify(node, link, sender, told, view) == Verdict::Closed
        {
            return Verdict::Closed;
        }
        if let Some(key) = sender {
            let before = self.nodes[key].flags;
            self.nodes[key].copy_flags(told.flags, node_flag::NOFAILOVER);
            self.todo.save |= before != self.nodes[key].flags;
            if kind == Kind::Ping
                && !self.nodes[key].is(node_flag::HANDSHAKE)
                && self.update_address(key, link, told, view)
            {
                self.todo.save_and_update();
            }
        }
        if let Some(node) = outbound.filter(|_| kind == Kind::Pong) {
            self.note_pong(node, view);
        }
        let Some(key) = sender.filter(|key| *key != self.myself) else { return Verdict::Keep };
        let was_replica = self.nodes[key].is_replica();
        if told.is_primary {
            if was_replica {
                self.set_primary_role(key);
            }
        } else if !self.take_in_replica(key, told) {
            return Verdict::Keep;
        }
        if told.is_primary && (was_replica || self.nodes[key].slots != told.slots) {
            self.compare_slots(key, told, view);
        }
        let me = self.me();
        if me.is_primary() && self.nodes[key].is_primary() && told.config_epoch == me.config_epoch {
            self.resolve_collision(key);
        }
        self.take_in_gossip(link, Some(key), gossip, view);
        if self.nodes.holds(key) {
            self.take_in_extensions(key, extensions, view);
        }
        Verdict::Keep
    }

    /// Whoever answers on a link that this node has made says who it is.
    fn identify(
        &mut self,
        node: NodeKey,
        link: LinkId,
        sender: Option<NodeKey>,
        told: &Sender<'_>,
        view: &View<'_>,
    ) -> Verdict {
        if self.nodes[node].is(node_flag::HANDSHAKE) {
            if let Some(known) = sender {
                let title = self.nodes[known].title();
                tracing::debug!("Handshake: we already know node {title}, updating the address if needed.");
                if self.update_address(known, link, told, view) {
                    self.todo.save_and_update();
                }
                self.forget_node(node, view.now_ms);
                return Verdict::Closed;
            }
            let Some(id) = told.id.filter(|id| self.nodes.rename(node, *id)) else {
                return Verdict::Keep;
            };
            let known = &mut self.nodes[node];
            known.clear(node_flag::HANDSHAKE);
            known.set(told.flags & (node_flag::PRIMARY | node_flag::REPLICA));
            tracing::debug!("Handshake with node {id} ({}) completed.", known.name());
            self.todo.save = true;
        } else if told.id != Some(self.nodes[node].id) {
            self.lose_address(node, link, view);
            return Verdict::Closed;
        }
        Verdict::Keep
    }

    /// Where a node was there is another one: it was reset, and will not come back by this id.
    fn lose_address(&mut self, key: NodeKey, link: LinkId, view: &View<'_>) {
        let node = &mut self.nodes[key];
        tracing::info!(
            "PONG contains mismatching sender ID. About node {} in shard {} added {} ms ago, having flags {}",
            node.title(),
            node.shard,
            view.now_ms - node.created_ms,
            node.flags
        );
        node.set(node_flag::NOADDR);
        node.address = Address::default();
        self.free_link(link, view.now_ms);
        if !self.nodes[key].is(node_flag::FAIL) {
            self.mark_failed(key, view);
            self.send_fail(key, view);
        }
        self.todo.save_and_update();
    }

    /// A node has answered a ping.
    fn note_pong(&mut self, key: NodeKey, view: &View<'_>) {
        let node = &mut self.nodes[key];
        node.pong_received_ms = view.now_ms;
        node.ping_sent_ms = 0;
        if node.is(node_flag::PFAIL) {
            node.clear(node_flag::PFAIL);
            self.todo.save_and_update();
        } else if node.is(node_flag::FAIL) {
            self.undo_failure(key, view);
        }
    }

    /// A node that counts as failed has answered.
    fn undo_failure(&mut self, key: NodeKey, view: &View<'_>) {
        let node = &self.nodes[key];
        let why = if !node.votes() {
            let what = if node.is_replica() { "replica" } else { "primary without slots" };
            format!("{what} is reachable again.")
        } else if view.now_ms - node.failed_ms > view.config.cluster_node_timeout * FAIL_UNDO {
            "is reachable again and nobody is serving its slots after some time.".to_owned()
        } else {
            return;
        };
        tracing::info!("Clear FAIL state for node {}: {why}", node.title());
        self.nodes[key].clear(node_flag::FAIL);
        if self.me().primary == Some(key) {
            self.me_mut().clear(node_flag::PRIMARY_FAILED);
        }
        self.todo.save_and_update();
    }

    /// A node says that it is a replica; `false` when that is an old story.
    fn take_in_replica(&mut self, key: NodeKey, told: &Sender<'_>) -> bool {
        let claimed = told.primary.and_then(|id| self.nodes.find(id)).filter(|primary| *primary != key);
        if self.nodes[key].is_primary() {
            match claimed.filter(|primary| self.are_in_same_shard(*primary, key)) {
                Some(primary) => {
                    if !self.take_in_failover(key, primary, told.config_epoch) {
                        return false;
                    }
                }
                None => self.take_in_move(key, claimed),
            }
            let node = &mut self.nodes[key];
            node.clear(node_flag::PRIMARY | node_flag::MIGRATE_TO);
            node.set(node_flag::REPLICA);
            self.todo.save_synced();
            self.todo.update_state = true;
        }
        let Some(primary) = claimed.filter(|primary| self.nodes[key].primary != Some(*primary)) else {
            return true;
        };
        tracing::info!(
            "Node {} is now a replica of node {} in shard {}",
            self.nodes[key].title(),
            self.nodes[primary].title(),
            self.nodes[primary].shard
        );
        self.attach_replica(key, primary);
        self.leave_chain();
        let shard = self.nodes[primary].shard;
        self.update_shard(key, shard);
        self.todo.save = true;
        true
    }

    /// A primary has become the replica of another node of its shard; `false` when that was before what is known.
    fn take_in_failover(&mut self, key: NodeKey, primary: NodeKey, epoch: u64) -> bool {
        let newest = self.epoch_of(&self.nodes[key]).max(self.epoch_of(&self.nodes[primary]));
        let node = &self.nodes[key];
        if newest > epoch {
            tracing::info!(
                "Ignore stale message from {} in shard {}; gossip config epoch: {epoch}, current config epoch: {newest}",
                node.title(),
                node.shard
            );
            return false;
        }
        if !self.nodes[primary].is_replica() {
            return true;
        }
        let (title, shard) = (node.title(), node.shard);
        let slots = node.slots.clone();
        let count = node.slot_count;
        slots.iter().for_each(|slot| self.move_slot(primary, slot));
        self.redirect_open_slots(key, primary);
        self.set_primary_role(primary);
        self.nodes[primary].config_epoch = epoch;
        if count > 0 {
            tracing::info!(
                "A failover occurred in shard {shard}; node {title} lost {count} slot(s) and failed over to node {} with a \
                 config epoch of {epoch}",
                self.nodes[primary].title()
            );
        }
        true
    }

    /// Slots on their way from or to a node that has failed over go on with its successor.
    fn redirect_open_slots(&mut self, former: NodeKey, successor: NodeKey) {
        let node = &self.nodes[successor];
        let heir = format!("node {} in shard {}", node.title(), node.shard);
        let (mut sources, mut targets) = (0, 0);
        for (slot, source) in self.importing.iter_mut().filter(|(_, source)| **source == former) {
            tracing::debug!(
                "Failover occurred in migration source. Update importing source for slot {slot} to {heir}."
            );
            *source = successor;
            sources += 1;
        }
        for (slot, target) in self.migrating.iter_mut().filter(|(_, target)| **target == former) {
            tracing::debug!(
                "Failover occurred in migration target. Slot {slot} is now being migrated to {heir}."
            );
            *target = successor;
            targets += 1;
        }
        if sources > 0 {
            tracing::info!(
                "A failover occurred in migration source. Update importing source of {sources} slot(s) to {heir}."
            );
        }
        if targets > 0 {
            tracing::info!(
                "A failover occurred in migration target. Update migrating target of {targets} slot(s) to {heir}."
            );
        }
    }

    /// A primary has become a replica in another shard.
    fn take_in_move(&mut self, key: NodeKey, claimed: Option<NodeKey>) {
        let count = self.release_slots_of(key);
        let node = &self.nodes[key];
        tracing::info!(
            "Node {} is no longer primary of shard {}; removed all {count} slot(s) it used to own",
            node.title(),
            node.shard
        );
        if let Some(primary) = claimed {
            tracing::info!("Node {} is now part of shard {}", node.title(), self.nodes[primary].shard);
        }
    }

    /// The primary of this node has become a replica: its own primary is to be followed.
    fn leave_chain(&mut self) {
        let Some(primary) = self.me().primary else { return };
        let Some(next) = self.nodes[primary].primary.filter(|next| *next != self.myself) else { return };
        tracing::info!(
            "I'm a sub-replica! Reconfiguring myself as a replica of {} from {}",
            self.nodes[next].id,
            self.nodes[primary].id
        );
        let full_sync = !self.are_in_same_shard(next, self.myself);
        self.follow(next, true, full_sync, true);
        self.todo.save_synced();
        self.todo.update_state = true;
        self.todo.broadcast = true;
    }

    /// A primary claims other slots than those that are known to be its own.
    fn compare_slots(&mut self, key: NodeKey, told: &Sender<'_>, view: &View<'_>) {
        let node = &self.nodes[key];
        tracing::info!(
            "Mismatch in topology information for sender node {} in shard {}",
            node.title(),
            node.shard
        );
        self.accept_claim(key, told.config_epoch, &told.slots, view);
        let newer = told.slots.iter().find_map(|slot| {
            let owner = self.owner(slot).filter(|owner| *owner != key && !self.is_unclaimed(slot))?;
            (self.nodes[owner].config_epoch > told.config_epoch).then_some(owner)
        });
        if let Some(owner) = newer {
            self.send_update(key, owner, view);
        }
    }

    /// What is said of other nodes. The sender is unknown when a stranger asks to be taken in.
    pub(super) fn take_in_gossip(
        &mut self,
        link: LinkId,
        sender: Option<NodeKey>,
        gossip: Gossip<'_>,
        view: &View<'_>,
    ) {
        let sender = self.links.get(link).and_then(|link| link.node).or(sender);
        let invalid = gossip.iter().filter(Option::is_none).count();
        if invalid > 0 {
            match sender {
                Some(sender) => {
                    let title = self.nodes[sender].title();
                    tracing::warn!("Node {title} gossiped {invalid} nodes with invalid IDs.");
                }
                None => tracing::warn!("Unknown node gossiped {invalid} nodes with invalid IDs."),
            }
            return;
        }
        for entry in gossip.iter().flatten() {
            let id = entry.id;
            let address = Address {
                ip: entry.ip.to_owned(),
                port: entry.port,
                tls_port: entry.tls_port,
                bus_port: entry.bus_port,
            };
            let pong_ms = i64::from(entry.pong_received) * 1000;
            match self.nodes.find(id) {
                Some(key) if key == self.myself => {}
                Some(key) => self.take_in_known(sender, key, entry.flags, pong_ms, address, view),
                None => {
                    let trusted = sender.is_some() && entry.flags & node_flag::NOADDR == 0;
                    if trusted && !self.is_forgotten(id, view.now_ms) {
                        let flags = entry.flags & !(node_flag::MYSELF | node_flag::MEET);
                        self.nodes.add(Node { address, ..Node::new(id, flags, view.now_ms) });
                    }
                }
            }
        }
    }

    fn take_in_known(
        &mut self,
        sender: Option<NodeKey>,
        key: NodeKey,
        flags: u16,
        pong_ms: i64,
        address: Address,
        view: &View<'_>,
    ) {
        let fails = flags & (node_flag::FAIL | node_flag::PFAIL) != 0;
        if let Some(sender) = sender {
            self.take_in_report(sender, key, fails, view);
        }
        let reports = self.report_count(key, view);
        let node = &mut self.nodes[key];
        if !fails && node.is_normal() && node.ping_sent_ms == 0 && reports == 0 {
            let is_past = pong_ms <= view.now_ms + CLOCK_TOLERANCE_MS;
            if is_past && pong_ms > node.pong_received_ms {
                node.pong_received_ms = pong_ms;
            }
        }
        let is_lost = node.is(node_flag::FAIL | node_flag::PFAIL);
        if is_lost && !fails && flags & node_flag::NOADDR == 0 && node.address != address {
            self.move_to(key, address, view);
        }
    }

    /// A node says whether another one answers it.
    fn take_in_report(&mut self, sender: NodeKey, key: NodeKey, fails: bool, view: &View<'_>) {
        let (from, about) = (self.nodes[sender].title(), self.nodes[key].title());
        if !fails {
            let reports = &mut self.nodes[key].reports;
            let before = reports.len();
            reports.retain(|(reporter, _)| *reporter != sender);
            if reports.len() < before {
                tracing::debug!("Node {from} reported node {about} is back online.");
            }
            return;
        }
        if self.nodes[sender].votes() && !self.nodes[key].is(node_flag::FAIL) {
            let reports = &mut self.nodes[key].reports;
            match reports.iter_mut().find(|(reporter, _)| *reporter == sender) {
                Some((_, at_ms)) => *at_ms = view.now_ms,
                None => {
                    reports.push((sender, view.now_ms));
                    tracing::debug!("Node {from} reported node {about} as not reachable.");
                }
            }
        }
        self.mark_failed_if_agreed(key, view);
    }

    /// How many primaries say that a node does not answer them.
    pub fn report_count(&mut self, key: NodeKey, view: &View<'_>) -> usize {
        // What was said within a second counts as said at its end.
        let limit_ms = view.config.cluster_node_timeout * REPORT_VALIDITY;
        let reports = &mut self.nodes[key].reports;
        reports.retain(|(_, at_ms)| at_ms / 1000 * 1000 + 1000 > view.now_ms - limit_ms);
        reports.len()
    }

    /// A node has failed.
    pub(super) fn mark_failed(&mut self, key: NodeKey, view: &View<'_>) {
        let node = &mut self.nodes[key];
        node.set(node_flag::FAIL);
        node.clear(node_flag::PFAIL);
        node.failed_ms = view.now_ms;
        if self.me().is_replica() && self.me().primary == Some(key) {
            self.me_mut().set(node_flag::PRIMARY_FAILED);
            self.todo.failover = true;
        }
        self.todo.save_and_update();
    }

    /// A node that does not answer has failed if most primaries say so.
    pub(super) fn mark_failed_if_agreed(&mut self, key: NodeKey, view: &View<'_>) {
        let node = &self.nodes[key];
        if !node.is(node_flag::PFAIL) || node.is(node_flag::FAIL) {
            return;
        }
        let reports = self.report_count(key, view) + usize::from(self.me().votes());
        if reports < self.quorum() {
            return;
        }
        tracing::info!("Marking node {} as failing (quorum reached).", self.nodes[key].title());
        self.mark_failed(key, view);
        self.send_fail(key, view);
    }

    /// What a node announces of itself; what it does not say it does not have.
    fn take_in_extensions(&mut self, key: NodeKey, extensions: Extensions<'_>, view: &View<'_>) {
        let mut announced = super::Announced::default();
        let mut shard = None;
        for extension in extensions.iter() {
            match extension {
                Extension::Text(kind, text) => {
                    let field = match kind {
                        extension::HOSTNAME => &mut announced.hostname,
                        extension::HUMAN_NAME => &mut announced.human_name,
                        extension::CLIENT_IPV4 => &mut announced.client_ipv4,
                        extension::CLIENT_IPV6 => &mut announced.client_ipv6,
                        _ => &mut announced.zone,
                    };
                    if is_plain(text) {
                        text.clone_into(field);
                    }
                }
                Extension::Port(extension::CLIENT_PORT, port) => announced.client_port = port,
                Extension::Port(_, port) => announced.client_tls_port = port,
                Extension::Forgotten(id, seconds) => self.forget_as_told(id, seconds, view),
                Extension::Shard(id) => shard = Some(id),
                Extension::Unknown(kind) => tracing::warn!("Received unknown extension type {kind}"),
            }
        }
        if !self.nodes.holds(key) {
            return;
        }
        if self.nodes[key].announced != announced {
            self.nodes[key].announced = announced;
            self.todo.save = true;
        }
        let shard = shard.unwrap_or_else(|| self.nodes[self.primary_of(key)].shard);
        self.update_shard(key, shard);
    }
}

/// Whether a text may stand in the node file and in replies as it is.
pub(super) fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ' || b",=\"'".contains(&byte))
}
