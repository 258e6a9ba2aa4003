//! The sections about the process: server, TLS, clients, memory, persistence, CPU.

use super::{Fields, Human};
use crate::config::VALKEY_VERSION;
use crate::keyspace::{CLOCK_MAX, Keyspace};
use crate::server::client::ClientClass;
use crate::server::memory_figures::{ALLOCATOR, MemoryFigures};
use crate::server::{REDIS_VERSION, Server};
use crate::sys::{clock, process};

pub(super) fn server(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    let (config, identity) = (&server.config, &server.identity);
    let now_us = clock::unix_us();
    let uptime = ((server.now_ms - identity.started_ms) / 1000).max(0);
    let mode = if config.extended_redis_compatibility { "redis_mode" } else { "server_mode" };
    let hz = config.hz.clamp(1, 500);
    fields.fields(&[
        ("redis_version", &REDIS_VERSION),
        ("server_name", &"valkey"),
        ("valkey_version", &VALKEY_VERSION),
        ("valkey_release_stage", &"ga"),
        ("redis_git_sha1", &"00000000"),
        ("redis_git_dirty", &0),
        ("redis_build_id", &format_args!("{:x}", crate::algorithms::crc64::checksum(BUILD))),
        (mode, &server.mode()),
        ("os", &process::os_description()),
        ("arch_bits", &usize::BITS),
        ("monotonic_clock", &"POSIX clock_gettime"),
        ("multiplexing_api", &"epoll"),
        ("gcc_version", &"0.0.0"),
        ("process_id", &identity.pid),
        ("process_supervised", &identity.supervised.word()),
        ("run_id", &identity.run_id),
        ("tcp_port", &config.port),
        ("server_time_usec", &now_us),
        ("uptime_in_seconds", &uptime),
        ("uptime_in_days", &(uptime / 86_400)),
        ("hz", &hz),
        ("configured_hz", &hz),
        ("clients_hz", &hz),
        ("lru_clock", &((server.now_ms / 1000) & i64::from(CLOCK_MAX))),
        ("executable", &identity.executable),
        ("config_file", &identity.config_file),
        ("io_threads_active", &0),
        ("availability_zone", &config.availability_zone.as_str()),
    ]);
    if let Some(pending) = &server.shutdown_pending {
        fields.field("shutdown_in_milliseconds", pending.deadline_ms() - server.now_ms);
    }
    listeners(fields, server);
}

/// What the build identifier is made of.
const BUILD: &[u8] = concat!("weighbridge ", env!("CARGO_PKG_VERSION")).as_bytes();

fn listeners(fields: &mut Fields, server: &Server) {
    let config = &server.config;
    let mut number = 0;
    if config.port != 0 {
        let addresses: String =
            config.bind.0.iter().map(|address| format!(",bind={}", address.as_str())).collect();
        fields.field("listener0", format_args!("name=tcp{addresses},port={}", config.port));
        number = 1;
    }
    if !config.unixsocket.is_empty() {
        fields.field(
            format_args!("listener{number}"),
            format_args!("name=unix,bind={}", config.unixsocket.as_str()),
        );
    }
}

pub(super) fn tls(fields: &mut Fields, _: &Keyspace, _: &mut Server) {
    for certificate in ["server", "client", "ca"] {
        fields.field(format_args!("tls_{certificate}_cert_serial"), "none");
        fields.field(format_args!("tls_{certificate}_cert_expires_in_seconds"), 0);
    }
}

pub(super) fn clients(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    let clients = || server.clients.iter();
    let now_ms = server.now_ms;
    let pause = server.pauses.in_force(now_ms);
    let waits_until = clients()
        .filter(|client| client.blocked.as_ref().is_some_and(|blocked| blocked.deadline_ms.is_some()))
        .count();
    let wait_for_deletion = clients()
        .filter_map(|client| client.blocked.as_ref().filter(|blocked| blocked.wants_deletion))
        .map(|blocked| blocked.keys.len())
        .sum::<usize>();
    fields.fields(&[
        (
            "connected_clients",
            &clients().filter(|client| !client.close_now && client.class() != ClientClass::Replica).count(),
        ),
        (
            "cluster_connections",
            &server.cluster.as_ref().map_or(0, |cluster| (cluster.nodes.count() - 1) * 2),
        ),
        ("maxclients", &server.config.maxclients),
        ("client_recent_max_input_buffer", &clients().map(|c| c.query.pending).max().unwrap_or(0)),
        ("client_recent_max_output_buffer", &clients().map(|c| c.output.len()).max().unwrap_or(0)),
        ("blocked_clients", &(server.blocked.len() + server.held.len())),
        ("tracking_clients", &server.tracking.clients()),
        ("pubsub_clients", &clients().filter(|client| client.subscriptions.is_some()).count()),
        ("watching_clients", &clients().filter(|client| !client.watched.is_empty()).count()),
        ("clients_in_timeout_table", &waits_until),
        ("total_watched_keys", &server.watched.len()),
        ("total_blocking_keys", &server.blocked.keys()),
        ("total_blocking_keys_on_nokey", &wait_for_deletion),
        ("paused_reason", &server.pauses.reason(now_ms)),
        (
            "paused_actions",
            &match pause {
                None => "none",
                Some(pause) if pause.writes_only => "write",
                Some(_) => "all",
            },
        ),
        ("paused_timeout_milliseconds", &pause.map_or(0, |pause| pause.until_ms.saturating_sub(now_ms))),
    ]);
}

