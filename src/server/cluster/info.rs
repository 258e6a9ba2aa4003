//! The fields of CLUSTER INFO and of INFO's section.

use super::Cluster;
use super::node::{Node, node_flag};
use crate::bus::Kind;

impl Cluster {
    /// The fields in order.
    #[must_use]
    pub fn info(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut field = |name: &str, value: &dyn ToString| fields.push((name.to_owned(), value.to_string()));
        let sum = |counts: &dyn Fn(&Node) -> bool| -> usize {
            self.nodes.iter().filter(|(_, node)| counts(node)).map(|(_, node)| node.slot_count).sum()
        };
        let count = |counts: &dyn Fn(&Node) -> bool| -> usize {
            self.nodes.iter().filter(|(_, node)| counts(node)).count()
        };
        let fails = |node: &Node| node.is(node_flag::FAIL);
        let may_fail = |node: &Node| node.is(node_flag::PFAIL);
        field("cluster_state", &if self.is_ok() { "ok" } else { "fail" });
        field("cluster_slots_assigned", &self.assigned());
        field("cluster_slots_ok", &sum(&|node| !fails(node) && !may_fail(node)));
        field("cluster_slots_pfail", &sum(&|node| !fails(node) && may_fail(node)));
        field("cluster_slots_fail", &sum(&fails));
        field("cluster_nodes_pfail", &count(&may_fail));
        field("cluster_nodes_fail", &count(&fails));
        field("cluster_voting_nodes_pfail", &count(&|node| may_fail(node) && node.votes()));
        field("cluster_voting_nodes_fail", &count(&|node| fails(node) && node.votes()));
        field("cluster_known_nodes", &self.nodes.count());
        field("cluster_size", &self.size());
        field("cluster_current_epoch", &self.current_epoch);
        field("cluster_my_epoch", &self.epoch_of(self.me()));
        let bus = &self.bus;
        for (direction, counts) in [("sent", &bus.messages_sent), ("received", &bus.messages_received)] {
            for (kind, count) in Kind::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                field(&format!("cluster_stats_messages_{}_{direction}", kind.name()), count);
            }
            field(&format!("cluster_stats_messages_{direction}"), &counts.iter().sum::<u64>());
        }
        field("cluster_stats_bytes_sent", &bus.bytes_sent);
        field("cluster_stats_bytes_received", &bus.bytes_received);
        field("cluster_stats_pubsub_bytes_sent", &bus.publish_bytes_sent);
        field("cluster_stats_pubsub_bytes_received", &bus.publish_bytes_received);
        field("cluster_stats_module_bytes_sent", &bus.module_bytes_sent);
        field("cluster_stats_module_bytes_received", &bus.module_bytes_received);
        field("total_cluster_links_buffer_limit_exceeded", &bus.links_over_limit);
        fields
    }

    /// So many bytes of a message of this type were sent.
    pub fn count_sent(&mut self, kind: Option<Kind>, bytes: usize) {
        let bytes = bytes as u64;
        self.bus.bytes_sent += bytes;
        match kind {
            Some(Kind::Publish | Kind::PublishShard) => self.bus.publish_bytes_sent += bytes,
            Some(Kind::Module) => self.bus.module_bytes_sent += bytes,
            _ => {}
        }
    }
}
