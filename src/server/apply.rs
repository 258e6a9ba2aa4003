//! What a changed option brings about outside of the configuration itself.

use super::{Server, Task, open_files, process_title};
use crate::config::{Config, ConfigError, EventClasses, MaxmemoryPolicy, SetContext};
use crate::keyspace::access::AccessPolicy;
use crate::keyspace::{Keyspace, Reports};
use crate::resp::CommandError;
use crate::sys::crash;
use crate::{log, memory};

/// Brings about the effects of options that were changed, given by their primary names. To be called after the
/// start-up configuration was read and after each CONFIG SET.
///
/// # Errors
/// The option whose effect failed, and why; the caller takes the whole change back and calls this again.
pub fn apply_config(
    keyspace: &mut Keyspace,
    server: &mut Server,
    changed: &[&'static str],
) -> Result<(), (&'static str, String)> {
    server.command_log.trim(&server.config);
    server.limits = super::limits(&server.config);
    keyspace.access_policy = access_policy(&server.config);
    let wanted = server.config.notify_keyspace_events;
    server.events.wanted = wanted;
    keyspace.reports =
        Reports { new_keys: server.wants_new_keys(), misses: wanted.has(EventClasses::KEY_MISS) };
    log::configure(&server.config);
    set_watchdog(&mut server.config);
    server.scripting.set_insecure(server.config.lua_enable_insecure_api);
    if !server.config.scripting {
        server.scripting.turn_off();
    }
    if changed.contains(&"appendonly") {
        server.apply_appendonly(keyspace).map_err(|reason| ("appendonly", reason))?;
    }
    for name in changed {
        apply(server, name).map_err(|reason| (*name, reason))?;
    }
    if changed.iter().any(|name| matches!(*name, "bind" | "port")) {
        rebind(server).map_err(|()| {
            let (name, reason) = if changed.contains(&"bind") {
                ("bind", "Failed to bind to specified addresses.")
            } else {
                ("port", "Unable to listen on this port. Check server logs.")
            };
            (name, reason.to_owned())
        })?;
    }
    Ok(())
}

/// CONFIG SET: sets options and brings about what follows from that, or leaves everything as it was.
///
/// # Errors
/// Which option cannot be set, and why.
pub fn set_options(
    keyspace: &mut Keyspace,
    server: &mut Server,
    pairs: &[(&[u8], &[u8])],
    context: SetContext,
) -> Result<(), CommandError> {
    let failed = |error: ConfigError| CommandError::custom(error.to_string());
    let changes = server.config.set(pairs, context).map_err(failed)?;
    let names: Vec<&'static str> = changes.names().collect();
    if let Err((name, reason)) = apply_config(keyspace, server, &names) {
        let error = changes.failure(name, reason);
        server.config.undo(changes);
        // What had been in force before is in force again: it cannot fail now.
        let _ = apply_config(keyspace, server, &names);
        return Err(failed(error));
    }
    Ok(())
}

fn apply(server: &mut Server, name: &str) -> Result<(), String> {
    match name {
        "maxclients" => {
            let asked = server.config.maxclients;
            open_files::adjust(&mut server.config)?;
            let granted = server.config.maxclients;
            if granted != asked {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, try with {granted}"
                ));
            }
        }
        "oom-score-adj" | "oom-score-adj-values" => server
            .oom_score
            .apply(&server.config, server.replication.is_replica())
            .map_err(|_| "Failed to set current oom_score_adj. Check server logs.".to_owned())?,
        "maxmemory-clients" => server.apply_maxmemory_clients(),
        "maxmemory" => server.apply_maxmemory(),
        "proc-title-template" => process_title::show(server),
        "requirepass" => {
            server.acl.set_default_password(server.config.requirepass.as_bytes());
            server.users_changed();
        }
        "repl-backlog-size" => server.resize_stream(),
        "min-replicas-to-write" | "min-replicas-max-lag" => server.refresh_good_replicas(),
        "aof-disable-auto-gc" => server.clean_aof_history(),
        "scripting" if server.config.scripting && server.scripting.is_off() => {
            return Err("Scripts and functions can only be turned on by a restart".to_owned());
        }
        "jemalloc-bg-thread" => memory::set_background_purge(server.config.jemalloc_bg_thread),
        name if name.starts_with("active-defrag-") => server.defrag.options_changed(),
        name if name.starts_with("cluster-announce")
            || name == "port"
            || matches!(
                name,
                "availability-zone" | "cluster-require-full-coverage" | "cluster-replica-no-failover"
            ) =>
        {
            server.cluster_options_changed();
        }
        _ => {}
    }
    Ok(())
}

/// Begins to watch the engine thread, or ends it. What is less than two turns of the periodic work is made longer: it would
/// tell of every one.
fn set_watchdog(config: &mut Config) {
    if config.watchdog_period > 0 {
        let turn_ms = 1000 / config.hz.max(1);
        config.watchdog_period = config.watchdog_period.max(2 * turn_ms);
    }
    crash::set_watchdog(config.watchdog_period);
}

/// Listens on the addresses that are configured now.
fn rebind(server: &mut Server) -> Result<(), ()> {
    let sockets = server.listening.open_tcp(&server.config).ok_or(())?;
    server.ask(Task::Listen(sockets));
    process_title::show(server);
    Ok(())
}

/// How accesses are recorded, which follows from the eviction policy.
fn access_policy(config: &Config) -> AccessPolicy {
    match config.maxmemory_policy {
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
            AccessPolicy::Lfu { log_factor: config.lfu_log_factor, decay_minutes: config.lfu_decay_time }
        }
        _ => AccessPolicy::Lru,
    }
}
