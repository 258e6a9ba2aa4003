//! What a node does ten times a second: connects, pings, notices who does not answer, and goes on with failovers.

use super::node::{Node, NodeKey, node_flag};
use super::{Cluster, View};
use crate::bus::Kind;

/// The interval, in milliseconds.
pub(super) const INTERVAL_MS: i64 = 100;
/// The least time that a handshake may take, in milliseconds.
const HANDSHAKE_MIN_MS: i64 = 1000;
/// How often it is tried to connect to a node within half its timeout.
const CONNECTS_PER_TIMEOUT: i64 = 10;
/// Nodes of which the one that was heard of longest ago is pinged.
const SAMPLE: usize = 5;

fn handshake_ms(view: &View<'_>) -> i64 {
    view.config.cluster_node_timeout.max(HANDSHAKE_MIN_MS)
}

/// Whether a node has been known for longer than a handshake may take.
pub(super) fn exceeds_handshake(node: &Node, view: &View<'_>) -> bool {
    view.now_ms - node.created_ms > handshake_ms(view)
}

impl Cluster {
    /// One turn.
    pub(super) fn run_cron(&mut self, view: &View<'_>) {
        self.cron_turns += 1;
        self.refresh_myself(view.config);
        self.close_overfull_links(view);
        self.failing = 0;
        let mut attempts = self.connects_per_turn(view);
        for key in self.nodes.keys() {
            if !self.debug.no_reconnection && self.nodes.holds(key) {
                self.tend_connection(key, &mut attempts, view);
            }
        }
        if !self.debug.no_random_ping && self.cron_turns.is_multiple_of(10) {
            self.ping_somebody(view);
        }
        let mut update_state = false;
        for key in self.nodes.keys() {
            update_state |= self.check_node(key, view);
        }
        self.tend_role(view);
        if update_state || !self.is_ok() {
            self.update_state(view);
        }
    }

    /// Closes links on which more waits than `cluster-link-sendbuf-limit`.
    fn close_overfull_links(&mut self, view: &View<'_>) {
        let limit = view.config.cluster_link_sendbuf_limit;
        if limit == 0 {
            return;
        }
        for id in self.links.over(limit) {
            let Some(link) = self.links.get(id) else { continue };
            let Some(node) = link.node.map(|node| self.nodes[node].title()) else { continue };
            tracing::warn!(
                "Freeing cluster link({} node {node}, used memory: {}) due to exceeding send buffer memory limit.",
                if link.inbound { "from" } else { "to" },
                link.queued_bytes()
            );
            self.free_link(id, view.now_ms);
            self.bus.links_over_limit += 1;
        }
    }

    /// How many connections a turn may begin at least: so many that each node has its tries within the timeout.
    fn connects_per_turn(&self, view: &View<'_>) -> i64 {
        let interval_ms = view.config.cluster_node_timeout / 2;
        let nodes = self.nodes.count() as i64;
        (nodes * INTERVAL_MS).checked_div(interval_ms).unwrap_or(0) * CONNECTS_PER_TIMEOUT
    }

    /// Connects to a node; gives a handshake up that takes too long.
    fn tend_connection(&mut self, key: NodeKey, attempts: &mut i64, view: &View<'_>) {
        let node = &self.nodes[key];
        if node.is(node_flag::MYSELF | node_flag::NOADDR) {
            return;
        }
        self.failing += usize::from(node.is(node_flag::PFAIL));
        let now_ms = view.now_ms;
        if node.is(node_flag::HANDSHAKE) && exceeds_handshake(node, view) {
            let super::Address { ip, bus_port, .. } = &node.address;
            tracing::warn!("Clusterbus handshake timeout {ip}:{bus_port}");
            self.forget_node(key, now_ms);
            return;
        }
        let limit_ms = handshake_ms(view);
        if let Some(link) = node.link
            && node.is_normal()
            && node.inbound.is_none()
            && now_ms - node.inbound_ended_ms > limit_ms
            && now_ms - node.meet_sent_ms > limit_ms
            && node.is(node_flag::MULTI_MEET)
        {
            // It does not connect to this node: most likely it does not know it.
            tracing::info!(
                "Sending MEET packet to node {} because there is no inbound link for it",
                node.title()
            );
            self.nodes[key].set(node_flag::MEET);
            self.send_ping(link, Kind::Meet, view);
        }
        let node = &self.nodes[key];
        if node.link.is_none() {
            let pause_ms = view.config.cluster_node_timeout / 2 / CONNECTS_PER_TIMEOUT;
            let is_early = now_ms - node.connect_ms < pause_ms;
            if node.inbound.is_none() && is_early && *attempts <= 0 {
                return;
            }
            *attempts -= 1;
            self.connect(key, now_ms);
        }
    }

