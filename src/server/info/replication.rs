//! The section about replication.

use super::Fields;
use crate::keyspace::Keyspace;
use crate::replication::{Replica, ReplicaState, Stream};
use crate::server::Server;
use crate::server::replication::replica_address;

pub(super) fn replication(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    fields.field("role", if server.replication.is_replica() { "slave" } else { "master" });
    super::replica::replica(fields, server);
    fields.field("connected_slaves", server.replication.replicas().len());
    if server.config.min_replicas_to_write > 0 && server.config.min_replicas_max_lag > 0 {
        fields.field("min_slaves_good_slaves", server.good_replicas());
    }
    replicas(fields, server);
    let replication = &server.replication;
    fields.fields(&[
        ("replicas_waiting_psync", &replication.awaited_psyncs()),
        ("master_failover_state", &replication.failover_state()),
        ("master_replid", &replication.id),
        ("master_replid2", &replication.second_id),
        ("master_repl_offset", &replication.offset()),
        ("second_repl_offset", &replication.second_offset),
        ("repl_backlog_active", &u8::from(replication.has_stream())),
        ("repl_backlog_size", &server.config.repl_backlog_size),
        ("repl_backlog_first_byte_offset", &replication.stream().map_or(0, Stream::first_offset)),
        ("repl_backlog_histlen", &replication.stream().map_or(0, Stream::len)),
    ]);
}

fn replicas(fields: &mut Fields, server: &Server) {
    let records = server.replication.replicas().iter().filter_map(|key| server.clients.get(*key));
    for (number, client) in records.enumerate() {
        let Some(replica) = &client.replica else { continue };
        let state = replica.state.name();
        let lag_seconds = match replica.state {
            ReplicaState::Online => (server.now_ms / 1000 - replica.acknowledged_ms / 1000).max(0),
            _ => 0,
        };
        fields.field(
            format_args!("slave{number}"),
            format_args!(
                "ip={},port={},state={state},offset={},lag={lag_seconds},type={}",
                replica_address(client, replica),
                replica.port,
                replica.acknowledged,
                kind(replica)
            ),
        );
    }
}

fn kind(replica: &Replica) -> &'static str {
    match replica.state {
        _ if replica.filter.own_channel => "rdb-channel",
        ReplicaState::LoadsElsewhere => "main-channel",
        _ => "replica",
    }
}
