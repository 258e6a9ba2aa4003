//! The sections about what the server did: counters, replication, commands, errors, latencies, keys.

use super::Fields;
use crate::keyspace::Keyspace;
use crate::server::Server;
use crate::server::command::TableEntry;
use crate::server::pubsub::Kind;

pub(super) fn stats(fields: &mut Fields, keyspace: &Keyspace, server: &mut Server) {
    let (stats, counters) = (&server.stats, &keyspace.counters);
    fields.fields(&[
        ("total_connections_received", &stats.connections_received),
        ("total_commands_processed", &stats.commands_processed),
        ("instantaneous_ops_per_sec", &stats.rates.commands()),
        ("total_net_input_bytes", &stats.bytes_in),
        ("total_net_output_bytes", &stats.bytes_out),
    ]);
    fields.field("total_net_repl_input_bytes", stats.primary_bytes_in);
    fields.field("total_net_repl_output_bytes", server.replication.bytes_out);
    let (imported, exported) = server
        .cluster
        .as_ref()
        .map_or((0, 0), |cluster| (cluster.migrations.bytes_in, cluster.migrations.bytes_out));
    fields.field("total_net_cluster_slot_import_bytes", imported);
    fields.field("total_net_cluster_slot_export_bytes", exported);
    fields.ratio("instantaneous_input_kbps", stats.rates.bytes_in() as f64 / 1024.0);
    fields.ratio("instantaneous_output_kbps", stats.rates.bytes_out() as f64 / 1024.0);
    fields.ratio("instantaneous_input_repl_kbps", 0.0);
    fields.ratio("instantaneous_output_repl_kbps", 0.0);
    fields.field("rejected_connections", stats.connections_rejected);
    let syncs = server.replication.syncs;
    fields.fields(&[
        ("sync_full", &syncs.full),
        ("sync_partial_ok", &syncs.partial),
        ("sync_partial_err", &syncs.partial_refused),
    ]);
    fields.field("expired_keys", counters.expired);
    fields.field("expired_fields", counters.expired_fields);
    fields.ratio("expired_stale_perc", counters.expired_stale_percent);
    fields.ratio("expired_keys_with_volatile_items_stale_perc", 0.0);
    fields.field("expired_time_cap_reached_count", counters.expired_time_cap_reached);
    fields.zeros(&["expire_cycle_cpu_milliseconds"]);
    fields.field("evicted_keys", counters.evicted);
    fields.field("evicted_clients", stats.evicted_clients);
    fields.field("evicted_scripts", server.scripting.evicted);
    let (total_ms, current_ms) = server.eviction.exceeded_ms();
    fields.field("total_eviction_exceeded_time", total_ms);
    fields.field("current_eviction_exceeded_time", current_ms);
    fields.field("keyspace_hits", counters.hits);
    fields.field("keyspace_misses", counters.misses);
    fields.field("pubsub_channels", server.pubsub.len(Kind::Channel));
    fields.field("pubsub_patterns", server.pubsub.len(Kind::Pattern));
    fields.field("pubsubshard_channels", server.pubsub.len(Kind::Shard));
    more_stats(fields, server);
}

fn more_stats(fields: &mut Fields, server: &Server) {
    let stats = &server.stats;
    fields.field("latest_fork_usec", stats.last_fork_microseconds);
    fields.field("total_forks", stats.forks);
    fields.field("migrate_cached_sockets", server.migrations.cached_sockets);
    fields.field("slave_expires_tracked_keys", server.own_expiries.len());
    let (hits, misses) = server.defrag.allocations();
    fields.field("active_defrag_hits", hits);
    fields.field("active_defrag_misses", misses);
    fields.field("active_defrag_key_hits", server.defrag.keys.hits);
    fields.field("active_defrag_key_misses", server.defrag.keys.misses);
    let (total_ms, current_ms) = server.defrag.milliseconds();
    fields.field("total_active_defrag_time", total_ms);
    fields.field("current_active_defrag_time", current_ms);
    fields.field("tracking_total_keys", server.tracking.keys());
    fields.field("tracking_total_items", server.tracking.items());
    fields.field("tracking_total_prefixes", server.tracking.prefixes());
    fields.field("unexpected_error_replies", stats.unexpected_error_replies);
    fields.field("total_error_replies", stats.error_replies);
    fields.zeros(&["dump_payload_sanitizations"]);
    fields.field("total_reads_processed", stats.reads);
    fields.field("total_writes_processed", stats.writes);
    fields.zeros(&[
        "io_threaded_reads_processed",
        "io_threaded_writes_processed",
        "io_threaded_freed_objects",
        "io_threaded_accept_processed",
        "io_threaded_poll_processed",
        "io_threaded_total_prefetch_batches",
        "io_threaded_total_prefetch_entries",
    ]);
    fields.field("client_query_buffer_limit_disconnections", stats.query_buffer_closed);
    fields.field("client_output_buffer_limit_disconnections", stats.output_buffer_closed);
    fields.field("reply_buffer_shrinks", stats.output_buffer_shrinks);
    fields.zeros(&["reply_buffer_expands"]);
    let commands_ns: u64 = stats.commands.iter().map(|command| command.nanoseconds).sum();
    fields.fields(&[
        ("eventloop_cycles", &stats.event_loop.cycles),
        ("eventloop_duration_sum", &(stats.event_loop.nanoseconds / 1000)),
        ("eventloop_duration_cmd_sum", &(commands_ns / 1000)),
        ("instantaneous_eventloop_cycles_per_sec", &stats.rates.cycles()),
        ("instantaneous_eventloop_duration_usec", &stats.rates.cycle_us()),
        ("acl_access_denied_auth", &stats.denied.logins),
        ("acl_access_denied_cmd", &stats.denied.commands),
        ("acl_access_denied_key", &stats.denied.keys),
        ("acl_access_denied_channel", &stats.denied.channels),
        ("acl_access_denied_tls_cert", &0),
        ("acl_access_denied_db", &stats.denied.databases),
    ]);
}

