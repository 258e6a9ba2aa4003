//! This node as text: the line of CLUSTER NODES and of the node file, and the fields of CLUSTER INFO.

use std::fmt::Write;

use super::{BUS_PORT_OFFSET, Cluster};
use crate::config::Config;

/// What clients are told of where this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address; empty while it does not know.
    pub ip: String,
    /// Its port for clients.
    pub port: u16,
    /// The port of its bus.
    pub bus_port: u16,
}

impl Endpoint {
    /// What other nodes would be told, and the node file is.
    #[must_use]
    pub fn own(config: &Config) -> Self {
        let or = |announced: u16, otherwise: u16| if announced == 0 { otherwise } else { announced };
        let bus_port = or(config.cluster_port, config.port.wrapping_add(BUS_PORT_OFFSET));
        Self {
            ip: config.cluster_announce_ip.as_str().into_owned(),
            port: or(config.cluster_announce_port, config.port),
            bus_port: or(config.cluster_announce_bus_port, bus_port),
        }
    }

    /// What a client is told: another address and port may be announced to clients, by the family of their own.
    #[must_use]
    pub fn for_client(config: &Config, over_ipv6: bool) -> Self {
        let mut endpoint = Self::own(config);
        let announced = if over_ipv6 {
            &config.cluster_announce_client_ipv6
        } else {
            &config.cluster_announce_client_ipv4
        };
        if !announced.is_empty() {
            endpoint.ip = announced.as_str().into_owned();
        }
        if config.cluster_announce_client_port != 0 {
            endpoint.port = config.cluster_announce_client_port;
        }
        endpoint
    }
}

impl Cluster {
    /// The line of CLUSTER NODES, without its end.
    #[must_use]
    pub fn node_line(&self, config: &Config, endpoint: &Endpoint) -> String {
        let hostname = config.cluster_announce_hostname.as_str();
        let hostname = if hostname.is_empty() { String::new() } else { format!(",{hostname}") };
        self.line(config, endpoint, &hostname)
    }

    /// The whole node file.
    #[must_use]
    pub fn file_text(&self, config: &Config) -> String {
        let mut fields = format!(",{}", config.cluster_announce_hostname.as_str());
        let mut field = |name: &str, value: &str, is_there: bool| {
            if is_there {
                let _ = write!(fields, ",{name}={value}");
            }
        };
        let zone = config.availability_zone.as_str();
        let port = config.cluster_announce_client_port;
        let tls_port = config.cluster_announce_client_tls_port;
        let (v4, v6) = (&config.cluster_announce_client_ipv4, &config.cluster_announce_client_ipv6);
        let name = config.cluster_announce_human_nodename.as_str();
        field("availability-zone", &zone, !zone.is_empty());
        field("client-tls-port", &tls_port.to_string(), tls_port != 0);
        field("client-tcp-port", &port.to_string(), port != 0);
        field("client-ipv6", &v6.as_str(), !v6.is_empty());
        field("client-ipv4", &v4.as_str(), !v4.is_empty());
        field("tls-port", "0", true);
        field("nodename", &name, !name.is_empty());
        field("shard-id", &self.shard_id, true);
        let line = self.line(config, &Endpoint::own(config), &fields);
        let (current, voted) = (self.current_epoch, self.last_vote_epoch);
        format!("{line}\nvars currentEpoch {current} lastVoteEpoch {voted}\n")
    }

    fn line(&self, config: &Config, endpoint: &Endpoint, fields: &str) -> String {
        let Endpoint { ip, port, bus_port } = endpoint;
        let no_failover = if config.cluster_replica_no_failover { ",nofailover" } else { "" };
        let (id, epoch) = (&self.id, self.config_epoch);
        let mut line =
            format!("{id} {ip}:{port}@{bus_port}{fields} myself,master{no_failover} - 0 0 {epoch} connected");
        for (start, end) in self.ranges() {
            let _ = if start == end { write!(line, " {start}") } else { write!(line, " {start}-{end}") };
        }
        line
    }

    /// The fields of CLUSTER INFO and of INFO's section, in order. There is no bus: nothing was sent or received.
    #[must_use]
    pub fn info(&self, config: &Config) -> Vec<(&'static str, String)> {
        const SILENT: [&str; 9] = [
            "cluster_stats_messages_sent",
            "cluster_stats_messages_received",
            "cluster_stats_bytes_sent",
            "cluster_stats_bytes_received",
            "cluster_stats_pubsub_bytes_sent",
            "cluster_stats_pubsub_bytes_received",
            "cluster_stats_module_bytes_sent",
            "cluster_stats_module_bytes_received",
            "total_cluster_links_buffer_limit_exceeded",
        ];
        let assigned = self.assigned.to_string();
        let zero = || "0".to_owned();
        let mut fields = vec![
            ("cluster_state", if self.is_ok(config) { "ok" } else { "fail" }.to_owned()),
            ("cluster_slots_assigned", assigned.clone()),
            ("cluster_slots_ok", assigned),
            ("cluster_slots_pfail", zero()),
            ("cluster_slots_fail", zero()),
            ("cluster_nodes_pfail", zero()),
            ("cluster_nodes_fail", zero()),
            ("cluster_voting_nodes_pfail", zero()),
            ("cluster_voting_nodes_fail", zero()),
            ("cluster_known_nodes", "1".to_owned()),
            ("cluster_size", u8::from(self.assigned > 0).to_string()),
            ("cluster_current_epoch", self.current_epoch.to_string()),
            ("cluster_my_epoch", self.config_epoch.to_string()),
        ];
        fields.extend(SILENT.map(|name| (name, zero())));
        fields
    }
}