pub(super) fn memory(fields: &mut Fields, keyspace: &Keyspace, server: &mut Server) {
    let figures = MemoryFigures::take(keyspace, server);
    fields.bytes("used_memory", figures.used as u64);
    fields.bytes("used_memory_rss", figures.resident as u64);
    fields.bytes("used_memory_peak", figures.peak as u64);
    fields.field("used_memory_peak_perc", format_args!("{:.2}%", figures.peak_percentage()));
    fields.fields(&[
        ("used_memory_overhead", &figures.overhead),
        ("used_memory_startup", &figures.startup),
        ("used_memory_dataset", &figures.dataset),
        ("used_memory_dataset_perc", &format_args!("{:.2}%", figures.dataset_percentage())),
        ("allocator_allocated", &figures.allocator.allocated),
        ("allocator_active", &figures.allocator.active),
        ("allocator_resident", &figures.allocator.resident),
        ("allocator_muzzy", &figures.allocator.muzzy),
    ]);
    fields.bytes("total_system_memory", process::total_memory_bytes());
    scripts(fields, server);
    fields.bytes("maxmemory", server.config.maxmemory);
    fields.field("maxmemory_policy", server.config.maxmemory_policy.word());
    fragmentation(fields, &figures);
    buffers(fields, &figures, server);
}

/// The interpreters and what they run.
fn scripts(fields: &mut Fields, server: &Server) {
    let scripting = &server.scripting;
    let functions = &scripting.functions;
    let (eval, cached) = (scripting.eval_usage() as u64, scripting.cache_usage() as u64);
    let (vm, libraries) = (functions.vm_usage() as u64, functions.libraries_usage() as u64);
    fields.field("used_memory_lua", eval);
    fields.field("used_memory_vm_eval", eval);
    fields.field("used_memory_lua_human", Human(eval));
    fields.field("used_memory_scripts_eval", cached);
    fields.field("number_of_cached_scripts", scripting.cached());
    fields.field("number_of_functions", functions.count());
    fields.field("number_of_libraries", functions.libraries().len());
    fields.field("used_memory_vm_functions", vm);
    fields.bytes("used_memory_vm_total", eval + vm);
    fields.field("used_memory_functions", libraries);
    fields.bytes("used_memory_scripts", cached + libraries);
}

fn fragmentation(fields: &mut Fields, figures: &MemoryFigures) {
    fields.ratio("allocator_frag_ratio", figures.fragmentation_ratio());
    fields.field("allocator_frag_bytes", figures.allocator.small_fragmentation);
    for (ratio_name, bytes_name, (ratio, bytes)) in [
        ("allocator_rss_ratio", "allocator_rss_bytes", figures.allocator_resident()),
        ("rss_overhead_ratio", "rss_overhead_bytes", figures.beyond_allocator()),
        ("mem_fragmentation_ratio", "mem_fragmentation_bytes", figures.total_fragmentation()),
    ] {
        fields.ratio(ratio_name, ratio);
        fields.field(bytes_name, bytes);
    }
}

fn buffers(fields: &mut Fields, figures: &MemoryFigures, server: &Server) {
    fields.field("mem_not_counted_for_evict", server.uncounted_bytes());
    fields.field("mem_replication_backlog", figures.backlog);
    fields.field("mem_total_replication_buffers", figures.stream + figures.unread);
    fields.field("mem_replicas_repl_buffer", figures.unread);
    fields.field("mem_clients_slaves", figures.replicas);
    fields.field("mem_clients_normal", figures.clients);
    fields.field("mem_cluster_links", figures.cluster_links);
    fields.field("mem_cluster_slot_import", figures.slot_imports);
    fields.field("mem_cluster_slot_export", figures.slot_exports);
    fields.field("mem_aof_buffer", server.aof.buffer_usage());
    fields.field("mem_allocator", ALLOCATOR);
    fields.zeros(&["mem_overhead_db_hashtable_rehashing"]);
    fields.field("active_defrag_running", server.defrag.percent());
    fields.field("lazyfree_pending_objects", server.background.pending_objects());
    fields.field("lazyfreed_objects", server.background.freed_objects());
}

pub(super) fn persistence(fields: &mut Fields, keyspace: &Keyspace, server: &mut Server) {
    let now_ms = clock::unix_ms();
    for (name, value) in server.persistence.info_fields(keyspace.counters.changes, now_ms) {
        fields.field(name, value);
    }
    for (name, value) in server.aof.info_fields(now_ms) {
        fields.field(name, value);
    }
    // There are no modules.
    fields.zeros(&["module_fork_in_progress", "module_fork_last_cow_size"]);
    fields.field("slot_migration_fork_in_progress", u8::from(server.persistence.is_exporting_slots()));
    if server.config.appendonly {
        for (name, value) in server.aof.size_fields() {
            fields.field(name, value);
        }
    }
    for (name, value) in server.persistence.loading_fields(now_ms) {
        fields.field(name, value);
    }
}

pub(super) fn memory_profile(fields: &mut Fields, _: &Keyspace, server: &mut Server) {
    for (name, value) in server.persistence.profiles.info_fields(clock::unix_ms()) {
        fields.field(name, value);
    }
}

pub(super) fn cpu(fields: &mut Fields, _: &Keyspace, _: &mut Server) {
    let (own, children, thread) = (process::own_usage(), process::children_usage(), process::thread_usage());
    for (name, microseconds) in [
        ("used_cpu_sys", own.system_us),
        ("used_cpu_user", own.user_us),
        ("used_cpu_sys_children", children.system_us),
        ("used_cpu_user_children", children.user_us),
        ("used_cpu_sys_main_thread", thread.system_us),
        ("used_cpu_user_main_thread", thread.user_us),
        // Time outside of waiting is what the thread used of a processor.
        ("used_active_time_main_thread", thread.system_us + thread.user_us),
    ] {
        fields.field(name, format_args!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000));
    }
}