pub(super) fn debug(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    let event_loop = &server.stats.event_loop;
    fields.field("eventloop_duration_aof_sum", event_loop.aof_ns / 1000);
    fields.field("eventloop_duration_cron_sum", event_loop.cron_ns / 1000);
    fields.field("eventloop_duration_max", event_loop.longest_ns / 1000);
    fields.field("eventloop_cmd_per_cycle_max", event_loop.most_commands);
    fields.zeros(&["io_threaded_reads_pending", "io_threaded_writes_pending"]);
}

pub(super) fn scripting_engines(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    let scripting = &server.scripting;
    let used = scripting.eval_usage() + scripting.functions.vm_usage();
    fields.field("engines_count", 1);
    fields.field("engines_total_used_memory", used);
    fields.zeros(&["engines_total_memory_overhead"]);
    fields.field(
        "engine_0",
        format_args!("name=LUA,module=lua,abi_version=4,used_memory={used},memory_overhead=0"),
    );
}

/// Commands and subcommands, by full name.
fn by_name(server: &Server) -> Vec<&'static TableEntry> {
    let mut entries: Vec<&'static TableEntry> = server.commands.every().collect();
    entries.sort_unstable_by(|one, other| one.full_name.cmp(&other.full_name));
    entries
}

pub(super) fn command_stats(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    for entry in by_name(server) {
        let Some(stats) = server.stats.commands.get(entry.id) else { continue };
        if stats.calls == 0 && stats.failed == 0 && stats.rejected == 0 {
            continue;
        }
        let microseconds = stats.nanoseconds / 1000;
        let each = if stats.calls == 0 { 0.0 } else { microseconds as f64 / stats.calls as f64 };
        fields.field(
            format_args!("cmdstat_{}", entry.full_name),
            format_args!(
                "calls={},usec={microseconds},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                stats.calls, stats.rejected, stats.failed
            ),
        );
    }
}

pub(super) fn error_stats(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    for (code, count) in &server.stats.errors {
        fields.field(format_args!("errorstat_{}", safe(code)), format_args!("count={count}"));
    }
}

/// Characters that would break the lines of INFO are replaced as Valkey replaces them.
fn safe(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '#' | ':' | '\n' | '\r' => '_',
            letter => letter,
        })
        .collect()
}

pub(super) fn latency_stats(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    if !server.config.latency_tracking {
        return;
    }
    let percentiles = &server.config.latency_tracking_info_percentiles.0;
    for entry in by_name(server) {
        let Some(histogram) = server.stats.latency(entry.id) else { continue };
        let values: Vec<String> = percentiles
            .iter()
            .map(|percentage| format!("p{percentage}={:.3}", histogram.percentile_us(*percentage)))
            .collect();
        fields.field(format_args!("latency_percentiles_usec_{}", entry.full_name), values.join(","));
    }
}

pub(super) fn keyspace(fields: &mut Fields, keyspace: &Keyspace, _: &mut Server) {
    for (index, database) in keyspace.databases().iter().enumerate() {
        let keys = keyspace.visible_len(index);
        if keys == 0 {
            continue;
        }
        // How many of the hidden ones expire is not counted.
        let (expires, hashes) = (database.expires().min(keys), database.volatile_hashes().min(keys));
        let average_ttl = database.average_ttl_ms;
        fields.field(
            format_args!("db{index}"),
            format_args!(
                "keys={keys},expires={expires},avg_ttl={average_ttl},keys_with_volatile_items={hashes}"
            ),
        );
    }
}