    /// Pings the one of a few nodes that was heard of longest ago.
    fn ping_somebody(&mut self, view: &View<'_>) {
        let keys = self.nodes.keys();
        let sample = (0..SAMPLE).filter_map(|_| fastrand::choice(&keys)).filter(|key| {
            let node = &self.nodes[**key];
            node.link.is_some()
                && node.ping_sent_ms == 0
                && !node.is(node_flag::MYSELF | node_flag::HANDSHAKE)
        });
        let oldest = sample.min_by_key(|key| self.nodes[**key].pong_received_ms);
        if let Some(link) = oldest.and_then(|key| self.nodes[*key].link) {
            self.send_ping(link, Kind::Ping, view);
        }
    }

    /// Looks whether a node answers; says whether it has just turned out that it does not.
    fn check_node(&mut self, key: NodeKey, view: &View<'_>) -> bool {
        let node = &self.nodes[key];
        if node.is(node_flag::MYSELF | node_flag::NOADDR | node_flag::HANDSHAKE) {
            return false;
        }
        let (now_ms, timeout_ms) = (view.now_ms, view.config.cluster_node_timeout);
        let (ping_ms, data_ms) = (now_ms - node.ping_sent_ms, now_ms - node.data_received_ms);
        let created_ms = node.link.and_then(|link| self.links.get(link)).map(|link| link.created_ms);
        if let (Some(link), Some(created_ms)) = (node.link, created_ms)
            && now_ms - created_ms > timeout_ms
            && node.ping_sent_ms != 0
            && ping_ms > timeout_ms / 2
            && data_ms > timeout_ms / 2
        {
            // Perhaps only the connection is dead.
            self.free_link(link, now_ms);
        }
        let node = &self.nodes[key];
        let interval_ms = match view.config.cluster_ping_interval {
            0 => timeout_ms / 2,
            interval_ms => interval_ms,
        };
        let is_due = node.ping_sent_ms == 0 && now_ms - node.pong_received_ms > interval_ms;
        let fails_over =
            self.manual.end_ms != 0 && self.me().is_primary() && self.manual.replica == Some(key);
        if let Some(link) = node.link.filter(|_| is_due || fails_over) {
            self.send_ping(link, Kind::Ping, view);
            return false;
        }
        let is_silent = node.ping_sent_ms != 0 && ping_ms.min(data_ms) > timeout_ms;
        if !is_silent || node.is(node_flag::PFAIL | node_flag::FAIL) {
            return false;
        }
        self.nodes[key].set(node_flag::PFAIL);
        if self.me().votes() {
            self.mark_failed_if_agreed(key, view);
        } else {
            tracing::info!("NODE {} possibly failing.", self.nodes[key].title());
        }
        true
    }

    /// What a replica has to see to; and the end of manual failovers.
    fn tend_role(&mut self, view: &View<'_>) {
        self.end_overdue_manual_failover(view.now_ms);
        if !self.me().is_replica() {
            return;
        }
        self.tend_manual_failover(view);
        self.tend_failover(view);
        if !view.config.cluster_allow_replica_migration || !self.me().is_replica() {
            return;
        }
        let spread = self.spread();
        if spread.orphaned > 0 && spread.most >= 2 && spread.own == spread.most {
            self.migrate_replica(spread.most, view);
        }
    }
}
