//! What INFO and ROLE show of the link to the primary.

use super::Fields;
use crate::replication::PrimaryStream;
use crate::server::Server;
use crate::server::primary_link::LinkState;

fn primary_stream(server: &Server) -> Option<&PrimaryStream> {
    let client = server.primary_link.client?;
    server.clients.get(client)?.primary.as_deref()
}

/// The fields of a replica in the section `replication`; none for a primary.
pub(super) fn replica(fields: &mut Fields, server: &Server) {
    let Some(primary) = &server.replication.primary else { return };
    let link = &server.primary_link;
    let (received, applied) = match (primary_stream(server), link.cached()) {
        (Some(stream), _) => (stream.received, stream.applied),
        (None, Some(cached)) => (cached.offset, cached.offset),
        (None, None) => (1, 1),
    };
    let client = link.client.and_then(|client| server.clients.get(client));
    let seconds_since = |ms: i64| (server.now_ms - ms).max(0) / 1000;
    fields.field("master_host", String::from_utf8_lossy(&primary.host));
    fields.field("master_port", primary.port);
    fields.field("master_link_status", if link.is_up() { "up" } else { "down" });
    let last_io = client.map_or(-1, |client| seconds_since(client.last_interaction_ms));
    fields.field("master_last_io_seconds_ago", last_io);
    fields.field("master_sync_in_progress", u8::from(link.state == LinkState::Transfer));
    fields.field("slave_read_repl_offset", received);
    fields.field("slave_repl_offset", applied);
    fields.field("replicas_repl_buffer_size", link.waiting_bytes);
    fields.field("replicas_repl_buffer_peak", link.waiting_peak);
    if link.state == LinkState::Transfer {
        let (total, read) = (link.snapshot.total_bytes, link.snapshot.read_bytes);
        let percent = if total == 0 { 0.0 } else { read as f64 * 100.0 / total as f64 };
        fields.field("master_sync_total_bytes", total);
        fields.field("master_sync_read_bytes", read);
        fields.field("master_sync_left_bytes", total - read);
        fields.ratio("master_sync_perc", percent);
        fields.field("master_sync_last_io_seconds_ago", seconds_since(link.last_io_ms));
    }
    if !link.is_up() {
        let down = if link.down_since_ms == 0 { -1 } else { seconds_since(link.down_since_ms) };
        fields.field("master_link_down_since_seconds", down);
    }
    fields.field("slave_priority", server.config.replica_priority);
    fields.field("slave_read_only", u8::from(server.config.replica_read_only));
    fields.field("replica_announced", u8::from(server.config.replica_announced));
}
