//! Nodes as text: the lines of CLUSTER NODES and of the node file.

use std::fmt::Write;

use super::Cluster;
use super::node::{Announced, Node, NodeKey, node_flag};
use crate::sys::barrier::JobQueue;

/// Flags as the lines show them, in order.
const FLAG_NAMES: [(u16, &str); 8] = [
    (node_flag::MYSELF, "myself"),
    (node_flag::PRIMARY, "master"),
    (node_flag::REPLICA, "slave"),
    (node_flag::PFAIL, "fail?"),
    (node_flag::FAIL, "fail"),
    (node_flag::HANDSHAKE, "handshake"),
    (node_flag::NOADDR, "noaddr"),
    (node_flag::NOFAILOVER, "nofailover"),
];

/// Whom a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The node file.
    File,
    /// A client; whether it is connected over IPv6.
    Client(bool),
}

impl Node {
    /// The address that a reader is told.
    #[must_use]
    pub fn ip_for(&self, reader: Reader) -> &str {
        let announced = match reader {
            Reader::File => "",
            Reader::Client(true) => &self.announced.client_ipv6,
            Reader::Client(false) => &self.announced.client_ipv4,
        };
        if announced.is_empty() { &self.address.ip } else { announced }
    }

    /// The port for clients that a reader is told.
    #[must_use]
    pub fn port_for(&self, reader: Reader) -> u16 {
        match (reader, self.announced.client_port) {
            (Reader::File, _) | (_, 0) => self.address.port,
            (_, port) => port,
        }
    }

    fn flag_names(&self) -> String {
        let names = FLAG_NAMES.iter().filter(|(flag, _)| self.is(*flag)).map(|(_, name)| *name);
        let names: Vec<&str> = names.collect();
        if names.is_empty() { "noflags".to_owned() } else { names.join(",") }
    }
}

/// What only the node file holds of a node.
fn file_fields(node: &Node) -> String {
    let Announced { hostname, human_name, zone, client_ipv4, client_ipv6, client_port, client_tls_port } =
        &node.announced;
    let mut fields = if hostname.is_empty() { ",".to_owned() } else { String::new() };
    let mut field = |name: &str, value: &str, is_there: bool| {
        if is_there {
            // Writing to a string cannot fail; so in all of these.
            let _ = write!(fields, ",{name}={value}");
        }
    };
    field("availability-zone", zone, !zone.is_empty());
    field("client-tls-port", &client_tls_port.to_string(), *client_tls_port != 0);
    field("client-tcp-port", &client_port.to_string(), *client_port != 0);
    field("client-ipv6", client_ipv6, !client_ipv6.is_empty());
    field("client-ipv4", client_ipv4, !client_ipv4.is_empty());
    field("tls-port", &node.address.tls_port.to_string(), true);
    field("nodename", human_name, !human_name.is_empty());
    field("shard-id", node.shard.as_str(), true);
    fields
}

impl Cluster {
    /// The line of a node, without its end.
    #[must_use]
    pub fn line_of(&self, key: NodeKey, reader: Reader) -> String {
        let node = &self.nodes[key];
        let (ip, port, bus_port) = (node.ip_for(reader), node.port_for(reader), node.address.bus_port);
        let mut line = format!("{} {ip}:{port}@{bus_port}", node.id);
        if !node.announced.hostname.is_empty() {
            let _ = write!(line, ",{}", node.announced.hostname);
        }
        if reader == Reader::File {
            line.push_str(&file_fields(node));
        }
        let primary =
            node.primary.map_or_else(|| "-".to_owned(), |primary| self.nodes[primary].id.to_string());
        let connected = node.link.is_some() || key == self.myself;
        let _ = write!(
            line,
            " {} {primary} {} {} {} {}",
            node.flag_names(),
            node.ping_sent_ms,
            node.pong_received_ms,
            self.epoch_of(node),
            if connected { "connected" } else { "disconnected" }
        );
        for (start, end) in node.slots.ranges() {
            let _ = if start == end { write!(line, " {start}") } else { write!(line, " {start}-{end}") };
        }
        if key == self.myself {
            self.write_open_slots(&mut line);
        }
        line
    }

    fn write_open_slots(&self, line: &mut String) {
        let migrating = self.migrating.iter().map(|(slot, node)| (*slot, "->-", *node));
        let importing = self.importing.iter().filter(|(slot, _)| !self.migrating.contains_key(*slot));
        let importing = importing.map(|(slot, node)| (*slot, "-<-", *node));
        let mut open: Vec<_> = migrating.chain(importing).collect();
        open.sort_unstable();
        for (slot, direction, node) in open {
            let _ = write!(line, " [{slot}{direction}{}]", self.nodes[node].id);
        }
    }

    /// The lines of all nodes, each with its end.
    #[must_use]
    pub fn lines(&self, reader: Reader) -> String {
        let hidden = if reader == Reader::File { node_flag::HANDSHAKE } else { 0 };
        let shown = self.nodes.iter().filter(|(_, node)| !node.is(hidden));
        shown.map(|(key, _)| self.line_of(key, reader) + "\n").collect()
    }

    /// The thread that writes the node file.
    #[must_use]
    pub fn save_queue(&self) -> Option<JobQueue> {
        self.saving.queue()
    }

    /// The whole node file.
    #[must_use]
    pub fn file_text(&self) -> String {
        let (current, voted) = (self.current_epoch, self.last_vote_epoch);
        format!("{}vars currentEpoch {current} lastVoteEpoch {voted}\n", self.lines(Reader::File))
    }
}
